//! What the model is told once when its surroundings have changed, before the next message. Pure.
//!
//! What was announced is remembered as one text, `plugin:hash` for each plugin that offers tools. A plugin whose tools are
//! the same to the letter is not mentioned, whatever happened to its bytes.

use std::collections::BTreeMap;

use super::event::Notice;
use crate::plugins::{Catalog, Offer};

/// The component under which tools are announced.
pub const TOOLS: &str = "tools";

/// The tools of now, after those that were `announced`. What was never announced is what the session begins with.
#[must_use]
pub fn tools(catalog: &Catalog, announced: Option<&str>) -> Notice {
    let hash = catalog.offers().iter().map(|offer| format!("{}:{}", offer.plugin, offer.hash)).collect::<Vec<_>>().join(" ");
    let before: BTreeMap<_, _> = announced.unwrap_or_default().split(' ').filter_map(|known| known.split_once(':')).collect();
    let is_new = |offer: &&Offer| before.get(offer.plugin.as_str()) != Some(&offer.hash.as_str());
    let changed = catalog.offers().iter().filter(is_new).map(|offer| format!("`{}` now offers: {}.", offer.plugin, offer.tools.join(", ")));
    let gone = before.keys().filter(|plugin| !catalog.offers().iter().any(|offer| offer.plugin == **plugin));
    let gone = gone.map(|plugin| format!("`{plugin}` is gone, and its tools with it."));
    Notice { component: TOOLS.to_owned(), hash, text: changed.chain(gone).collect::<Vec<_>>().join("\n") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::chat::{Batching, Replay};
    use crate::plugins::Tool;

    fn tool(plugin: &str, name: &str, description: &str) -> Tool {
        Tool {
            plugin: plugin.into(),
            name: name.into(),
            description: description.into(),
            parameters: "{}".into(),
            batching: Batching::Parallel,
            replay: Replay::Read,
            timeout: Duration::ZERO,
        }
    }

    #[test]
    fn only_what_changed_is_mentioned() {
        let first: Catalog = [tool("files", "read", "r"), tool("weather", "radar", "r"), tool("old", "x", "x")].into_iter().collect();
        let begun = tools(&first, None);
        assert_eq!(tools(&first, Some(&begun.hash)).hash, begun.hash);
        let second: Catalog =
            [tool("files", "read", "r"), tool("weather", "radar", "better"), tool("weather", "rain", "r"), tool("new", "y", "y")]
                .into_iter()
                .collect();
        let notice = tools(&second, Some(&begun.hash));
        assert_ne!(notice.hash, begun.hash);
        insta::assert_snapshot!(notice.text, @"
        `weather` now offers: radar, rain.
        `new` now offers: y.
        `old` is gone, and its tools with it.
        ");
        let none = tools(&Catalog::default(), Some(&begun.hash));
        assert_eq!(none.hash, "", "nothing is something to be remembered, too");
    }
}
