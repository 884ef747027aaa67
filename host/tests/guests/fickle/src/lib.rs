//! A component whose catalogue is another one each time, if anything at all tells it one time from another. It carries no
//! manifest: the tests give it one, which names `odd` and `even`.

#[cfg(target_arch = "wasm32")]
mod component {
    use std::collections::hash_map::RandomState;
    use std::fs;
    use std::hash::{BuildHasher as _, DefaultHasher, Hash as _, Hasher as _};
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::{Duration, Instant, SystemTime};

    use stellaclaw_sdk::bindings::tool_plugin::exports::stellaclaw::plugin::tools::Guest;
    use stellaclaw_sdk::serde_json::Value;
    use stellaclaw_sdk::storage::{self, Scope};
    use stellaclaw_sdk::{
        Batching, Call, Error, Output, Replay, Result, SessionInfo, ToolSpec, conversation, http, log, secrets, settings,
    };
    use wasip2::clocks::{monotonic_clock, wall_clock};
    use wasip2::random::{insecure, insecure_seed, random};

    struct Component;

    impl Guest for Component {
        fn catalog(_session: SessionInfo) -> Result<Vec<ToolSpec>, Error> {
            let signs = signs();
            let mut hash = DefaultHasher::new();
            signs.hash(&mut hash);
            let (name, replay) = if hash.finish() % 2 == 0 { ("even", Replay::Read) } else { ("odd", Replay::Idempotent) };
            Ok(vec![ToolSpec {
                name: name.into(),
                description: signs.join("\n"),
                parameters: r#"{"type":"object"}"#.into(),
                batching: Batching::Parallel,
                replay,
                timeout: None,
                ext: None,
            }])
        }

        /// Leaves traces wherever it can.
        fn run(call: Call) -> Result<Output, Error> {
            let count = fs::read_to_string("/data/count").ok().and_then(|text| text.parse().ok()).unwrap_or(0_u32) + 1;
            fs::write("/data/count", count.to_string()).map_err(|error| Error::from(error).context("/data/count"))?;
            storage::put(Scope::Plugin, "count", count.to_string().as_bytes(), None)?;
            Ok(Output::text(format!("{} ran {count} times", call.name)))
        }
    }

    /// Everything that could be otherwise the next time, in words.
    fn signs() -> Vec<String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let began = Instant::now();
        std::thread::sleep(Duration::from_millis(3));
        let sign = |what: &str, seen: &dyn std::fmt::Debug| format!("{what}: {seen:?}");
        vec![
            sign("time", &SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()),
            sign("wall clock", &wall_clock::now()),
            sign("monotonic clock", &monotonic_clock::now()),
            sign("slept", &began.elapsed()),
            sign("counted beside a timer", &beside_a_timer()),
            sign("random", &(random::get_random_u64(), random::get_random_bytes(9))),
            sign("insecure", &(insecure::get_insecure_random_u64(), insecure_seed::insecure_seed())),
            sign("hashed", &RandomState::new().hash_one(7)),
            sign("calls", &COUNT.fetch_add(1, Ordering::Relaxed)),
            sign("environment", &(std::env::vars().count(), std::env::args().count())),
            sign("data", &(fs::read_to_string("/data/count").ok(), fs::write("/data/seen", "").is_ok())),
            sign("workspace", &fs::read_dir(".").map(Iterator::count).ok()),
            sign("stored", &storage::get(Scope::Plugin, "count").map(|entry| entry.map(|entry| entry.version)).ok()),
            sign("store", &storage::put(Scope::Plugin, "seen", b"", None).ok()),
            sign("status", &conversation::status().ok()),
            sign("interrupted", &conversation::interrupted()),
            sign("secret", &secrets::exists("api-key")),
            sign("http", &http::get("http://127.0.0.1:50001/").send().map(|response| response.status()).ok()),
            sign("settings", &settings::get::<Value>().ok()),
            sign("log", &log::info("a catalogue is made")),
        ]
    }

    /// Whoever counts beside a timer has a clock.
    fn beside_a_timer() -> u32 {
        let timer = monotonic_clock::subscribe_duration(2_000_000);
        (0..u32::MAX).take_while(|_| !timer.ready()).count() as u32
    }

    stellaclaw_sdk::bindings::tool_plugin::export_tools!(Component with_types_in stellaclaw_sdk::bindings::tool_plugin);
}
