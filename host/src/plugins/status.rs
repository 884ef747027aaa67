//! What `plugin list` shows of a component.

use serde::{Deserialize, Serialize};

/// Where a component comes from. On a clash of names the earlier wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Part of this program.
    Bundled,
    /// `[plugins.NAME] path = …`
    Configured,
    /// A file in one of `plugin_dirs`.
    DroppedIn,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bundled => "bundled",
            Self::Configured => "configured",
            Self::DroppedIn => "dropped-in",
        })
    }
}

/// What a component can be: read from its exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Tools,
    Provider,
    ModelList,
    WebSearch,
    Images,
}

impl Kind {
    /// Each with the interface that it exports, in the order of the contract.
    pub(super) const EXPORTS: [(&str, Self); 5] = [
        ("tools", Self::Tools),
        ("provider", Self::Provider),
        ("model-list", Self::ModelList),
        ("web-search", Self::WebSearch),
        ("images", Self::Images),
    ];

    /// What such a component is, for people.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Provider => "a provider",
            Self::ModelList => "a list of models",
            Self::WebSearch => "a web search",
            Self::Images => "an image generator",
        }
    }

    /// Can a model entry name it, with a server and a key?
    pub(super) fn serves_models(self) -> bool {
        self != Self::Tools
    }
}

/// Can it serve?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Ready,
    Compiling,
    /// Its bytes cannot be loaded; the reason says what would be right. Older ones may be serving.
    Refused {
        reason: String,
    },
    /// It has less than it asks for, or older bytes than its file, until the operator runs `command` or adds `line` to the
    /// configuration.
    Waiting {
        reason: String,
        line: String,
        /// None where its grants stand in the configuration.
        command: Option<String>,
    },
}

/// One component, served or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginStatus {
    pub name: String,
    pub version: Option<String>,
    pub description: Option<String>,
    pub source: Source,
    /// Where it was read from; none for a bundled one.
    pub path: Option<std::path::PathBuf>,
    /// SHA-256 of its bytes, in hexadecimal; none when they could not be read.
    pub digest: Option<String>,
    /// SHA-256 of the bytes that serve; none while nothing does.
    pub serving: Option<String>,
    pub state: State,
    /// The tool names of its manifest.
    pub tools: Vec<String>,
    pub kinds: Vec<Kind>,
}
