//! `stellaclaw:plugin/deltas`: an answer on its way to the live preview.

use stellaclaw_bindings::deltas::{Delta as Sent, Host, ItemKind};

use crate::limits;
use crate::plugins::call::Delta;
use crate::plugins::instance::{Deltas, Guest};

impl Host for Guest {
    async fn emit(&mut self, batch: Vec<Sent>) -> wasmtime::Result<bool> {
        self.call.count()?;
        let Some(deltas) = &mut self.call.deltas else { return Ok(false) };
        if self.call.stop.is_stopped() {
            return Ok(false);
        }
        let bytes = batch.iter().map(bytes).fold(0, usize::saturating_add);
        let Some(left) = deltas.bytes_left.checked_sub(bytes) else {
            (deltas.bytes_left, deltas.over) = (0, true);
            return Ok(false);
        };
        deltas.bytes_left = left;
        let shown: Vec<_> = batch.into_iter().filter_map(|sent| show(deltas, sent)).collect();
        if !shown.is_empty() {
            (deltas.send)(shown);
        }
        Ok(true)
    }
}

/// What a piece costs: also an empty one is kept until it is shown.
fn bytes(sent: &Sent) -> usize {
    match sent {
        Sent::ItemStarted(item) => 1 + item.name.as_ref().map_or(0, String::len),
        Sent::Fragment(fragment) => 1 + fragment.text.len(),
        Sent::Started(_) | Sent::ItemFinished(_) | Sent::Usage(_) | Sent::RateLimits(_) => 0,
    }
}

/// What the preview shows of it. The completion is the authority; everything else in here only repeats it early.
fn show(deltas: &mut Deltas, sent: Sent) -> Option<Delta> {
    match sent {
        Sent::ItemStarted(item) => {
            if deltas.kinds.len() < limits::PREVIEW_ITEMS {
                deltas.kinds.insert(item.index, item.kind);
            }
            (item.kind == ItemKind::ToolUse).then(|| Delta::ToolUse(item.name.unwrap_or_default()))
        }
        Sent::Fragment(fragment) => match deltas.kinds.get(&fragment.index)? {
            ItemKind::Text | ItemKind::Refusal => Some(Delta::Text(fragment.text)),
            ItemKind::Reasoning | ItemKind::ReasoningSummary => Some(Delta::Reasoning(fragment.text)),
            ItemKind::ToolUse | ItemKind::Hosted => None,
        },
        Sent::Started(_) | Sent::ItemFinished(_) | Sent::Usage(_) | Sent::RateLimits(_) => None,
    }
}
