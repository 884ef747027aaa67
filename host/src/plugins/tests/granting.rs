//! What is granted while the runtime runs: taken back while calls wait, and secrets that come later.

use serde_json::json;

use super::*;
use crate::config::SecretSource;

/// A runtime that keeps up with a work directory of its own, in which the hostile component was dropped.
struct Own {
    /// Ends before its files do.
    plugins: Plugins,
    dir: TempDir,
    setup: Setup,
    redactor: Redactor,
}

impl Own {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("plugins")).unwrap();
        fs::copy(&*HOSTILE, dir.path().join("plugins/hostile.wasm")).unwrap();
        copy_code_of_hostile(dir.path());
        let config = Arc::new(Config { plugin_dirs: vec!["plugins".into()], ..Config::embedded(false) });
        let setup = Setup { workdir: dir.path().to_owned(), config: config.into(), bundled: false };
        let redactor = Redactor::default();
        let plugins = TOKIO.block_on(async {
            let plugins = Plugins::start(&setup).unwrap();
            plugins.wait_ready().await;
            plugins.watch(&redactor).unwrap();
            plugins
        });
        Self { dir, setup, plugins, redactor }
    }

    /// Grants, and waits until that counts.
    fn grant(&self, ask: &Ask) {
        Proposal::grant(&self.setup, "hostile", ask).unwrap().apply().unwrap();
        let begin = std::time::Instant::now();
        while self.plugins.list()[0].state != State::Ready {
            assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", self.plugins.list());
            std::thread::sleep(crate::limits::LOOK_PAUSE);
        }
    }
}

#[test]
fn a_call_that_waited_does_not_begin_with_what_was_taken_back() {
    let own = Own::start();
    own.grant(&Ask::default());
    let session = Session::new();
    TOKIO.block_on(async {
        let tool = own.plugins.tools(&Session::info()).await.get("touch").unwrap().clone();
        let touch = |path: &str| {
            let arguments = json!({"path": path, "text": "t"}).to_string();
            let call = ToolCall { id: CallId("s1.t1.1.0".into()), name: "touch".into(), arguments, attempt: 1 };
            own.plugins.run_tool(&tool, call, session.context(), stop().1)
        };
        let code = own.plugins.inner.plugin("hostile").unwrap().serving.as_ref().unwrap().code.clone();
        for (path, revokes) in [("kept.txt", false), ("late.txt", true)] {
            // It has its plugin, and waits for the code.
            let ready = code.send_replace(Code::Compiling);
            let mut waiting = Box::pin(touch(path));
            assert!(tokio::time::timeout(Duration::ZERO, &mut waiting).await.is_err());
            if revokes {
                Proposal::revoke(&own.setup, "hostile").unwrap().apply().unwrap();
                let granting = &own.plugins.inner.granting;
                while granting.now().iter().next().is_some() {
                    tokio::time::sleep(crate::limits::LOOK_PAUSE).await;
                }
            }
            code.send_replace(ready);
            let ended = waiting.await;
            assert_eq!(session.workspace.path().join(path).exists(), !revokes, "{ended:?}");
            if revokes {
                let error = ended.unwrap_err();
                assert_eq!(error.kind, ErrorKind::Unavailable);
                assert_eq!(error.message, "what is granted to hostile has changed while the call waited; make it again");
            } else {
                ended.unwrap();
            }
        }
    });
}

#[test]
fn a_secret_is_known_everywhere_once_a_call_had_it() {
    let own = Own::start();
    let file = own.dir.path().join("key");
    own.grant(&Ask { secrets: vec![("api-key".into(), SecretSource::File(file.clone()))], ..Ask::default() });
    let session = Session::new();
    // It was not there when it was granted, and is another one later.
    for secret in ["sk-first-0123456789", "sk-second-0123456789"] {
        fs::write(&file, format!("{secret}\n")).unwrap();
        session.call(&own.plugins, "look", &json!({})).unwrap();
        assert_eq!(own.redactor.text(&format!("<{secret}>")), "<[redacted]>");
    }
    assert_eq!(own.redactor.text("sk-first-0123456789"), "[redacted]", "the old one, too");
}
