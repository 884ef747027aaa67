//! Secrets: a component has them sent and never sees them; what it gets hold of all the same goes no further.

use std::fmt::Write as _;
use std::{fs, io};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::hostile::prowler::{FAR, Ports, Servers, fails, fetch, told};
use crate::hostile::{CANARY, Stage, assert_no_secret};
use crate::support::guests;
use crate::support::host::Work;
use crate::support::web::Visit;

fn backwards(text: &str) -> String {
    text.chars().rev().collect()
}

/// The forms of the secrets that must be nowhere.
fn forms() -> Vec<String> {
    let mut forms = vec![CANARY.to_owned(), FAR.to_owned()];
    for secret in [CANARY, FAR] {
        forms.push(STANDARD_NO_PAD.encode(secret).trim_end_matches('=').to_owned());
        forms.push(Value::from(secret).to_string().trim_matches('"').to_owned());
    }
    forms
}

/// Stops the host, and looks for secrets wherever something was written.
async fn ends(stage: Stage) {
    fs::remove_file(stage.work.folder().join("far-key")).unwrap();
    let work = stage.ends().await;
    let forms = forms();
    assert_no_secret(&work, &forms.iter().map(String::as_str).collect::<Vec<_>>());
}

/// The secret that a request brought.
fn brought(visit: &Visit) -> String {
    let line = visit.request.lines().find_map(|line| line.strip_prefix("authorization: Bearer "));
    line.unwrap_or_default().to_owned()
}

fn percent(text: &str, kept: &[u8], upper: bool) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        match byte {
            byte if byte.is_ascii_alphanumeric() || kept.contains(&byte) => all.push(char::from(byte)),
            byte if upper => _ = write!(all, "%{byte:02X}"),
            byte => _ = write!(all, "%{byte:02x}"),
        }
        all
    })
}

/// A stored block, which no redaction can read as it is.
fn gzip(data: &[u8]) -> Vec<u8> {
    let crc = !data.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    });
    let length = u16::try_from(data.len()).unwrap();
    let mut all = vec![31, 139, 8, 0, 0, 0, 0, 0, 0, 3, 1];
    all.extend(length.to_le_bytes());
    all.extend((!length).to_le_bytes());
    all.extend(data);
    all.extend(crc.to_le_bytes());
    all.extend(u32::from(length).to_le_bytes());
    all
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// Gives back the secret that it was sent, in the form that the path says.
fn echoes(visit: &mut Visit, ports: &Ports) -> io::Result<()> {
    let secret = brought(visit);
    let target = visit.target().to_owned();
    let path: Vec<_> = target.trim_start_matches("/far").trim_start_matches('/').split(['/', '?']).collect();
    let number = |at: usize| path.get(at).and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
    let narrow = format!("http://127.0.0.1:{}/inside", ports.narrow);
    let ok = "HTTP/1.1 200 OK\r\nconnection: close\r\n";
    match path[0] {
        "body" => visit.answer("", format!("<{secret}>").as_bytes()),
        "twice" => visit.answer("", format!("{secret}{secret}").as_bytes()),
        "header" => visit.answer(&format!("x-echo: <{secret}>\r\nset-cookie: key={secret}\r\n"), b"[redacted]"),
        "header-name" => visit.answer(&format!("{secret}: x\r\n"), b"x"),
        "reason" => visit.say(format!("HTTP/1.1 200 {secret}\r\nconnection: close\r\ncontent-length: 10\r\n\r\n[redacted]")),
        "split" => {
            visit.say(format!("{ok}transfer-encoding: chunked\r\n\r\n"))?;
            let (left, right) = secret.as_bytes().split_at(number(1).min(secret.len()));
            for part in [left, right].into_iter().filter(|part| !part.is_empty()) {
                visit.say_apart(chunk(part))?;
            }
            visit.say("0\r\n\r\n")
        }
        "drip" => {
            visit.say(format!("{ok}transfer-encoding: chunked\r\n\r\n"))?;
            for byte in secret.as_bytes() {
                visit.say_apart(chunk(&[*byte]))?;
            }
            visit.say("0\r\n\r\n")
        }
        "trailer" => visit.say(format!("{ok}transfer-encoding: chunked\r\ntrailer: x\r\n\r\na\r\n[redacted]\r\n0\r\nx: {secret}\r\n\r\n")),
        "base64" => {
            let text = format!("{}{secret}{}", &"ab"[..number(1)], &";?"[..number(2)]);
            let encoded = [STANDARD, URL_SAFE, STANDARD_NO_PAD, URL_SAFE_NO_PAD].map(|engine| engine.encode(&text));
            visit.answer("", encoded.join(" ").as_bytes())
        }
        "percent" => {
            let kept: [&[u8]; 3] = [b"-._~", b"*-._", b"-_.!~*'()"];
            let forms = kept.map(|kept| format!("{} {}", percent(&secret, kept, true), percent(&secret, kept, false)));
            visit.answer("", format!("{} {}", forms.join(" "), forms[1].replace("%20", "+")).as_bytes())
        }
        "json" => {
            let plain = Value::from(secret.as_str()).to_string();
            let escaped = |special: fn(char) -> bool| {
                plain.chars().map(|c| if special(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }).collect::<String>()
            };
            // As Rust and JavaScript write it, Python, Go, and .NET; and PHP with its slashes.
            let forms = [
                plain.clone(),
                escaped(|c| !c.is_ascii()),
                escaped(|c| "<>&".contains(c)),
                escaped(|c| !c.is_ascii() || "<>&'+".contains(c)),
            ];
            visit.answer("", format!("{} {}", forms.join(" "), forms[1].replace('/', "\\/")).as_bytes())
        }
        "gzip" => visit.answer("content-encoding: gzip\r\n", &gzip(format!("<{secret}>").as_bytes())),
        "event" => visit.answer("content-type: text/event-stream\r\n", format!("data: {secret}\n\n").as_bytes()),
        "cut" => visit.say(format!("{ok}content-length: 100\r\n\r\n{secret}")),
        "encoding" => visit.answer(&format!("content-encoding: {secret}\r\n"), b"x"),
        "same" => visit.redirect("302", &format!("/far/landed?key={}", percent(&secret, b"-._~", true))),
        "landed" => visit.answer("", b"[redacted]"),
        "elsewhere-path" => visit.redirect("307", &format!("{narrow}/{}", percent(&secret, b"-._~", true))),
        "elsewhere-query" => visit.redirect("302", &format!("{narrow}?key={}", percent(&secret, b"-._~", false))),
        "elsewhere-host" => visit.redirect("302", &format!("http://{secret}.invalid/")),
        "elsewhere" => visit.redirect("307", &narrow),
        "nowhere" => visit.redirect("302", &format!("http://[{secret}")),
        "backwards" => visit.answer("", backwards(&secret).as_bytes()),
        _ => visit.answer("", b"home"),
    }
}

#[tokio::test]
async fn a_secret_that_a_server_gives_back_does_not_reach_the_component() {
    let servers = Servers::start(echoes);
    let mut stage = Stage::start(servers.work(true).await).await;
    let ask = |slot: &str, path: &str, redirects: u8| {
        let path = if slot == "far-key" { format!("/far/{path}") } else { format!("/{path}") };
        json!({"url": servers.home.url(&path), "credentials": [[slot, "bearer", ""]], "redirects": redirects})
    };
    for (slot, secret) in [("api-key", CANARY), ("far-key", FAR)] {
        let mut forms = vec!["body", "twice", "header", "reason", "drip", "trailer", "percent", "json", "gzip", "event"]
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>();
        forms.extend((1..secret.len()).map(|at| format!("split/{at}")));
        forms.extend((0..3).flat_map(|before| (0..3).map(move |after| format!("base64/{before}/{after}"))));
        let mut requests: Vec<_> = forms.iter().map(|form| ask(slot, form, 0)).collect();
        requests.extend([ask(slot, "same", 0), ask(slot, "same", 3)]);
        if slot == "api-key" {
            requests.push(ask(slot, "header-name", 0));
        }
        // Half of it is enough to be recognised; in base64 what lies in the middle.
        let needles: Vec<_> = [secret.to_owned(), secret[4..16].to_owned(), STANDARD.encode(format!("ab{secret}"))[8..20].to_owned()]
            .iter()
            .map(|needle| backwards(needle))
            .collect();
        let ends = told(&mut stage, "fetch", json!({"requests": requests, "needles": needles})).await;
        for (request, end) in requests.iter().zip(ends.as_array().unwrap()) {
            assert_eq!(end["seen"], json!([]), "{request} brought {end}");
            assert!(end["url"].is_string(), "{request} failed: {end}");
            assert_eq!(
                end["status"].as_u64(),
                Some(if end["url"].as_str().unwrap().ends_with("/same") { 302 } else { 200 }),
                "{request}: {end}"
            );
            assert!(end.to_string().contains("[redacted]"), "{request} brought nothing: {end}");
        }
        let mut table = vec![
            (ask(slot, "cut", 0), "Unavailable", "read the answer"),
            (ask(slot, "elsewhere-path", 3), "Denied", "carries a secret"),
            (ask(slot, "elsewhere-query", 3), "Denied", "carries a secret"),
            (ask(slot, "nowhere", 3), "Failed", "no address"),
        ];
        if slot == "api-key" {
            table.push((ask(slot, "encoding", 0), "Failed", "[redacted]"));
            table.push((ask(slot, "elsewhere-host", 3), "Denied", "carries a secret"));
        }
        let requests: Vec<_> = table.iter().map(|(request, ..)| request.clone()).collect();
        let failures = told(&mut stage, "fetch", json!({"requests": requests, "needles": needles})).await;
        assert!(failures.as_array().unwrap().iter().all(|end| end["seen"] == json!([])), "{failures}");
        fails(&mut stage, &table).await;
    }
    // What looks for needles finds one that is there.
    let needles = [backwards("home")];
    let control = told(&mut stage, "fetch", json!({"requests": [ask("api-key", "plain", 0)], "needles": needles})).await;
    assert_eq!(control[0]["seen"], json!([0]));
    assert!(servers.narrow.seen().is_empty() && servers.stranger.seen().is_empty());
    ends(stage).await;
}

#[tokio::test]
async fn a_secret_goes_to_its_own_origin_and_nowhere_else() {
    let servers = Servers::start(echoes);
    let mut work = servers.work(true).await;
    // Another plugin with a slot of the same name, and a secret of its own.
    let others = "sk-of-another-plugin-77";
    work.set("OTHERS", others);
    let config = fs::read_to_string(work.folder().join("config.toml")).unwrap();
    work.configure(&format!(
        "{}[plugins.hostile]\npath = {:?}\ntrust = \"path\"\nsecrets = {{ api-key = {{ env = \"OTHERS\", origins = [\"https://example.com\"] }} }}\n",
        config.split_once('\n').unwrap().1,
        guests::hostile()
    ));
    let mut stage = Stage::start(work).await;
    let ask = |slot: &str, place: &str, url: String| json!({"url": url, "credentials": [[slot, place, "x-key"]], "redirects": 3});
    let key = "[plugins.prowler] secrets";
    let mut table = Vec::new();
    for place in ["bearer", "basic", "header", "query"] {
        table.push((ask("api-key", place, servers.narrow.url("/inside")), "Denied", "may not go to"));
        table.push((ask("far-key", place, servers.home.url("/farther")), "Denied", "may not go to"));
        table.push((ask("far-key", place, servers.home.url("/far/../x")), "Denied", "may not go to"));
        table.push((ask("plain-key", place, servers.home.url("/")), "Denied", key));
        table.push((ask("api-key", place, format!("http://localhost:{}/", servers.home.port)), "Denied", "may not go to"));
        for slot in
            ["hostile", "hostile.api-key", "API-KEY", "api_key", "OTHERS", "CANARY", "../hostile/api-key", "", "models.main.api_key"]
        {
            table.push((ask(slot, place, servers.home.url("/")), "Denied", key));
        }
    }
    for name in ["host", "content-length", "x\r\ny", "", "x y", "transfer-encoding"] {
        let request = json!({"url": servers.home.url("/"), "credentials": [["api-key", "header", name]]});
        table.push((request, "Invalid", "no header that a credential can be put in"));
    }
    table.push((json!({"url": servers.home.url("/"), "credentials": [["api-key", "basic", "a:b"]]}), "Invalid", "no colon"));
    table.push((json!({"url": servers.home.url("/"), "credentials": [["api-key", "basic", "a\r\nb"]]}), "Invalid", "no control character"));
    fails(&mut stage, &table).await;
    assert!(servers.home.seen().is_empty() && servers.narrow.seen().is_empty());
    // It stays behind when the way leads to somebody else.
    for place in ["bearer", "basic", "header", "query"] {
        let ends = fetch(&mut stage, &[ask("api-key", place, servers.home.url("/elsewhere"))]).await;
        assert_eq!(ends[0]["body"], "somebody else", "{ends:?}");
    }
    let basic = STANDARD.encode(format!("x-key:{CANARY}"));
    let came: Vec<_> = servers.home.seen().iter().map(|seen| seen.contains(CANARY) || seen.contains(&basic)).collect();
    assert_eq!(came, [true; 4], "home gets it in every place");
    let narrow = servers.narrow.seen();
    assert!(
        narrow.len() == 4 && narrow.iter().all(|seen| !seen.contains(CANARY) && !seen.contains(&basic) && !seen.contains("authorization")),
        "{narrow:?}"
    );
    assert!(servers.home.seen().iter().all(|seen| !seen.contains(others)));
    ends(stage).await;
}

/// A secret that a server gives back backwards is one that redaction does not know: see SECURITY.md. The host does when it
/// comes out of the component again.
#[tokio::test]
async fn a_secret_that_a_component_got_hold_of_is_told_to_nobody() {
    let servers = Servers::start(echoes);
    let mut work = servers.work(true).await;
    work.set("RUST_LOG", "trace");
    let mut stage = Stage::start(work).await;
    let redacted = "[redacted]";
    for (slot, path, secret) in [("api-key", "/backwards", CANARY), ("far-key", "/far/backwards", FAR)] {
        let length = secret.chars().count();
        for (how, said) in [
            ("answer", format!("{length}: {redacted}")),
            ("json", redacted.to_owned()),
            ("summary", length.to_string()),
            ("file", redacted.to_owned()),
            ("error", format!("{length}: {redacted}")),
            ("panic", format!("{length}: {redacted}")),
            ("exit", "ended itself with status".to_owned()),
            ("everywhere", length.to_string()),
        ] {
            let ask = json!({"url": servers.home.url(path), "credentials": [[slot, "bearer", ""]]});
            let replies = stage.says(&format!("call tell {}", json!({"ask": ask, "how": how}))).await;
            let text: String = replies.iter().map(|reply| reply.text.as_str()).collect();
            assert!(text.contains(&said), "{how}: {text}");
            assert!(!text.contains(secret) && !text.contains(Value::from(secret).to_string().trim_matches('"')), "{how}: {text}");
        }
    }
    let log = stage.host.said();
    for told in ["it is [redacted]", "a guest wrote to its standard output or error", "the tool crashed: panicked at"] {
        assert!(log.contains(told), "{told:?} is not in the log");
    }
    ends(stage).await;
}

#[tokio::test]
async fn a_call_from_the_command_line_has_no_secrets_to_lose() {
    let servers = Servers::start(echoes);
    let mut work = servers.work(true).await;
    work.set("RUST_LOG", "trace");
    let workspace = work.folder().join("here");
    fs::create_dir(&workspace).unwrap();
    let home = servers.home.url("");
    let request = json!({"url": format!("{home}/body"), "credentials": [["api-key", "bearer", ""]]});
    let bare = json!({"url": format!("{home}/plain")});
    let arguments = json!({"requests": [request, bare]}).to_string();
    let component = work.folder().join("prowler.wasm");
    for what in [component.display().to_string(), "prowler".to_owned()] {
        let grant = format!("http={home}");
        let call = ["plugin", "call", &what, "fetch", &arguments, "--workspace", workspace.to_str().unwrap(), "--grant", &grant];
        let ran = work.run(&call, "").await;
        assert!(ran.output.contains("slot") && ran.output.contains("home"), "{ran:?}");
        assert!(forms().iter().all(|form| !ran.output.contains(form) && !ran.errors.contains(form)), "{ran:?}");
    }
    assert!(servers.home.seen().iter().all(|seen| !seen.contains("authorization")), "{:?}", servers.home.seen());
    fs::remove_file(work.folder().join("far-key")).unwrap();
    assert_no_secret(&work, &[CANARY, FAR]);
}

#[tokio::test]
async fn a_secret_that_cannot_be_had_keeps_its_call_from_nothing_else() {
    let servers = Servers::start(echoes);
    let work = servers.work(true).await;
    // Too short to be recognised again.
    fs::write(work.folder().join("far-key"), "tiny-0f3a\n").unwrap();
    let mut stage = Stage::start(work).await;
    let ask = |slot: &str, path: &str| json!({"url": servers.home.url(path), "credentials": [[slot, "bearer", ""]]});
    fails(&mut stage, &[(ask("far-key", "/far/body"), "Denied", "slot")]).await;
    assert_eq!(fetch(&mut stage, &[ask("api-key", "/plain")]).await[0]["body"], "home");
    assert_eq!(servers.home.seen().len(), 1);
    let work: Work = stage.ends().await;
    let log = fs::read_to_string(work.workdir().join("logs/stellaclaw.log")).unwrap();
    assert!(log.contains("too short to be redacted safely") && !log.contains("tiny-0f3a"), "{log}");
}
