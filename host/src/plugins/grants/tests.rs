use super::*;
use crate::config::SecretGrant;
use crate::plugins::call::Mount;
use crate::plugins::manifest::{Manifest, Requests, Slot};
use crate::plugins::policy::net::Reach;

const DIGEST: &str = "aa";

fn surface(fs: &[&str], http: &[&str], imports: &[&str]) -> Surface {
    let strings = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
    Surface {
        manifest: Manifest {
            contract: "0.1.0".into(),
            name: "p".into(),
            version: "1.0.0".into(),
            description: String::new(),
            license: String::new(),
            tools: Vec::new(),
            requests: Requests { fs: strings(fs), http: strings(http) },
            slots: vec![Slot { name: "api-key".into(), origins: vec!["https://api.example.com".into()] }],
            settings: None,
            options: None,
        },
        imports: strings(imports),
        exports: Vec::new(),
    }
}

fn everything() -> Surface {
    surface(&["workspace:rw"], &["https://api.example.com"], &["wasi:filesystem/types@0.2.6", "stellaclaw:plugin/http@0.1.0"])
}

fn fs(grants: &[&str]) -> Vec<FsGrant> {
    grants.iter().map(|text| text.parse().unwrap()).collect()
}

/// The entry of an operator who has granted `fs` to these bytes.
fn entry(fs_grants: &[&str]) -> config::Plugin {
    config::Plugin { fs: Some(fs(fs_grants)), sha256: Some(DIGEST.into()), ..config::Plugin::default() }
}

fn granted_fs(source: Source, surface: &Surface, entry: Option<&config::Plugin>) -> Vec<String> {
    decide("p", source, surface, DIGEST, entry).unwrap().0.fs.iter().map(ToString::to_string).collect()
}

#[test]
fn files_are_what_both_sides_name() {
    let table: &[(&[&str], &[&str], &[&str])] = &[
        // requested, allowed, granted
        (&["workspace:rw"], &["workspace:rw"], &["workspace:rw"]),
        (&["workspace:rw"], &["workspace:ro"], &["workspace:ro"]),
        (&["workspace:ro"], &["workspace:rw"], &["workspace:ro"]),
        (&["workspace:rw"], &["shared:rw"], &["shared:rw"]),
        (&["shared:ro"], &["workspace:rw"], &["shared:ro"]),
        (&["mounts/a:rw"], &["mounts/b:rw"], &[]),
        (&["mounts/a:rw"], &["mounts/a:rw", "shared:rw"], &["mounts/a:rw"]),
        (&["shared:ro", "mounts/a:rw"], &["workspace:rw"], &["shared:ro", "mounts/a:rw"]),
        (&["workspace:rw", "shared:rw"], &["workspace:rw", "shared:ro"], &["workspace:rw", "shared:ro"]),
        (&["workspace:rw"], &["workspace:rw", "mounts/a:ro"], &["workspace:rw", "mounts/a:ro"]),
        (&["workspace:rw"], &[], &[]),
        (&[], &["workspace:rw"], &[]),
    ];
    for (requested, allowed, granted) in table {
        let surface = surface(requested, &[], &["wasi:filesystem/types@0.2.6"]);
        for source in [Source::Bundled, Source::Configured, Source::DroppedIn] {
            assert_eq!(granted_fs(source, &surface, Some(&entry(allowed))), *granted, "{requested:?} and {allowed:?}");
        }
    }
}

#[test]
fn without_an_entry_only_a_bundled_plugin_gets_what_it_asks_for() {
    assert_eq!(granted_fs(Source::Bundled, &everything(), None), ["workspace:rw"]);
    for source in [Source::Configured, Source::DroppedIn] {
        let (grant, missing) = decide("p", source, &everything(), DIGEST, None).unwrap();
        assert_eq!(grant, Grant { plugin: "p".into(), ..Grant::default() });
        let line = "[plugins.p]\nsha256 = \"aa\"\nfs = [\"workspace:rw\"]\nhttp = [\"https://api.example.com\"]";
        assert_eq!(missing.unwrap().line, line);
    }
    let modest = surface(&[], &[], &["wasi:io/poll@0.2.6"]);
    assert_eq!(decide("p", Source::DroppedIn, &modest, DIGEST, None).unwrap().1, None);
}

#[test]
fn what_is_not_imported_is_not_granted() {
    let surface = surface(&["workspace:rw"], &["https://api.example.com"], &["wasi:io/poll@0.2.6"]);
    let (grant, _) = decide("p", Source::Bundled, &surface, DIGEST, None).unwrap();
    assert_eq!(grant, Grant { plugin: "p".into(), tied: true, ..Grant::default() });
}

#[test]
fn grants_are_for_one_digest() {
    let other = config::Plugin { sha256: Some("bb".into()), ..entry(&["workspace:rw"]) };
    let none = config::Plugin { sha256: None, ..entry(&["workspace:rw"]) };
    for untied in [&other, &none] {
        let (grant, missing) = decide("p", Source::DroppedIn, &everything(), DIGEST, Some(untied)).unwrap();
        assert_eq!(grant.fs, []);
        assert_eq!(missing.unwrap().line, "[plugins.p]\nsha256 = \"aa\"");
        assert_eq!(granted_fs(Source::Bundled, &everything(), Some(untied)), ["workspace:rw"], "bundled bytes are ours");
    }
    let trusted = config::Plugin { trust_path: true, ..none };
    assert_eq!(granted_fs(Source::Configured, &everything(), Some(&trusted)), ["workspace:rw"]);
}

#[test]
fn origins_meet_in_the_narrower_one_and_the_operators_word_counts() {
    let table: &[(&str, &str, Option<&str>)] = &[
        ("https://a.example", "https://a.example/v1", Some("https://a.example/v1/")),
        ("https://a.example/v1", "https://a.example", Some("https://a.example/v1/")),
        ("https://a.example/v1", "https://a.example/v12", None),
        ("https://a.example", "http://a.example", None),
        ("https://a.example", "https://a.example:8443", None),
        ("https://a.example", "https://b.example", None),
    ];
    for (requested, allowed, granted) in table {
        let surface = surface(&[], &[requested], &["stellaclaw:plugin/http@0.1.0"]);
        let entry = config::Plugin { http: Some(vec![(*allowed).to_owned()]), ..entry(&[]) };
        let (grant, _) = decide("p", Source::DroppedIn, &surface, DIGEST, Some(&entry)).unwrap();
        assert_eq!(grant.http.first().map(origin_text).as_deref(), *granted, "{requested} and {allowed}");
        assert!(grant.http.iter().all(|origin| origin.named_by == NamedBy::Operator));
    }
}

#[test]
fn only_hosts_that_the_operator_calls_private_may_be() {
    let asked = ["https://nas.example:5001/api", "https://api.example.com", "http://127.0.0.1:8080"];
    let surface = surface(&[], &asked, &["stellaclaw:plugin/http@0.1.0"]);
    let http = Some(asked.map(str::to_owned).into());
    let entry = config::Plugin { http, private: vec!["NAS.example".into()], ..entry(&[]) };
    let (grant, _) = decide("p", Source::DroppedIn, &surface, DIGEST, Some(&entry)).unwrap();
    let reach: Vec<_> = grant.http.iter().map(OriginGrant::reach).collect();
    assert_eq!(reach, [Reach::Private, Reach::Public, Reach::Local]);
    assert_eq!(
        grant.lines()[1..],
        [
            "http https://nas.example:5001/api/ (may lead into a private network)",
            "http https://api.example.com/",
            "http http://127.0.0.1:8080/ (not encrypted, this machine)"
        ]
    );
    // A bundled one's manifest is no word of the operator's.
    let (grant, _) = decide("p", Source::Bundled, &surface, DIGEST, None).unwrap();
    assert!(grant.http.iter().all(|origin| origin.reach() == Reach::Public));
}

#[test]
fn a_secret_needs_a_declared_slot_and_signing_needs_both() {
    let source = SecretSource::Env("KEY".into());
    let secret = |origins: &[&str]| SecretGrant { source: source.clone(), origins: origins.iter().map(|&text| text.into()).collect() };
    let entry = config::Plugin {
        secrets: [("api-key".into(), secret(&[])), ("other".into(), secret(&[]))].into(),
        sign: vec!["api-key".into(), "other".into()],
        ..entry(&[])
    };
    let (grant, _) = decide("p", Source::DroppedIn, &everything(), DIGEST, Some(&entry)).unwrap();
    assert_eq!(grant.secrets.keys().collect::<Vec<_>>(), ["api-key"]);
    assert_eq!(grant.secrets["api-key"].origins[0].named_by, NamedBy::Manifest, "the manifest's origins where none are written");
    assert_eq!(grant.sign, ["api-key".to_owned()].into());
}

#[test]
fn a_models_key_goes_to_its_base_url_alone() {
    let mut model = config::Model {
        alias: "main".into(),
        provider: "p".into(),
        id: "m".into(),
        api_key: Some(SecretSource::Env("KEY".into())),
        ..config::Model::offline()
    };
    let (grant, _) = decide("p", Source::Bundled, &everything(), DIGEST, None).unwrap();
    let places = |grant: &Grant| grant.secrets["api-key"].origins.iter().map(origin_text).collect::<Vec<_>>();
    assert_eq!(places(&grant.for_model(&everything(), DIGEST, &model).unwrap()), ["https://api.example.com/"]);
    model.base_url = Some("http://10.0.0.5:8000/v1".into());
    let with_url = grant.for_model(&everything(), DIGEST, &model).unwrap();
    assert_eq!(places(&with_url), ["http://10.0.0.5:8000/v1/"]);
    let named = with_url.http.iter().find(|origin| origin.host.to_string() == "10.0.0.5").unwrap();
    assert_eq!(named.named_by, NamedBy::OperatorAsPrivate, "a server in one's own network is what many mean");

    // Bytes that nobody named get neither the key nor the address, whatever the entry says about other bytes.
    let other = config::Plugin { sha256: Some("bb".into()), ..entry(&[]) };
    for (source, entry) in [(Source::DroppedIn, None), (Source::Configured, None), (Source::DroppedIn, Some(&other))] {
        let (grant, _) = decide("p", source, &everything(), DIGEST, entry).unwrap();
        let keyless = config::Model { api_key: None, ..model.clone() };
        for model in [&model, &keyless] {
            let refused = grant.for_model(&everything(), DIGEST, model).unwrap_err().to_string();
            assert!(refused.ends_with("add\n[plugins.p]\nsha256 = \"aa\""), "{refused}");
        }
        let plain = config::Model { base_url: None, ..keyless };
        assert_eq!(grant.for_model(&everything(), DIGEST, &plain).unwrap(), grant, "a model that gives it nothing may be asked");
    }
    let (grant, _) = decide("p", Source::DroppedIn, &everything(), DIGEST, Some(&entry(&[]))).unwrap();
    assert_eq!(places(&grant.for_model(&everything(), DIGEST, &model).unwrap()), ["http://10.0.0.5:8000/v1/"]);
}

#[test]
fn unreadable_grants_say_where_they_stand() {
    let bad = surface(&["everything:rw"], &[], &["wasi:filesystem/types@0.2.6"]);
    let error = decide("p", Source::Bundled, &bad, DIGEST, None).unwrap_err();
    assert!(error.to_string().starts_with("its manifest: requests.fs: \"everything:rw\" is not a file grant"), "{error}");
    let entry = config::Plugin { http: Some(vec!["nonsense".into()]), ..entry(&[]) };
    let error = decide("p", Source::Bundled, &everything(), DIGEST, Some(&entry)).unwrap_err();
    assert!(error.to_string().starts_with("[plugins.p] http: \"nonsense\" is no origin"), "{error}");
}

#[test]
fn a_call_sees_what_is_granted_as_far_as_the_session_has_it() {
    let places = Places {
        workspace: "/w".into(),
        shared: Some("/s".into()),
        mounts: vec![
            Mount { name: "docs".into(), path: "/d".into(), writable: false },
            Mount { name: "code".into(), path: "/c".into(), writable: true },
        ],
    };
    let plan = |grants: &[&str], places: Option<&Places>| {
        let grant = Grant { plugin: "p".into(), fs: fs(grants), ..Grant::default() };
        mounts(&grant, places, Some("/x/data/p".into()))
    };
    let whole = plan(&["workspace:rw"], Some(&places));
    assert_eq!(whole[0].guests, [".", "/workspace"]);
    assert_eq!(whole[0].key, "[plugins.p] fs = [\"workspace:rw\"]");
    let inner: Vec<_> = whole[0].inner.iter().map(|inner| (inner.name.as_str(), inner.writable)).collect();
    assert_eq!(inner, [("shared", true), ("mounts/docs", false), ("mounts/code", true)]);
    assert_eq!((whole[1].guests.as_slice(), whole[1].writable), (["/data".to_owned()].as_slice(), true));

    let read_only = plan(&["workspace:ro"], Some(&places));
    assert!(!read_only[0].writable && read_only[0].inner.iter().all(|inner| !inner.writable));
    let narrower = plan(&["workspace:rw", "shared:ro", "mounts/code:ro"], Some(&places));
    let inner: Vec<_> = narrower[0].inner.iter().map(|inner| (inner.name.as_str(), inner.writable, inner.key.as_str())).collect();
    assert!(narrower[0].writable);
    assert_eq!(
        inner,
        [
            ("shared", false, "[plugins.p] fs = [\"shared:rw\"]"),
            ("mounts/docs", false, "[plugins.p] fs = [\"mounts/docs:rw\"]"),
            ("mounts/code", false, "[plugins.p] fs = [\"mounts/code:rw\"]"),
        ]
    );
    let part = plan(&["mounts/code:rw", "mounts/gone:rw"], Some(&places));
    assert_eq!(part.iter().map(|plan| plan.guests[0].as_str()).collect::<Vec<_>>(), ["mounts/code", "/data"]);
    assert_eq!(plan(&["workspace:rw"], None).len(), 1, "a call without a session has its own directory only");
}
