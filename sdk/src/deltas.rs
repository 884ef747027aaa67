//! Where a provider sends what it receives.

pub use crate::bindings::imports::stellaclaw::plugin::deltas::{Delta, Finished, Fragment, Item, ItemKind, Start, emit};

/// Adds `text` to the last delta when that is a fragment of the same item: twenty events of a chunk become one delta.
pub fn append(deltas: &mut Vec<Delta>, index: u32, text: &str) {
    if text.is_empty() {
        return;
    }
    if let Some(Delta::Fragment(last)) = deltas.last_mut()
        && last.index == index
    {
        last.text.push_str(text);
        return;
    }
    deltas.push(Delta::Fragment(Fragment { index, text: text.to_owned() }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_of_one_item_become_one() {
        let mut deltas = Vec::new();
        for (index, text) in [(0, "a"), (0, ""), (0, "b"), (1, "c"), (0, "d")] {
            append(&mut deltas, index, text);
        }
        let fragment = |index, text: &str| Delta::Fragment(Fragment { index, text: text.into() });
        assert_eq!(deltas, [fragment(0, "ab"), fragment(1, "c"), fragment(0, "d")]);
    }
}
