//! What the kernel costs, beside native code and subprocesses in the same run. `cargo bench` runs everything,
//! `cargo bench -- calls grep stream turns commits start idle late epoch swap many` the parts that are named. The figures are in
//! `docs/benchmarks.md`.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a bench prints its figures and fails by panicking")]

mod calls;
#[path = "../../build/components.rs"]
mod components;
mod epochs;
mod lifecycle;
mod measure;
mod rig;
mod start;
mod stream;
mod turns;

use std::process::ExitCode;

type Part = fn(&tokio::runtime::Runtime);

fn main() -> ExitCode {
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
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
    ExitCode::SUCCESS
}
