//! What a service manager hears: a real socket in its place.

use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::Connection;
use rustix::process::Signal;

use crate::support::host::Work;
use crate::support::within;

/// A service manager that listens.
struct Manager {
    heard: Arc<Mutex<Vec<String>>>,
    address: String,
}

impl Manager {
    fn of(work: &Work) -> Self {
        let path = work.folder().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let log = heard.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = socket.recv(&mut buffer) {
                log.lock().unwrap().push(String::from_utf8_lossy(&buffer[..length]).into_owned());
            }
        });
        Self { heard, address: path.to_str().unwrap().to_owned() }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    fn count(&self, line: &str) -> usize {
        self.heard().iter().filter(|said| said.lines().any(|said| said == line)).count()
    }

    async fn hears(&self, line: &str, times: usize) {
        let heard = async {
            while self.count(line) < times {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(&format!("{line} {times} times"), heard).await;
    }
}

#[tokio::test]
async fn a_manager_hears_of_start_reload_and_stop() {
    let work = Work::new();
    work.configure("");
    let manager = Manager::of(&work);
    let mut host = work.spawn(&[("NOTIFY_SOCKET", &manager.address)]);
    manager.hears("READY=1", 1).await;
    assert!(tokio::net::UnixStream::connect(work.socket()).await.is_ok(), "ready means that it serves");
    host.signal(Signal::HUP);
    manager.hears("READY=1", 2).await;
    work.configure("nonsense = 1\n");
    host.signal(Signal::HUP);
    manager.hears("READY=1", 3).await;
    host.signal(Signal::TERM);
    assert!(host.exit().await.success());
    manager.hears("STOPPING=1", 1).await;
    let heard = manager.heard();
    let first: Vec<_> = heard.iter().map(|said| said.lines().next().unwrap()).collect();
    assert_eq!(first, ["READY=1", "RELOADING=1", "READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]);
    assert!(heard[1].lines().any(|line| line.strip_prefix("MONOTONIC_USEC=").is_some_and(|at| at.parse::<u64>().is_ok())), "{heard:?}");
    assert!(heard[2].contains(&format!("STATUS=serving {}\n", work.workdir().display())), "{heard:?}");
    assert!(heard[4].contains("as configured before") && heard[4].contains("nonsense"), "{heard:?}");
}

#[tokio::test]
async fn a_host_whose_store_is_stuck_is_not_said_to_live() {
    let work = Work::new();
    let manager = Manager::of(&work);
    // For a process with another number it is not meant.
    let other = work.start(&[("NOTIFY_SOCKET", &manager.address), ("WATCHDOG_USEC", "400000"), ("WATCHDOG_PID", "1")]).await.unwrap();
    other.stop().await;
    assert_eq!(manager.count("WATCHDOG=1"), 0);
    let host = work.start(&[("NOTIFY_SOCKET", &manager.address), ("WATCHDOG_USEC", "400000")]).await.unwrap();
    manager.hears("WATCHDOG=1", 3).await;
    let stuck = Connection::open(work.database()).unwrap();
    stuck.execute_batch("BEGIN IMMEDIATE").unwrap();
    let warned = || host.said().matches("does not hear that the host lives").count();
    let waits = async |times: usize| {
        let warned = async {
            while warned() < times {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within("the host to miss its store", warned).await;
    };
    let before = warned();
    waits(before + 1).await;
    let pings = manager.count("WATCHDOG=1");
    waits(before + 3).await;
    assert_eq!(manager.count("WATCHDOG=1"), pings);
    stuck.execute_batch("ROLLBACK").unwrap();
    manager.hears("WATCHDOG=1", pings + 2).await;
    host.stop().await;
}
