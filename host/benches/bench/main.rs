//! What the kernel costs, beside native code and subprocesses in the same run. `cargo bench` runs everything,
//! `cargo bench -- calls grep stream turns commits start idle late epoch swap many` the parts that are named. The figures are in
//! `docs/benchmarks.md`. `cargo bench -- soak [SECONDS] [SEED]` runs a bot for a long time; only when it is named.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a bench prints its figures and fails by panicking")]

#[path = "../../tests/all/support/bot_checker.rs"]
#[allow(clippy::unwrap_used, dead_code, reason = "a helper of tests fails by panicking, and some of it is for them alone")]
mod bot_checker;
mod calls;
#[path = "../../tests/all/support/checker.rs"]
#[allow(clippy::unwrap_used, dead_code, reason = "a helper of tests fails by panicking, and some of it is for them alone")]
mod checker;
#[path = "../../build/components.rs"]
mod components;
mod epochs;
mod fake_openai;
mod lifecycle;
mod measure;
mod rig;
mod soak;
mod start;
mod stream;
mod turns;

use std::process::ExitCode;

type Part = fn(&tokio::runtime::Runtime);

fn main() -> ExitCode {
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let numbers: Vec<u64> = named.iter().filter_map(|argument| argument.parse().ok()).collect();
    let wanted = |part: &str| named.is_empty() || named.iter().any(|name| name == part);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let _entered = runtime.enter();
    let parts: [(&str, Part); 11] = [
        ("calls", calls::calls),
        ("grep", calls::grep),
        ("stream", stream::stream),
        ("turns", turns::turns),
        ("commits", turns::commits),
        ("start", start::start),
        ("idle", start::idle),
        ("late", epochs::late),
        ("epoch", epochs::epoch),
        ("swap", lifecycle::swap),
        ("many", lifecycle::many),
    ];
    for (name, part) in parts {
        if wanted(name) {
            part(&runtime);
        }
    }
    if named.iter().any(|name| name == "soak") {
        soak::soak(&runtime, &numbers);
    }
    ExitCode::SUCCESS
}
