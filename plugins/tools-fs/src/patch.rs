//! `apply_patch`: changes several files at once by a unified diff, or by a patch in the `*** Begin Patch` envelope.

use stellaclaw_sdk::serde::{Deserialize, Serialize};
use stellaclaw_sdk::{Call, Output, Result, Tool, schemars};

use crate::answer;
use crate::files::{Files, Local};

mod fit;
mod parse;
mod plan;
pub(crate) mod seek;
#[cfg(test)]
mod tests;

/// Changes files by a patch, in either of two formats. All of it is checked first; if any part does not fit, nothing is
/// changed. After success there is no need to read the files again.
///
/// ```text
/// *** Begin Patch
/// *** Update File: src/a.rs
/// *** Move to: src/b.rs
/// @@ fn greet() {
///      let name = "you";
/// -    print(name);
/// +    println(name);
///  }
/// *** Add File: notes.txt
/// +first line
/// *** Delete File: old.txt
/// *** End Patch
/// ```
///
/// `Move to` is optional. A hunk starts with `@@`, optionally followed by a line that comes before the place (such as
/// the function's head), and has about 3 lines of context around each change: ` ` keeps, `-` removes, `+` adds a line.
/// Hunks come in the order of the file. `*** End of File` after a hunk ties it to the end.
///
/// Or a unified diff, as `git diff` prints it:
///
/// ```text
/// --- a/src/a.rs
/// +++ b/src/a.rs
/// @@ -10,3 +10,3 @@ fn greet() {
///      let name = "you";
/// -    print(name);
/// +    println(name);
///  }
/// ```
///
/// Line numbers and counts may be off as long as the lines say which place is meant. `/dev/null` on one side makes or
/// deletes a file; a rename has `diff --git`, `rename from` and `rename to` lines. Modes, links, copies and binary files
/// are not served. Paths are relative to the workspace.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde")]
pub(crate) struct ApplyPatch {
    /// The patch: from `*** Begin Patch` to `*** End Patch`, or a unified diff.
    patch: String,
    /// Only check whether it fits.
    #[serde(default)]
    check: bool,
}

impl Tool for ApplyPatch {
    fn call(self, _call: &Call) -> Result<Output> {
        self.run(&Local::sandbox())
    }
}

/// The answer.
#[derive(Debug, Serialize)]
#[serde(crate = "stellaclaw_sdk::serde")]
struct Applied {
    applied: bool,
    files: Vec<plan::Changed>,
}

impl ApplyPatch {
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn new(patch: String, check: bool) -> Self {
        Self { patch, check }
    }

    pub(crate) fn run(self, files: &dyn Files) -> Result<Output> {
        let sections = parse::parse(&self.patch)?;
        let plan = plan::Plan::new(files, &sections)?;
        if self.check {
            let summary = format!("the patch fits {} files", plan.changed.len());
            return answer::json(&Applied { applied: false, files: plan.changed }, &summary);
        }
        let changed = plan.write()?;
        let summary = format!("patched {} files", changed.len());
        answer::json(&Applied { applied: true, files: changed }, &summary)
    }
}
