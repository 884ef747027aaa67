//! A tool that takes what it can get: time, memory, the host's memory, handles, calls.

use serde_json::json;

use crate::hostile::{CANARY, Case, Stage, case};
use crate::support::guests;
use crate::support::host::Work;

/// Granted all that a tool of these cases could use.
fn granted(limits: &str) -> Work {
    let mut work = Work::new();
    let path = guests::hostile();
    work.set("CANARY", CANARY);
    work.configure(&format!(
        "default_model = \"main\"\n[models.main]\nprovider = \"provider-offline\"\nmodel = \"offline\"\n\
         [plugins.hostile]\npath = {path:?}\ntrust = \"path\"\nfs = [\"workspace:rw\"]\nhttp = [\"https://example.com\"]\n\
         secrets = {{ api-key = {{ env = \"CANARY\", origins = [\"https://example.com\"] }} }}\nlimits = {{ {limits} }}\n"
    ));
    work
}

/// What `misbehave` is told, and what the model reads about it.
fn misbehave(how: &str, answers: &[&str]) -> Case {
    case(format!("call misbehave {}", json!({ "how": how })), answers)
}

/// The same for its twin that has half a second.
fn dawdle(how: &str) -> Case {
    let answers = ["`call dawdle` did not work", "dawdle took longer than 0.5 s and was ended", "[plugins.hostile.limits] wall_time"];
    case(format!("call dawdle {}", json!({ "how": how })), &answers)
}

#[tokio::test]
async fn a_tool_that_takes_what_it_can_ends_with_a_typed_error_and_harms_nobody() {
    let mut stage = Stage::start(granted("")).await;
    stage
        .plays_all(&[
            misbehave("panic", &["the tool crashed: panicked at", "on purpose"]),
            dawdle("loop"),
            dawdle("sleep"),
            misbehave("recurse", &["the tool crashed", "a deep recursion?"]),
            misbehave("allocate", &["memory allocation of 104857600 bytes failed", "[plugins.hostile.limits] memory raises its limit"]),
            misbehave("large", &["the answer has 9437184 bytes; at most 8388608 ([plugins.hostile.limits] output)"]),
            misbehave("exit", &["it ended itself with status 1"]),
        ])
        .await;
    stage.ends().await;
}
