//! Tool calls out of their fragments.
//!
//! The rule is "merge by `index`", and servers bend it: some leave the index out, some give every whole call index 0, some
//! repeat id and name with each fragment. A fragment belongs to a known call unless it plainly starts another one.

use std::collections::HashSet;

use stellaclaw_sdk::chat::ToolUse;

use super::wire::{CallPart, FunctionPart, Text};

#[derive(Debug)]
pub(crate) struct Call {
    index: Option<i64>,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) arguments: String,
    /// The index under which the host knows it.
    pub(crate) item: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Calls(Vec<Call>);

impl Calls {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a fragment; `item` is taken when it starts a call. Says which call it was and whether it is new.
    pub(crate) fn add(&mut self, part: &CallPart<'_>, item: u32) -> (&Call, bool) {
        let id = Text::of(part.id.as_ref());
        let (name, arguments) = match &part.function {
            Some(FunctionPart { name, arguments }) => (Text::of(name.as_ref()), Text::of(arguments.as_ref())),
            None => ("", ""),
        };
        let found = self.find(part.index, id, name);
        let at = found.unwrap_or_else(|| {
            self.0.push(Call { index: part.index, id: String::new(), name: String::new(), arguments: String::new(), item });
            self.0.len() - 1
        });
        let call = &mut self.0[at];
        if call.id.is_empty() {
            call.id.push_str(id);
        }
        // A repeated name is the same name again, not its continuation.
        if call.arguments.is_empty() && call.name != name {
            call.name.push_str(name);
        }
        call.arguments.push_str(arguments);
        (call, found.is_none())
    }

    fn find(&self, index: Option<i64>, id: &str, name: &str) -> Option<usize> {
        match index {
            Some(_) => {
                let at = self.0.iter().rposition(|call| call.index == index)?;
                let known = &self.0[at].id;
                let another = !name.is_empty() && !id.is_empty() && !known.is_empty() && known != id;
                (!another).then_some(at)
            }
            None if !id.is_empty() => self.0.iter().position(|call| call.id == id),
            None if !name.is_empty() => None,
            None => self.0.len().checked_sub(1),
        }
    }

    /// The calls as they are answered: every one has an id of its own and arguments.
    pub(crate) fn finish(self) -> Vec<(u32, ToolUse)> {
        let mut seen = HashSet::new();
        let whole = self.0.into_iter().filter(|call| !(call.name.is_empty() && call.arguments.is_empty()));
        whole
            .enumerate()
            .map(|(at, mut call)| {
                if call.id.is_empty() || seen.contains(&call.id) {
                    call.id = (at..).map(|n| format!("call_{n}")).find(|id| !seen.contains(id)).unwrap_or_default();
                }
                seen.insert(call.id.clone());
                if call.arguments.trim().is_empty() {
                    call.arguments = "{}".into();
                }
                (call.item, ToolUse { call_id: call.id, item_id: None, name: call.name, arguments: call.arguments, freeform: false })
            })
            .collect()
    }
}
