//! What `model` shows, as lines for people.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

use super::Configured;
use super::trial::{Outcome, Trial};
use crate::config::Model;
use crate::plugins::{AccountModel, Modality};

/// A model on a line, its problem below it.
pub(super) fn configured(found: &[Configured]) -> String {
    let is = |model: &Configured| model.is.iter().map(|kind| kind.what()).collect::<Vec<_>>().join(", ");
    let rows = found.iter().map(|model| {
        let state = if model.problem.is_some() { "cannot be asked" } else { "ready" };
        [model.alias.clone(), model.model.clone(), model.provider.clone(), is(model), state.to_owned(), model.roles.join(", ")]
    });
    let lines = aligned(rows.collect());
    let mut text = String::new();
    for (line, model) in lines.iter().zip(found) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
        for line in model.problem.iter().flat_map(|problem| problem.lines()) {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

/// The models of an account, by their ids.
pub(super) fn account(listed: &[AccountModel]) -> String {
    let tokens = |count: Option<u64>| count.map_or_else(String::new, |count| count.to_string());
    let mut rows: Vec<_> = listed
        .iter()
        .map(|model| {
            let reads: Vec<_> = model.reads.iter().map(|reads| word(*reads)).collect();
            [model.id.clone(), tokens(model.context_window), tokens(model.max_output), reads.join(","), prices(model)]
        })
        .collect();
    rows.sort();
    let title = ["MODEL", "CONTEXT", "OUTPUT", "READS", "$ PER MILLION IN/OUT"].map(str::to_owned);
    let lines = aligned([title].into_iter().chain(rows).collect());
    format!("{}\n", lines.join("\n"))
}

/// `{"price": {"input", "output"}}`, where a component says so.
fn prices(model: &AccountModel) -> String {
    let ext: Option<Value> = model.ext.as_deref().and_then(|ext| serde_json::from_str(ext).ok());
    let price = |name: &str| ext.as_ref()?.get("price")?.get(name)?.as_f64();
    match (price("input"), price("output")) {
        (Some(input), Some(output)) => format!("{input:.2}/{output:.2}"),
        _ => String::new(),
    }
}

/// What came of a test.
pub(super) fn trial(model: &Model, trial: &Trial, files: &[PathBuf]) -> String {
    let mut text = format!("{}: {} ({})\n", model.alias, trial.summary(model), model.provider);
    let more: Vec<_> = match &trial.outcome {
        Outcome::Answered(answer) => vec![format!("answer: {}", first_line(answer))],
        Outcome::Found(hits) => hits.iter().map(|hit| format!("{} ({})", first_line(&hit.title), hit.url)).collect(),
        Outcome::Drawn(images) => images
            .iter()
            .zip(files)
            .map(|(image, file)| format!("{} ({}, {} bytes)", file.display(), image.media_type, image.data.len()))
            .collect(),
    };
    let cost = trial.usage.as_ref().map(|usage| {
        let input = usage.tokens().saturating_sub(usage.output);
        let cost = usage
            .cost_micros
            .map_or_else(|| "cost unknown".to_owned(), |micros| format!("${}.{:06}", micros / 1_000_000, micros % 1_000_000));
        format!("tokens: {input} in, {} out; {cost}", usage.output)
    });
    for line in more.into_iter().chain(cost) {
        let _ = writeln!(text, "  {line}");
    }
    text
}

/// The contract's word.
pub(super) fn word(reads: Modality) -> &'static str {
    match reads {
        Modality::Text => "text",
        Modality::Image => "image",
        Modality::Pdf => "pdf",
        Modality::Audio => "audio",
        Modality::File => "file",
    }
}

fn first_line(text: &str) -> &str {
    text.trim().lines().next().unwrap_or_default()
}

/// Columns as wide as what is in them.
fn aligned<const N: usize>(rows: Vec<[String; N]>) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].width()).max().unwrap_or(0);
    let widths: Vec<_> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell}{}", " ".repeat(width.saturating_sub(cell.width()))));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::chat::Usage;
    use crate::plugins::{Kind, image, search};

    #[test]
    fn models_are_shown_with_what_they_are_for_and_what_is_wrong() {
        let model = |alias: &str, is: Kind, roles: &[&str], problem: Option<&str>| Configured {
            alias: alias.into(),
            model: format!("vendor/{alias}"),
            provider: format!("provider-{alias}"),
            is: vec![is],
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            problem: problem.map(str::to_owned),
        };
        let found = [
            model("main", Kind::Provider, &["default", "image"], None),
            model("brave", Kind::WebSearch, &["search"], Some("api_key: the variable X is not set")),
            model("painter", Kind::Images, &[], None),
        ];
        insta::assert_snapshot!(configured(&found), @r"
        main     vendor/main     provider-main     a provider          ready            default, image
        brave    vendor/brave    provider-brave    a web search        cannot be asked  search
          api_key: the variable X is not set
        painter  vendor/painter  provider-painter  an image generator  ready
        ");
    }

    #[test]
    fn an_account_is_a_table_by_id() {
        let model = |id: &str, ext: Option<&str>| AccountModel {
            id: id.into(),
            name: id.into(),
            context_window: ext.map(|_| 200_000),
            max_output: None,
            reads: vec![Modality::Text, Modality::Image],
            ext: ext.map(str::to_owned),
        };
        let listed = [model("z/last", None), model("a/first", Some(r#"{"price":{"input":3.0,"output":15}}"#))];
        insta::assert_snapshot!(account(&listed), @r"
        MODEL    CONTEXT  OUTPUT  READS       $ PER MILLION IN/OUT
        a/first  200000           text,image  3.00/15.00
        z/last                    text,image
        ");
    }

    #[test]
    fn a_test_says_time_tokens_and_cost() {
        let model = Model { alias: "main".into(), id: "vendor/m".into(), ..Model::offline() };
        let show = |outcome, usage, files: &[PathBuf]| trial(&model, &Trial { took: Duration::from_millis(812), outcome, usage }, files);
        let hit = |n: u8| search::Hit {
            title: format!("Title {n}"),
            url: format!("https://example.com/{n}"),
            snippet: String::new(),
            published: None,
            thumbnail: None,
            ext: None,
        };
        let drawn = vec![image::Image { media_type: "image/png".into(), data: vec![0; 9] }];
        let usage = Usage { input_uncached: 20, cache_read: 3, output: 2, cost_micros: Some(1_000_031), ..Usage::default() };
        let all = [
            show(Outcome::Answered("ready\nsteady".into()), Some(usage), &[]),
            show(Outcome::Found(vec![hit(1), hit(2)]), None, &[]),
            show(Outcome::Drawn(drawn), Some(Usage { input_uncached: 9, output: 300, ..Usage::default() }), &["main.png".into()]),
        ];
        insta::assert_snapshot!(all.concat(), @r"
        main: vendor/m answered in 812 ms (provider-offline)
          answer: ready
          tokens: 23 in, 2 out; $1.000031
        main: vendor/m found 2 results in 812 ms (provider-offline)
          Title 1 (https://example.com/1)
          Title 2 (https://example.com/2)
        main: vendor/m drew 1 image in 812 ms (provider-offline)
          main.png (image/png, 9 bytes)
          tokens: 9 in, 300 out; cost unknown
        ");
    }
}
