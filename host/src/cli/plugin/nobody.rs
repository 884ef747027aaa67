//! A call that belongs to no session: what it asks of one is `unavailable`.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::chat::{Modality, Usage};
use crate::ids::{CallId, ConversationId, SessionId};
use crate::plugins::{CallContext, CallError, ErrorKind, Handed, Places, SessionInfo, SessionKind, SessionPort};

/// The context of a call that sees `workspace` and nothing else.
pub(in crate::cli) fn context(workspace: PathBuf) -> CallContext {
    CallContext {
        conversation: ConversationId(0),
        session: SessionId(0),
        info: info(),
        places: Places { workspace, shared: None, mounts: Vec::new() },
        port: Arc::new(Nobody),
        model: None,
        store: None,
        blobs: Handed::default(),
    }
}

/// What a catalogue is made for.
pub(in crate::cli) fn info() -> SessionInfo {
    SessionInfo { kind: SessionKind::Foreground, reads: vec![Modality::Text], helpers: Vec::new() }
}

struct Nobody;

impl SessionPort for Nobody {
    fn say(&self, _text: String) -> BoxFuture<'_, Result<(), CallError>> {
        Box::pin(async { Err(unavailable()) })
    }

    fn plan(&self, _steps: Vec<(String, String)>, _note: Option<String>) -> Result<(), CallError> {
        Err(unavailable())
    }

    fn progress(&self, _call: &CallId, _text: String) {}

    /// Who asks from the command line pays knowingly.
    fn may_spend(&self) -> BoxFuture<'_, Result<(), CallError>> {
        Box::pin(async { Ok(()) })
    }

    fn spent<'a>(&'a self, _alias: &'a str, _usage: Usage) -> BoxFuture<'a, Result<(), CallError>> {
        Box::pin(async { Ok(()) })
    }

    fn status(&self) -> Result<Value, CallError> {
        Err(unavailable())
    }
}

fn unavailable() -> CallError {
    let message = "there is no session: the call was made from the command line".to_owned();
    CallError { kind: ErrorKind::Unavailable, message, retry_after_ms: None, trap: None }
}
