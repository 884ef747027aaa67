//! `usage`: tokens and money by model, conversation, day or purpose, from the rows of every model request. It changes nothing,
//! whether a host runs or not.

use std::collections::BTreeMap;

use serde::Serialize;

use super::args::{Usage, UsageArgs};
use super::conversation::one_line;
use super::{Context, ExitCode, output};
use crate::clock::{self, Moment};
use crate::session::figures::{tokens, usd};
use crate::store::{Store, Totals, UsageBy, UsageLine};
use crate::workdir::WorkDir;

/// The whole report.
#[derive(Debug, Serialize)]
struct Report {
    since_ms: Moment,
    by: &'static str,
    lines: Vec<UsageLine>,
    total: Totals,
}

/// Runs the verb.
pub(super) async fn run(context: &Context, args: UsageArgs) -> anyhow::Result<ExitCode> {
    let workdir = WorkDir::existing(&context.workdir)?;
    let (by, name) = match args.by {
        Usage::Model => (UsageBy::Model, "model"),
        Usage::Conversation => (UsageBy::Conversation, "conversation"),
        Usage::Day => (UsageBy::Day, "day"),
        Usage::Kind => (UsageBy::Kind, "kind"),
    };
    let since = beginning(clock::now(), i64::try_from(args.since.as_millis()).unwrap_or(i64::MAX), by);
    // Before the first start nothing was used.
    let (lines, names) = match workdir.database().exists() {
        true => {
            let store = Store::open_read_only(&workdir)?;
            (store.usage_since(since, by).await?, if by == UsageBy::Conversation { names(&store).await? } else { BTreeMap::new() })
        }
        false => Default::default(),
    };
    let total = lines.iter().fold(Totals::default(), |sum, line| sum.plus(&line.totals));
    let report = Report { since_ms: since, by: name, lines, total };
    if args.json {
        output::json(&report)?;
    } else {
        output::text(&render(&report, &names))?;
    }
    Ok(ExitCode::Ok)
}

/// Of days only whole ones are shown.
fn beginning(now: Moment, span: i64, by: UsageBy) -> Moment {
    let since = Moment(now.0.saturating_sub(span).max(0));
    if by == UsageBy::Day { since.midnight() } else { since }
}

/// What people call the conversations that are there.
async fn names(store: &Store) -> anyhow::Result<BTreeMap<String, String>> {
    let all = store.conversations().await?.into_iter();
    let known = all.map(|one| {
        let title = if one.title.is_empty() { one.address } else { one_line(&one.title) };
        (one.id.to_string(), format!("{} {} {title}", one.id, one.channel))
    });
    Ok(known.collect())
}

fn render(report: &Report, names: &BTreeMap<String, String>) -> String {
    if report.lines.is_empty() {
        return format!("No model was asked since {}.\n", report.since_ms.utc());
    }
    let name = |line: &UsageLine| match names.get(&line.name) {
        Some(name) => name.clone(),
        None if report.by == "conversation" => format!("{} (deleted)", line.name),
        None => line.name.clone(),
    };
    let head = [report.by, "requests", "uncached", "cache read", "cache write", "output", "reasoning", "USD"].map(str::to_owned);
    let mut rows = vec![head];
    rows.extend(report.lines.iter().map(|line| cells(name(line), &line.totals)));
    if report.lines.len() > 1 {
        rows.push(cells("total".to_owned(), &report.total));
    }
    let mut text = output::table(&rows, 1);
    if report.total.unpriced_tokens > 0 {
        let unpriced = tokens(report.total.unpriced_tokens);
        text.push_str(&format!("{unpriced} tokens have no known price and are not in the sum; `price` of a model gives it one.\n"));
    }
    if report.total.estimated > 0 {
        text.push_str(&format!("Requests that are estimates, because nobody said what they used: {}.\n", tokens(report.total.estimated)));
    }
    text
}

fn cells(name: String, sums: &Totals) -> [String; 8] {
    let [requests, uncached, read, write, output, reasoning] =
        [sums.requests, sums.input_uncached, sums.cache_read, sums.cache_write, sums.output, sums.reasoning].map(tokens);
    [name, requests, uncached, read, write, output, reasoning, usd(sums.cost_micros, 4)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, requests: u64, cost_micros: u64) -> UsageLine {
        let totals = Totals {
            requests,
            input_uncached: requests * 12_345,
            cache_read: requests * 1_000_000,
            cache_write: 7,
            output: requests * 890,
            reasoning: requests * 12,
            cost_micros,
            ..Totals::default()
        };
        UsageLine { name: name.into(), totals }
    }

    fn report(by: &'static str, lines: Vec<UsageLine>) -> Report {
        let total = lines.iter().fold(Totals::default(), |sum, line| sum.plus(&line.totals));
        Report { since_ms: Moment(1_795_358_165_000), by, lines, total }
    }

    #[test]
    fn usage_is_a_table_with_a_total_that_says_what_is_not_in_it_and_names_conversations() {
        let mut unpriced = line("local", 2, 0);
        (unpriced.totals.unpriced_tokens, unpriced.totals.estimated) = (2_026_477, 1);
        let lines = vec![line("main", 12, 1_234_567), unpriced];
        let shown = [
            render(&report("model", lines), &BTreeMap::new()),
            render(&report("day", vec![line("2026-11-22", 1, 50)]), &BTreeMap::new()),
            render(&report("day", Vec::new()), &BTreeMap::new()),
            render(
                &report("conversation", vec![line("c1", 1, 0), line("c2", 1, 0)]),
                &BTreeMap::from([("c1".to_owned(), "c1 terminal 1000".to_owned())]),
            ),
        ];
        insta::assert_snapshot!(shown.join("\n"));
    }

    #[test]
    fn days_are_whole_and_other_spans_are_exact() {
        let now = Moment(1_795_358_165_000);
        assert_eq!(beginning(now, 3_600_000, UsageBy::Model), Moment(1_795_354_565_000));
        assert_eq!(beginning(now, 3_600_000, UsageBy::Day).utc(), "2026-11-22 00:00:00 UTC");
        assert_eq!(beginning(now, i64::MAX, UsageBy::Kind), Moment(0));
    }
}
