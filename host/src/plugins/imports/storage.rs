//! `stellaclaw:plugin/storage`: small values that a plugin keeps for itself, in the store.
//!
//! The plugin's name and the call's conversation come from the host, never from the guest, so there is no way to say another
//! plugin's keys; hence no grant. A change is one transaction that is awaited: a call that is ended meanwhile leaves it done
//! or not done, never half. Where nothing is stored (a catalogue, `plugin call`) every function answers `unavailable`.

use stellaclaw_bindings::storage::{Entry, Host, Scope};
use stellaclaw_bindings::types::{Error, ErrorKind};

use crate::limits;
use crate::plugins::instance::{Call, Guest, InSession};
use crate::store::{KvChange, KvSpace, Store, StoreError};

impl Host for Guest {
    async fn get(&mut self, scope: Scope, key: String) -> wasmtime::Result<Result<Option<Entry>, Error>> {
        self.call.count()?;
        Ok(get(&self.call, scope, &key).await)
    }

    async fn put(&mut self, scope: Scope, key: String, value: Vec<u8>, expected: Option<u64>) -> wasmtime::Result<Result<u64, Error>> {
        self.call.count()?;
        Ok(put(&self.call, scope, key, value, expected).await)
    }

    async fn remove(&mut self, scope: Scope, key: String, expected: Option<u64>) -> wasmtime::Result<Result<bool, Error>> {
        self.call.count()?;
        Ok(remove(&self.call, scope, key, expected).await)
    }

    async fn keys(&mut self, scope: Scope, prefix: String, after: Option<String>) -> wasmtime::Result<Result<Vec<String>, Error>> {
        self.call.count()?;
        Ok(keys(&self.call, scope, prefix, after).await)
    }
}

async fn get(call: &Call, scope: Scope, key: &str) -> Result<Option<Entry>, Error> {
    check_key("get", key)?;
    let (store, space) = place(call, scope)?;
    let found = store.kv_get(&space, key).await.map_err(|failed| stored("get", key, &failed))?;
    Ok(found.map(|entry| Entry { value: entry.value, version: entry.version }))
}

async fn put(call: &Call, scope: Scope, key: String, value: Vec<u8>, expected: Option<u64>) -> Result<u64, Error> {
    check_key("put", &key)?;
    if value.len() > limits::STORAGE_VALUE_BYTES {
        let message = format!("put {key:?}: the value has {} bytes; at most {}", value.len(), limits::STORAGE_VALUE_BYTES);
        return Err(error(ErrorKind::TooLarge, message));
    }
    let (store, space) = place(call, scope)?;
    let changed = store.kv_put(&space, key.clone(), value, expected).await.map_err(|failed| stored("put", &key, &failed))?;
    done("put", scope, &key, expected, changed)
}

async fn remove(call: &Call, scope: Scope, key: String, expected: Option<u64>) -> Result<bool, Error> {
    check_key("remove", &key)?;
    let (store, space) = place(call, scope)?;
    let changed = store.kv_remove(&space, key.clone(), expected).await.map_err(|failed| stored("remove", &key, &failed))?;
    done("remove", scope, &key, expected, changed)
}

async fn keys(call: &Call, scope: Scope, prefix: String, after: Option<String>) -> Result<Vec<String>, Error> {
    // No key is longer, and neither has a reason to be.
    check_length("keys", "prefix", &prefix)?;
    check_length("keys", "key to go on after", after.as_deref().unwrap_or_default())?;
    let (store, space) = place(call, scope)?;
    store.kv_keys(&space, prefix.clone(), after, limits::STORAGE_KEYS).await.map_err(|failed| stored("list", &prefix, &failed))
}

/// The store, and where in it this call's keys of `scope` are.
fn place(call: &Call, scope: Scope) -> Result<(Store, KvSpace), Error> {
    let Some(InSession { call: id, conversation, store: Some(store), .. }) = &call.session else {
        return Err(error(ErrorKind::Unavailable, "nothing is stored here: there is no conversation of a running host".into()));
    };
    let conversation = match scope {
        Scope::Conversation => Some(*conversation),
        Scope::Plugin => None,
    };
    Ok((store.at(|| format!("storage@{id}")), KvSpace { plugin: call.grant.plugin.clone(), conversation }))
}

fn check_key(verb: &str, key: &str) -> Result<(), Error> {
    if key.is_empty() {
        return Err(error(ErrorKind::Invalid, format!("{verb}: the key is empty; it has 1 to {} bytes", limits::STORAGE_KEY_BYTES)));
    }
    check_length(verb, "key", key)
}

fn check_length(verb: &str, what: &str, text: &str) -> Result<(), Error> {
    if text.len() <= limits::STORAGE_KEY_BYTES {
        return Ok(());
    }
    Err(error(ErrorKind::TooLarge, format!("{verb}: the {what} has {} bytes; at most {}", text.len(), limits::STORAGE_KEY_BYTES)))
}

fn done<T>(verb: &str, scope: Scope, key: &str, expected: Option<u64>, changed: KvChange<T>) -> Result<T, Error> {
    let scope = match scope {
        Scope::Conversation => "conversation",
        Scope::Plugin => "plugin",
    };
    match changed {
        KvChange::Done(done) => Ok(done),
        KvChange::Conflict { found } => {
            let there = if found == 0 { "is not there".to_owned() } else { format!("has version {found}") };
            let wanted = match expected {
                None | Some(0) => "none was expected".to_owned(),
                Some(version) => format!("version {version} was expected"),
            };
            Err(error(ErrorKind::Conflict, format!("{verb} {key:?}: it {there} and {wanted}; get it and try again")))
        }
        KvChange::Over { bytes } => {
            let most = limits::STORAGE_SCOPE_BYTES;
            let message =
                format!("{verb} {key:?}: the scope `{scope}` would hold {bytes} bytes of keys and values; at most {most}: remove some");
            Err(error(ErrorKind::TooLarge, message))
        }
    }
}

/// What failed, told to the guest without what is the host's own.
fn stored(verb: &str, key: &str, failed: &StoreError) -> Error {
    let reason = match failed {
        StoreError::Full(_) => "the disk of the host is full",
        StoreError::Busy(_) => "the store of the host is busy",
        StoreError::NotFound(_) => "the conversation was deleted",
        _ => {
            tracing::error!(error = %failed, verb, "what a plugin asked of its storage failed");
            "the store of the host failed; its log says how"
        }
    };
    error(ErrorKind::Unavailable, format!("{verb} {key:?}: {reason}"))
}

fn error(kind: ErrorKind, message: String) -> Error {
    Error { kind, message, retry_after: None }
}
