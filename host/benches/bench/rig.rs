//! A runtime of components, a whole host, and a client of it, all in this process.

use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::Value;
use stellaclaw::channels::terminal::link::{self, Reader};
use stellaclaw::channels::terminal::protocol::{PROTOCOL, Place, Settled, ToClient, ToHost};
use stellaclaw::config::Config;
use stellaclaw::ids::{CallId, ConversationId, SessionId};
use stellaclaw::kernel::{Kernel, Setup};
use stellaclaw::plugins::stop::stop;
use stellaclaw::plugins::{
    self, CallContext, CallError, ErrorKind, Handed, Output, Places, Plugins, SessionInfo, SessionKind, SessionPort, Tool, ToolCall,
};
use stellaclaw::store;
use stellaclaw::workdir::WorkDir;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// A session that nobody sees.
struct Nobody;

impl SessionPort for Nobody {
    fn say(&self, _text: String) -> BoxFuture<'_, Result<(), CallError>> {
        async { Err(CallError::new(ErrorKind::Unavailable, "no session")) }.boxed()
    }
    fn plan(&self, _steps: Vec<(String, String)>, _note: Option<String>) -> Result<(), CallError> {
        Ok(())
    }
    fn progress(&self, _call: &CallId, _text: String) {}
    fn may_spend(&self) -> BoxFuture<'_, Result<(), CallError>> {
        async { Ok(()) }.boxed()
    }
    fn spent<'a>(&'a self, _alias: &'a str, _usage: stellaclaw::chat::Usage) -> BoxFuture<'a, Result<(), CallError>> {
        async { Ok(()) }.boxed()
    }
    fn status(&self) -> Result<Value, CallError> {
        Ok(Value::Null)
    }
}

pub fn config(text: &str) -> Arc<Config> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.toml");
    std::fs::write(&file, text).expect("a configuration");
    Arc::new(Config::load(&file).expect("a right configuration"))
}

/// Components that are all compiled.
pub async fn plugins(workdir: &Path, config: Arc<Config>) -> Plugins {
    let setup = plugins::Setup { workdir: workdir.to_owned(), config: config.into(), bundled: true };
    let plugins = Plugins::start(&setup).expect("a runtime");
    plugins.wait_ready().await;
    plugins
}

pub fn info() -> SessionInfo {
    SessionInfo { kind: SessionKind::Foreground, reads: Vec::new(), helpers: Vec::new() }
}

pub fn context(workspace: &Path) -> CallContext {
    CallContext {
        conversation: ConversationId(1),
        session: SessionId(1),
        info: info(),
        places: Places { workspace: workspace.to_owned(), shared: None, mounts: Vec::new() },
        port: Arc::new(Nobody),
        model: None,
        store: None,
        blobs: Handed::default(),
    }
}

/// One tool call as a session makes it.
pub async fn call(plugins: &Plugins, tool: &Tool, context: CallContext, arguments: &str) -> Output {
    let call = ToolCall { id: CallId("s1.t1.1.0".into()), name: tool.name.clone(), arguments: arguments.to_owned(), attempt: 1 };
    let (_stop, signal) = stop();
    plugins.run_tool(tool, call, context, signal).await.expect("an answer")
}

/// A host whose components are compiled.
pub async fn host(workdir: &Path, config: Arc<Config>, options: store::Options) -> Kernel {
    let setup = Setup { workdir: WorkDir::open(workdir).expect("a work directory"), config, store: options };
    let kernel = Kernel::start(setup).await.expect("a host");
    kernel.plugins().wait_ready().await;
    kernel
}

/// A client of a host's socket.
pub struct Client {
    reader: Reader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    said: u64,
    name: String,
}

impl Client {
    pub async fn attach(workdir: &Path, name: &str) -> Self {
        let stream = UnixStream::connect(workdir.join("host.sock")).await.expect("a host");
        let (reader, mut writer) = stream.into_split();
        let place = Place::Chat { name: Some(name.to_owned()) };
        let hello = ToHost::Hello { protocol: PROTOCOL, version: "bench".into(), place, mounts: Vec::new() };
        link::write(&mut writer, &hello).await.expect("a hello");
        let mut client = Self { reader: Reader::new(reader), writer, said: 0, name: name.to_owned() };
        assert!(matches!(client.next().await, ToClient::Welcome { .. }));
        client
    }

    async fn next(&mut self) -> ToClient {
        self.reader.next().await.expect("a line").expect("a host")
    }

    /// Says something and waits until it is answered and delivered.
    pub async fn turn(&mut self, text: &str) -> String {
        self.said += 1;
        let id = format!("{}-{}", self.name, self.said);
        link::write(&mut self.writer, &ToHost::Say { id, text: text.to_owned() }).await.expect("a message");
        link::write(&mut self.writer, &ToHost::Settle).await.expect("a settle");
        let mut answer = String::new();
        loop {
            match self.next().await {
                ToClient::Deliver { key, part, text, .. } => {
                    answer = text;
                    link::write(&mut self.writer, &ToHost::Ack { key, part }).await.expect("an ack");
                }
                ToClient::Settled { state, .. } => {
                    assert_eq!(state, Settled::Idle, "{answer}");
                    return answer;
                }
                ToClient::Rejected { reason, .. } => panic!("{reason}"),
                _ => {}
            }
        }
    }
}
