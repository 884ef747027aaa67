//! Small values that outlive a call: keys of 1 to 256 bytes, values up to 64 KiB, 1 MiB of keys and values per scope.
//!
//! [`Scope::Conversation`] is what this plugin keeps for the conversation of the call; it goes when the conversation is
//! deleted, and `/new` leaves it. [`Scope::Plugin`] is one place for all conversations. Nobody else sees either, so using
//! it needs no grant. Larger things are files in `/data`.
//!
//! A key's version changes with every [`put`] and is never used again, also when the key was removed in between. Calls may
//! run side by side: pass the version that was seen, or let [`update`] do it.

use crate::bindings::imports::stellaclaw::plugin::storage as import;
pub use crate::bindings::imports::stellaclaw::plugin::storage::{Entry, Scope};
use crate::{Error, ErrorKind, Result};

/// The value of a key, with its version.
///
/// # Errors
///
/// `invalid` or `too-large` for a key that cannot be, `unavailable` where nothing is kept: in a catalogue and under
/// `stellaclaw plugin call`.
pub fn get(scope: Scope, key: &str) -> Result<Option<Entry>> {
    import::get(scope, key)
}

/// Keeps a value; durable when it returns. Its new version. `expected`: the version that was seen, 0 for a key that must be
/// new, none to overwrite whatever is there.
///
/// # Errors
///
/// Those of [`get`]; `conflict` when the key has another version than `expected`, `too-large` for a value or a scope over
/// its bound. What was there stays.
pub fn put(scope: Scope, key: &str, value: &[u8], expected: Option<u64>) -> Result<u64> {
    import::put(scope, key, value, expected)
}

/// Forgets a key; whether there was one. `expected` as in [`put`].
///
/// # Errors
///
/// Those of [`get`]; `conflict` when the key has another version than `expected`.
pub fn remove(scope: Scope, key: &str, expected: Option<u64>) -> Result<bool> {
    import::remove(scope, key, expected)
}

/// All keys that begin with `prefix`, sorted.
///
/// # Errors
///
/// `unavailable` as for [`get`].
pub fn keys(scope: Scope, prefix: &str) -> Result<Vec<String>> {
    all_pages(|after| import::keys(scope, prefix, after))
}

/// Replaces a value by what `change` makes of it (none: there is no such key), again whenever another call was faster. The
/// new version.
///
/// # Errors
///
/// Those of [`put`] but `conflict`, and those of `change`.
pub fn update(scope: Scope, key: &str, change: impl FnMut(Option<Vec<u8>>) -> Result<Vec<u8>>) -> Result<u64> {
    until_kept(|| get(scope, key), |value, expected| put(scope, key, value, Some(expected)), change)
}

fn all_pages(mut page: impl FnMut(Option<&str>) -> Result<Vec<String>>) -> Result<Vec<String>> {
    let mut keys: Vec<String> = Vec::new();
    loop {
        let more = page(keys.last().map(String::as_str))?;
        if more.is_empty() {
            return Ok(keys);
        }
        keys.extend(more);
    }
}

fn until_kept(
    mut get: impl FnMut() -> Result<Option<Entry>>,
    mut put: impl FnMut(&[u8], u64) -> Result<u64>,
    mut change: impl FnMut(Option<Vec<u8>>) -> Result<Vec<u8>>,
) -> Result<u64> {
    loop {
        let (value, version) = get()?.map_or((None, 0), |entry| (Some(entry.value), entry.version));
        match put(&change(value)?, version) {
            Err(Error { kind: ErrorKind::Conflict, .. }) => {}
            kept => return kept,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn pages_are_put_together_in_order() {
        let all = ["a", "b", "c"];
        let page = |after: Option<&str>| {
            let left = all.into_iter().filter(|key| after.is_none_or(|after| *key > after));
            Ok(left.take(2).map(str::to_owned).collect())
        };
        assert_eq!(all_pages(page).unwrap(), all);
        assert_eq!(all_pages(|_| Err(Error::failed("no"))).unwrap_err().message, "no");
    }

    #[test]
    fn an_update_begins_anew_when_another_call_was_faster() {
        let kept = RefCell::new(Entry { value: vec![1], version: 3 });
        let mut others = 2;
        let change = |value: Option<Vec<u8>>| {
            if others > 0 {
                others -= 1;
                let mut kept = kept.borrow_mut();
                kept.value[0] += 10;
                kept.version += 1;
            }
            Ok(vec![value.unwrap()[0] + 1])
        };
        let put = |value: &[u8], expected: u64| {
            let mut kept = kept.borrow_mut();
            if kept.version != expected {
                return Err(Error::conflict("another was faster"));
            }
            *kept = Entry { value: value.to_vec(), version: expected + 1 };
            Ok(kept.version)
        };
        assert_eq!(until_kept(|| Ok(Some(kept.borrow().clone())), put, change).unwrap(), 6);
        assert_eq!(kept.into_inner().value, [22]);
        let over = until_kept(|| Ok(None), |_, _| Err(Error::too_large("full")), |_| Ok(Vec::new()));
        assert_eq!(over.unwrap_err().kind, ErrorKind::TooLarge);
    }
}
