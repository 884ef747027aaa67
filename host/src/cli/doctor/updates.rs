//! Updates of Telegram that were passed by and kept: those that nobody understood, and those that could not be taken.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::Check;
use crate::cli::chat::harmless;
use crate::cli::{Context, ExitCode, output};
use crate::clock::Moment;
use crate::store::{Oddity, Store};
use crate::workdir::WorkDir;

const NAME: &str = "telegram updates";
/// Kinds that one line names.
const KINDS: usize = 5;

/// One of them, as it is printed.
#[derive(Debug, Serialize)]
struct Kept {
    at_ms: Moment,
    at: String,
    channel: String,
    update: String,
    reason: String,
    /// As it arrived, cut.
    raw: String,
}

/// How many there are, of which kinds, and when the newest came. That the store cannot be read was said before.
pub(super) async fn check(context: &Context, report: &mut Vec<Check>) {
    if let Ok(kept) = kept(context).await {
        report.extend(summary(&kept).map(|summary| Check::ok(NAME, summary)));
    }
}

/// Shows all of them, the newest first.
pub(super) async fn show(context: &Context, json: bool) -> anyhow::Result<ExitCode> {
    let kept = kept(context).await?;
    if json {
        output::json(&kept)?
    } else {
        output::text(&render(&kept))?
    }
    Ok(ExitCode::Ok)
}

async fn kept(context: &Context) -> anyhow::Result<Vec<Kept>> {
    if !context.workdir.exists() {
        return Ok(Vec::new());
    }
    let workdir = WorkDir::existing(&context.workdir)?;
    if !workdir.database().exists() {
        return Ok(Vec::new());
    }
    let kept = |(at, odd): (Moment, Oddity)| {
        let Oddity { channel, external_id, reason, body } = odd;
        Kept { at_ms: at, at: at.utc(), channel, update: external_id, reason, raw: body }
    };
    Ok(Store::open_read_only(&workdir)?.oddities().await?.into_iter().map(kept).collect())
}

fn summary(kept: &[Kept]) -> Option<String> {
    let newest = kept.first()?;
    let mut kinds = BTreeMap::<&str, usize>::new();
    for one in kept {
        *kinds.entry(one.reason.split(':').next().unwrap_or_default()).or_default() += 1;
    }
    let mut named: Vec<_> = kinds.iter().map(|(kind, count)| format!("{count} × {kind}")).take(KINDS).collect();
    if kinds.len() > KINDS {
        named.push("others".to_owned());
    }
    let (count, at) = (kept.len(), &newest.at);
    Some(format!("{count} kept that were not taken, the newest of {at} ({}); `stellaclaw doctor --updates` shows them", named.join(", ")))
}

fn render(kept: &[Kept]) -> String {
    if kept.is_empty() {
        return "Every update was taken.\n".to_owned();
    }
    let mut text = String::new();
    for Kept { at, channel, update, reason, raw, .. } in kept {
        let line = |text: &str| harmless(text).replace('\n', " ");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{at}  {channel} {}: {}\n  {}", line(update), line(reason), line(raw));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(at: i64, reason: &str, raw: &str) -> Kept {
        let at_ms = Moment(at);
        Kept { at_ms, at: at_ms.utc(), channel: "tg:1".into(), update: "7".into(), reason: reason.into(), raw: raw.into() }
    }

    #[test]
    fn what_was_not_taken_is_counted_by_kind_and_shown_as_it_came_without_steering_a_terminal() {
        assert_eq!(summary(&[]), None);
        let all = [
            kept(1_700_000_000_000, "an update of an unknown kind: dream", "{\"dream\":\"\u{1b}[2J\u{202e}\"}"),
            kept(1_600_000_000_000, "an update of an unknown kind: wish", "{\n}"),
            kept(1_500_000_000_000, "it could not be taken: full", "{}"),
        ];
        insta::assert_snapshot!(summary(&all).unwrap(), @"3 kept that were not taken, the newest of 2023-11-14 22:13:20 UTC (2 × an update of an unknown kind, 1 × it could not be taken); `stellaclaw doctor --updates` shows them");
        insta::assert_snapshot!(render(&all), @r#"
        2023-11-14 22:13:20 UTC  tg:1 7: an update of an unknown kind: dream
          {"dream":"␛[2J�"}
        2020-09-13 12:26:40 UTC  tg:1 7: an update of an unknown kind: wish
          { }
        2017-07-14 02:40:00 UTC  tg:1 7: it could not be taken: full
          {}
        "#);
        let many: Vec<_> = (0..20).map(|n| kept(1, &format!("kind{n}: x"), "{}")).collect();
        let told = summary(&many).unwrap();
        assert!(told.matches(" × ").count() == KINDS && told.contains(", others)"), "{told}");
    }
}
