//! A component that looks for ways out: raw calls of the file interface, requests of any shape, secrets that are told on.
//! What it tries is in its arguments, so the tests' tables are in the tests. Built by the host's tests.

mod files;
mod net;
mod tell;

use files::{Prowl, Race};
use net::{Dial, Fetch};
use stellaclaw_sdk::plugin;
use tell::Tell;

// The ports from 50001 on stand for those of the test's server, which puts its own in their place.
plugin! {
    tools: [Prowl, Race, Fetch, Dial, Tell],
    fs: ["workspace:rw", "shared:rw", "mounts/docs:rw"],
    http: [
        "http://127.0.0.1:50001",
        "http://127.0.0.1:50002/inside",
        "GET http://127.0.0.1:50003",
        "http://localhost:50001",
        "https://localhost:50001",
        "http://127.0.0.2:50001",
        "http://169.254.169.254",
        "http://10.0.0.1",
        "http://[::ffff:127.0.0.1]:50001",
        "http://0.0.0.0:50001",
        "http://unreachable.invalid",
    ],
    slots: [
        "api-key" => ["http://127.0.0.1:50001"],
        "far-key" => ["http://127.0.0.1:50002"],
        "plain-key" => ["http://unreachable.invalid"],
    ]
}
