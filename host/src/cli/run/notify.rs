//! What a service manager is told, where there is one: `NOTIFY_SOCKET`, the protocol of sd_notify(3).
//!
//! Nothing here fails the host: a manager that hears nothing acts by itself, and the log says what could not be said.

use std::convert::Infallible;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::kernel::Kernel;

/// Everything is served.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The configuration is being read again; [`ready`] follows.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now, NotifyState::Status("reading the configuration again")]),
        Err(error) => tracing::debug!(%error, "there is no monotonic clock to tell the service manager"),
    }
}

/// It is about to end.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Says that the host lives, as often as the manager wants to hear it, for as long as the router and the store's writer
/// answer. A timer alone would go on when nobody is served any more.
pub(super) async fn keep_alive(kernel: &Kernel) -> Infallible {
    let Some(most) = sd_notify::watchdog_enabled().filter(|most| !most.is_zero()) else { return std::future::pending().await };
    let pace = most / 2;
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match timeout(pace, kernel.answers()).await {
            Ok(()) => tell(&[NotifyState::Watchdog]),
            Err(_) => {
                tracing::error!(waited = ?pace, "the store does not answer, so the service manager does not hear that the host lives")
            }
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be told how the host is");
    }
}
