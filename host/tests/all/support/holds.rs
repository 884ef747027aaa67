//! Answers of a fake vendor that wait until the test releases them by name.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use tokio::sync::watch;

use super::http::Connection;
use super::within;

/// What tests wait for.
#[derive(Debug, Default, Clone)]
struct Signals {
    released: BTreeSet<String>,
    /// Requests that were held, by the name that releases them.
    held: BTreeMap<String, usize>,
    /// Requests whose client went away while they were held.
    left: BTreeMap<String, usize>,
}

/// The held answers of one server.
#[derive(Debug, Default)]
pub struct Holds(watch::Sender<Signals>);

impl Holds {
    /// Lets the answers go that wait for this name, now and from now on.
    pub fn release(&self, name: &str) {
        self.0.send_modify(|signals| {
            signals.released.insert(name.to_owned());
        });
    }

    /// Waits until `count` requests were held under this name.
    pub async fn held(&self, name: &str, count: usize) {
        let mut signals = self.0.subscribe();
        let enough = |signals: &Signals| signals.held.get(name).is_some_and(|held| *held >= count);
        let waiting = async { drop(signals.wait_for(enough).await.unwrap()) };
        within(&format!("request {count} to be held as {name}"), waiting).await;
    }

    /// How many requests were held under this name so far.
    pub fn held_count(&self, name: &str) -> usize {
        self.0.borrow().held.get(name).copied().unwrap_or(0)
    }

    /// How many clients left while they were held under this name.
    pub fn left_count(&self, name: &str) -> usize {
        self.0.borrow().left.get(name).copied().unwrap_or(0)
    }

    /// Holds a request until its name is released. An error: its client went away.
    pub async fn hold(&self, name: &str, connection: &mut Connection) -> io::Result<()> {
        self.0.send_modify(|signals| *signals.held.entry(name.to_owned()).or_default() += 1);
        let mut signals = self.0.subscribe();
        tokio::select! {
            _ = signals.wait_for(|signals| signals.released.contains(name)) => Ok(()),
            error = connection.closed() => {
                self.0.send_modify(|signals| *signals.left.entry(name.to_owned()).or_default() += 1);
                Err(error)
            }
        }
    }
}
