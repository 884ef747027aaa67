//! A configuration is either right or refused with the line, the key and what to write instead.

use std::path::Path;
use std::time::Duration;

use stellaclaw::config::{Config, FsGrant, FsMount, Helper, Limits, SecretSource, Session};

use crate::support::read;

/// The example with every key that it shows as unset.
fn example_in_full() -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => rest.to_owned(),
        _ => line.to_owned(),
    };
    read("example_config.toml").lines().map(line).collect::<Vec<_>>().join("\n")
}

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("/etc/stellaclaw/config.toml")).map_err(|error| error.to_string())
}

#[test]
fn the_example_shows_the_defaults() {
    let config = parse(&read("example_config.toml")).unwrap();
    assert_eq!((&config.limits, &config.session), (&Limits::default(), &Session::default()));
    let (main, embedded) = (&config.models["main"], Config::embedded(true));
    assert_eq!(format!("{main:?}"), format!("{:?}", embedded.models["main"]));
    assert_eq!((config.default_model, config.plugin_dirs), (embedded.default_model, embedded.plugin_dirs));
}

#[test]
fn the_example_is_right_in_full() {
    // `sha256` and `trust` exclude each other, so they are tried one after the other.
    let full = example_in_full();
    assert!(parse(&full).unwrap_err().contains("exclude each other"));
    for key in ["sha256", "trust"] {
        let text: Vec<_> = full.lines().filter(|line| !line.starts_with(&format!("{key} ="))).collect();
        let config = parse(&text.join("\n")).unwrap();
        let plugin = &config.plugins["tools-example"];
        assert_eq!(plugin.path.as_deref(), Some(Path::new("/etc/stellaclaw/components/tools_example.wasm")));
        assert_eq!(plugin.fs, Some(vec![FsGrant { mount: FsMount::Workspace, writable: true }]));
        assert_eq!(plugin.secrets["api-key"].source, SecretSource::Env("EXAMPLE_KEY".into()));
        assert_eq!(plugin.limits.memory_bytes, Some(64 << 20));
        assert_eq!(plugin.trust_path, key == "sha256");
        assert_eq!(config.session.history, Some(Duration::from_secs(90 * 86_400)));
        let model = &config.models["main"];
        assert_eq!((model.options["api"].as_str(), &model.fallback[..]), (Some("responses"), &["other".to_owned()][..]));
        let defaults = &Config::embedded(false).models["offline"];
        assert_eq!((&model.image, &model.pdf, &model.audio), (&defaults.image, &defaults.pdf, &defaults.audio));
        assert_eq!((config.session.helpers.pdf, config.session.helpers.audio), (Some(Helper::Model("main".into())), Some(Helper::Own)));
    }
}

#[test]
fn people_are_numbers_never_names() {
    let telegram = |rest: &str| parse(&format!("version = \"0.5\"\n[channels.telegram]\ntoken = {{ env = \"T\" }}\n{rest}\n"));
    let known = telegram("owners = [7]\npeople = [9007199254740993]\ngroups = [-1001234567890]").unwrap().telegram.unwrap();
    assert_eq!((known.owners, known.people, known.groups), (vec![7], vec![9_007_199_254_740_993], vec![-1_001_234_567_890]));
    let nobody = telegram("").unwrap().telegram.unwrap();
    assert!(nobody.owners.is_empty() && nobody.people.is_empty() && nobody.groups.is_empty(), "empty means nobody");
    for (wrong, why) in [
        ("owners = [\"@ada\"]", "a name can change hands"),
        ("people = [\"7\"]", "write the number"),
        ("people = [7.0]", "a number"),
        ("people = [-7]", "a person has a positive number"),
        ("groups = [7]", "a group has a negative number"),
        ("api_base_url = \"api.telegram.org\"", "not the address of a server"),
        ("proxy = \"ftp://x\"", "not the address of a server"),
        ("proxy = \"http://me:hunter2-hunter2@x:3128\"", "with them into the environment, as HTTPS_PROXY"),
        ("proxy = \"me:hunter2-hunter2@x\"", "not the address of a server"),
        ("api_base_url = \"https://me@x\"", "a name or a password is in the address"),
    ] {
        let refused = telegram(wrong).unwrap_err();
        assert!(refused.contains(why) && !refused.contains("hunter2"), "{wrong}: {refused}");
    }
}

#[test]
fn the_example_shows_every_key() {
    let full: toml::Table = example_in_full().parse().unwrap();
    // Each table is asked for a key that it cannot have; the answer lists those it has.
    for table in [
        "",
        "models.main",
        "models.main.price",
        "models.main.api_key",
        "limits",
        "session",
        "channels.telegram",
        "channels.telegram.token",
        "plugins.tools-example",
    ]
    .into_iter()
    .chain(["plugins.tools-example.limits", "plugins.tools-example.tools.example", "plugins.tools-example.secrets.api-key"])
    {
        let mut wrong = full.clone();
        let mut shown = &mut wrong;
        for key in table.split('.').filter(|key| !key.is_empty()) {
            shown = shown[key].as_table_mut().unwrap();
        }
        let keys: Vec<_> = shown.keys().cloned().collect();
        shown.insert("no-such-key-anywhere".into(), true.into());
        let error = parse(&toml_text(&wrong)).unwrap_err();
        let (_, known) = error.split_once("write one of ").unwrap_or_else(|| panic!("{table}: {error}"));
        for key in known.split(", ").map(|key| key.trim_matches('`')) {
            // A secret has one source; the example shows the others beside it.
            if !matches!(key, "file" | "codex_auth") {
                assert!(keys.iter().any(|shown| shown == key), "example_config.toml does not show `{key}` of [{table}]");
            }
        }
    }
}

/// The table as one line of TOML per key at the top: inline tables all the way down.
fn toml_text(table: &toml::Table) -> String {
    fn value(item: &toml::Value) -> String {
        match item {
            toml::Value::Table(table) => format!("{{ {} }}", pairs(table).join(", ")),
            toml::Value::String(text) => format!("{text:?}"),
            toml::Value::Array(items) => format!("[{}]", items.iter().map(value).collect::<Vec<_>>().join(", ")),
            toml::Value::Float(number) => format!("{number:?}"),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(yes) => yes.to_string(),
            toml::Value::Datetime(moment) => moment.to_string(),
        }
    }
    fn pairs(table: &toml::Table) -> Vec<String> {
        table.iter().map(|(key, item)| format!("{key} = {}", value(item))).collect()
    }
    pairs(table).join("\n")
}

#[test]
fn a_small_config_is_enough() {
    let config = parse("version = \"0.5\"").unwrap();
    assert_eq!(config.default_model, "offline");
    let config = parse("version = \"0.5\"\nmodels.a = { provider = \"p\", model = \"m\" }").unwrap();
    assert_eq!(config.default_model, "a");
}

#[test]
fn paths_in_the_file_start_beside_it() {
    let text = "version = \"0.5\"\nmodels.a = { provider = \"p\", model = \"m\", api_key = { file = \"key\" } }";
    assert_eq!(parse(text).unwrap().models["a"].api_key, Some(SecretSource::File("/etc/stellaclaw/key".into())));
    let home = std::env::var("HOME").unwrap();
    for (written, meant) in
        [("auth.json", "/etc/stellaclaw/auth.json"), ("/x/auth.json", "/x/auth.json"), ("~/auth.json", &format!("{home}/auth.json"))]
    {
        let login = parse(&text.replace("file = \"key\"", &format!("codex_auth = \"{written}\""))).unwrap();
        assert_eq!(login.models["a"].api_key, Some(SecretSource::CodexAuth(meant.into())));
    }
}

#[test]
fn a_wrong_config_says_where_what_and_how_to_mend_it() {
    let model = "[models.main]\nprovider = \"p\"\nmodel = \"m\"\n";
    let cases = [
        ("not TOML", "version = \"0.5\"\ndefault_model = \"main\n".to_owned()),
        ("no version", "default_model = \"main\"\n".to_owned()),
        ("version as a number", "version = 0.5\n".to_owned()),
        ("older", "version = \"0.4\"\n".to_owned()),
        ("newer, with a key of its own", "version = \"0.10\"\nfleet = true\n".to_owned()),
        ("not a version", "version = \"latest\"\n".to_owned()),
        ("unknown key", format!("version = \"0.5\"\ndefault_modle = \"main\"\n{model}")),
        ("unknown key of a model", format!("version = \"0.5\"\n{model}baseurl = \"https://x\"\n")),
        ("unknown table", format!("version = \"0.5\"\n[sandbox]\nmode = \"host\"\n{model}")),
        ("missing key", "version = \"0.5\"\n[models.main]\nprovider = \"p\"\n".to_owned()),
        ("unknown model", format!("version = \"0.5\"\ndefault_model = \"mian\"\n{model}")),
        ("no default", format!("version = \"0.5\"\n{model}{}", model.replace("main", "other"))),
        ("secret written out", format!("version = \"0.5\"\n{model}api_key = \"sk-1234567890abcdef\"\n")),
        ("secret in a wrong place", format!("version = \"0.5\"\n{model}context_window = \"sk-1234567890abcdef\"\n")),
        ("unknown source of a secret", format!("version = \"0.5\"\n{model}api_key = {{ enf = \"KEY\" }}\n")),
        ("two sources", format!("version = \"0.5\"\n{model}api_key = {{ env = \"KEY\", file = \"key\" }}\n")),
        ("login of no use", "version = \"0.5\"\n[channels.telegram]\ntoken = { codex_auth = \"auth.json\" }\n".to_owned()),
        ("time as a number", format!("version = \"0.5\"\n{model}idle_timeout = 30\n")),
        ("time without unit", format!("version = \"0.5\"\n{model}idle_timeout = \"30\"\n")),
        ("time of 0", format!("version = \"0.5\"\n{model}idle_timeout = \"0s\"\n")),
        ("unknown modality", format!("version = \"0.5\"\n{model}reads = [\"text\", \"images\"]\n")),
        ("key in the clear", format!("version = \"0.5\"\n{model}base_url = \"http://x.example\"\napi_key = {{ env = \"K\" }}\n")),
        ("password in a URL", format!("version = \"0.5\"\n{model}base_url = \"https://me:secret@x.example\"\n")),
        ("negative price", format!("version = \"0.5\"\n{model}price = {{ input = -1.0, output = 2.0 }}\n")),
        ("half a price", format!("version = \"0.5\"\n{model}price = {{ input = 1.0 }}\n")),
        ("bad alias", format!("version = \"0.5\"\n{}", model.replace("main", "\"My Model\""))),
        ("file grant without mode", "version = \"0.5\"\n[plugins.x]\nfs = [\"workspace\"]\n".to_owned()),
        ("file grant of a path", "version = \"0.5\"\n[plugins.x]\nfs = [\"/etc:ro\"]\n".to_owned()),
        ("origin without scheme", "version = \"0.5\"\n[plugins.x]\nhttp = [\"GET https://a.example\", \"b.example\"]\n".to_owned()),
        (
            "private host elsewhere",
            "version = \"0.5\"\n[plugins.x]\nhttp = [\"https://nas.example:5001/api\"]\n\
             private = [\"nas.example\", \"https://nas.example\", \"other.example\"]\n"
                .to_owned(),
        ),
        ("digest too short", "version = \"0.5\"\n[plugins.x]\nsha256 = \"abc\"\n".to_owned()),
        ("trust without path", "version = \"0.5\"\n[plugins.x]\ntrust = \"path\"\n".to_owned()),
        ("other trust", "version = \"0.5\"\n[plugins.x]\ntrust = \"always\"\n".to_owned()),
        ("secret without origins", "version = \"0.5\"\n[plugins.x]\nsecrets = { key = { env = \"K\" } }\n".to_owned()),
        ("signing without secret", "version = \"0.5\"\n[plugins.x]\nsign = [\"key\"]\n".to_owned()),
        ("unknown class", "version = \"0.5\"\n[plugins.x.tools.t]\nreplay = \"effects\"\n".to_owned()),
        ("size without unit", "version = \"0.5\"\n[plugins.x.limits]\nmemory = \"64 megabytes\"\n".to_owned()),
        ("budget of 0", "version = \"0.5\"\n[limits]\nturn_spend = 0.0\n".to_owned()),
        ("two problems", "version = \"0.5\"\n[limits]\nturn_steps = 0\n[session]\nask_tries = 0\n".to_owned()),
    ];
    let mut messages = String::new();
    for (name, text) in cases {
        let error = parse(&text).expect_err(name);
        assert!(!error.contains("sk-1234") && !error.contains("me:secret"), "{name} shows a secret: {error}");
        messages.push_str(&format!("{name}\n    {}\n", error.replace('\n', "\n    ").replace("/etc/stellaclaw/", "")));
    }
    insta::assert_snapshot!(messages);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = Config::load(Path::new("/nowhere/config.toml")).unwrap_err();
    assert_eq!(error.to_string(), "failed to read the configuration /nowhere/config.toml");
}

#[test]
fn without_a_config_there_is_a_model_and_with_a_key_a_real_one() {
    let offline = Config::embedded(false);
    assert_eq!(offline.models[&offline.default_model].provider, "provider-offline");
    let real = Config::embedded(true);
    let model = &real.models[&real.default_model];
    assert_eq!((model.provider.as_str(), model.id.as_str()), ("provider-openrouter", "openrouter/auto"));
    assert_eq!(model.api_key, Some(SecretSource::Env("OPENROUTER_API_KEY".into())));
}

#[test]
fn what_a_model_may_be_sent_and_who_stands_in_for_it_is_checked() {
    let model = |rest: &str| parse(&format!("version = \"0.5\"\n[models.a]\nprovider = \"p\"\nmodel = \"m\"\n{rest}\n"));
    for (wrong, why) in [
        ("fallback = [\"a\"]", "does not stand in for itself"),
        ("fallback = [\"b\"]", "there is no model \"b\""),
        ("retry = { tries = 0 }", "the value is 0"),
        ("retry = { wait = \"2m\", max_wait = \"1m\" }", "shorter than `wait`"),
        ("image = { types = [\"image/tiff\"] }", "\"image/tiff\" is not served"),
        ("audio = { types = [] }", "no media type is left"),
        ("pdf = { max_bytes = \"1GiB\" }", "at most 64 MiB"),
        ("cache_ttl = \"0s\"", "the value is 0"),
        ("[session]\ncompact_at = 100\ncompact_keep = 60", "more than half of `compact_at`"),
        ("[session.helpers]\nsearch = \"b\"", "there is no model \"b\""),
    ] {
        let refused = model(wrong).unwrap_err();
        assert!(refused.contains(why), "{wrong}: {refused}");
    }
    assert!(model("retry = { wait = \"2m\" }").is_ok(), "the longest wait follows");
}
