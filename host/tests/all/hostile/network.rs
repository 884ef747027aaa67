//! The network: a component reaches the origins it was granted, by any spelling, redirect or answer nothing else.

use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use stellaclaw::limits;

use crate::hostile::Stage;
use crate::hostile::prowler::{Ports, Servers, fails, fetch, told};
use crate::support::web::Visit;

/// One address. In other words it is the same origin; with another port it is another one.
const SPELLINGS: [&str; 14] = [
    "127.0.0.1",
    "2130706433",
    "0x7f000001",
    "0x7F.1",
    "0177.0.0.1",
    "017700000001",
    "127.1",
    "127.0.1",
    "127.0.0.1.",
    "%31%32%37.0.0.1",
    "①②⑦.0.0.1",
    "１２７.0.0.1",
    "127。0。0。1",
    "0x7f.0x0.0x0.0x1",
];
/// Other hosts, among them others that lead to this machine.
const ELSEWHERE: [&str; 16] = [
    "[::1]",
    "[::]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "127.0.0.3",
    "localhost.",
    "a.localhost",
    "LOCALHOST",
    "127.0.0.1.nip.invalid",
    "metadata.google.internal",
    "2852039166",
    "0xa9fea9fe",
    "[fd00:ec2::254]",
    "[fe80::1]",
];

fn get(url: impl Into<String>) -> Value {
    json!({"url": url.into()})
}

fn plain(visit: &mut Visit, _: &Ports) -> io::Result<()> {
    visit.answer("", b"home")
}

#[tokio::test]
async fn only_granted_origins_are_reached_however_they_are_written() {
    let servers = Servers::start(plain);
    let mut stage = Stage::start(servers.work(true).await).await;
    let (home, narrow, quiet, stranger) = (servers.home.port, servers.narrow.port, servers.quiet.port, servers.stranger.port);

    for end in fetch(&mut stage, &SPELLINGS.map(|host| get(format!("http://{host}:{home}/")))).await {
        assert_eq!(end["body"], "home", "{end}");
    }
    let denied = |url: String| (get(url), "Denied", "[plugins.prowler] http");
    let mut table: Vec<_> = SPELLINGS.iter().map(|host| denied(format!("http://{host}:{stranger}/"))).collect();
    // Requested by the component, and not granted by the operator.
    table.extend(["localhost", "127.0.0.2", "[::ffff:127.0.0.1]"].map(|host| denied(format!("http://{host}:{home}/"))));
    table.extend(["http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/", "https://localhost/"].map(|url| denied(url.to_owned())));
    // Neither.
    table.extend(ELSEWHERE.map(|host| denied(format!("http://{host}:{home}/"))));
    table.extend([
        denied(format!("https://127.0.0.1:{home}/")),
        denied("http://127.0.0.1/".to_owned()),
        denied(format!("http://127.0.0.1:{narrow}/")),
        denied(format!("http://127.0.0.1:{narrow}/insider")),
        denied(format!("http://127.0.0.1:{narrow}/inside/../x")),
        denied(format!("http://127.0.0.1:{narrow}/inside/%2e%2e/x")),
        denied(format!("http://127.0.0.1:{narrow}/inside/..%2fx")),
        denied(format!("http://127.0.0.1:{narrow}/inside\\..\\x")),
        denied(format!("http://127.0.0.1:{narrow}/inside/..%5Cx")),
        denied(format!("http://127.0.0.1:{narrow}/inside/%252e%252e/x")),
        denied(format!("http://127.0.0.1:{narrow}//inside")),
        denied(format!("http://127.0.0.1:{narrow}/INSIDE")),
    ]);
    // Granted, and nobody is there.
    table.push((get(format!("http://0.0.0.0:{home}/")), "Denied", "which is no public address"));
    for method in ["POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PROPFIND"] {
        table.push((json!({"url": format!("http://127.0.0.1:{quiet}/"), "method": method}), "Denied", "[plugins.prowler] http"));
    }
    fails(&mut stage, &table).await;
    let good = [
        get(format!("http://127.0.0.1:{narrow}/inside")),
        get(format!("http://127.0.0.1:{narrow}/inside/x?y")),
        get(servers.quiet.url("/")),
    ];
    for end in fetch(&mut stage, &good).await {
        assert_eq!(end["body"], "somebody else", "{end}");
    }
    assert_eq!((servers.home.seen().len(), servers.narrow.seen().len(), servers.quiet.seen().len()), (SPELLINGS.len(), 2, 1));
    assert!(servers.stranger.seen().is_empty(), "{:?}", servers.stranger.seen());
    stage.ends().await;
}

#[tokio::test]
async fn a_malformed_request_is_refused() {
    let servers = Servers::start(plain);
    let mut stage = Stage::start(servers.work(true).await).await;
    let (home, stranger) = (servers.home.port, servers.stranger.port);
    let invalid = |request: Value, words: &'static str| (request, "Invalid", words);
    let mut table: Vec<_> = [
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "data:text/plain,x",
        "unix:/run/x",
        "ws://127.0.0.1/",
        "javascript:1",
        "127.0.0.1",
        "",
        "http://",
        "//127.0.0.1/",
        "http://[::1",
        "http://[fe80::1%25eth0]/",
        "http://a b/",
        "http://256.0.0.1/",
        "http://127.0.0.1:99999/",
    ]
    .map(|url| invalid(get(url), ""))
    .into();
    for user in [format!("127.0.0.1:{home}"), "granted".to_owned(), ":x".to_owned()] {
        table.push(invalid(get(format!("http://{user}@127.0.0.1:{stranger}/")), "carries a user"));
    }
    for method in ["get", "CONNECT", "TRACE", "", "GET ", "GET / HTTP/1.1\r\nx: y\r\n\r\n", "G\0T", "GÉT"] {
        table.push(invalid(json!({"url": servers.home.url("/"), "method": method}), "is no method"));
    }
    let header = |name: &str, value: &str| json!({"url": servers.home.url("/"), "headers": [[name, value]]});
    for value in ["a\r\nx-injected: 1", "a\nb", "a\rb", "a\0b", "\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n", "a\u{7f}"] {
        table.push(invalid(header("x-mine", value), "control character"));
    }
    for name in ["x y", "x:y", "x\r\nx-injected", "x\0", "", "é", "x\ty", "(x)"] {
        table.push(invalid(header(name, "v"), "is no header name"));
    }
    for name in [
        "Host",
        "CONNECTION",
        "keep-alive",
        "Proxy-Connection",
        "proxy-authorization",
        "TE",
        "trailer",
        "Transfer-Encoding",
        "upgrade",
        "content-length",
        "Expect",
        "accept-encoding",
        "HTTP2-Settings",
    ] {
        table.push(invalid(header(name, "x"), "is set by the host"));
    }
    table.push((header("x", &"y".repeat(limits::HEADER_BYTES)), "TooLarge", "the headers have"));
    fails(&mut stage, &table).await;
    assert!(servers.home.seen().is_empty() && servers.stranger.seen().is_empty());
    stage.ends().await;
}

/// What the parser of addresses makes harmless goes where it says after that, and nowhere else.
#[tokio::test]
async fn an_address_that_hides_something_leads_where_it_says() {
    let servers = Servers::start(plain);
    let mut stage = Stage::start(servers.work(true).await).await;
    let (home, stranger) = (servers.home.port, servers.stranger.port);
    let at_home = [
        format!("http://127.0.0.1:{home}\\@127.0.0.1:{stranger}/"),
        format!("http://127.0.0.1:{home}/@127.0.0.1:{stranger}/"),
        format!("http://127.0.0.1:{home}?@127.0.0.1:{stranger}/"),
        format!("http://127.0.0.1:{home}#@127.0.0.1:{stranger}/"),
        format!("http:\\\\127.0.0.1:{home}\\x"),
        format!("http:127.0.0.1:{home}"),
        format!(" http://127.0.0.1:{home}/ "),
        format!("ht\ntp://127.0.\t0.1:{home}/a\r\nx-injected: 1"),
        format!("http://127.0.0.1:{home}/ HTTP/1.1\r\nx-injected: 1\r\n\r\n"),
        format!("http://127.0.0.1:{home}/\0/é/\u{202e}"),
    ];
    let ends = fetch(&mut stage, &at_home.map(get)).await;
    assert!(ends.iter().all(|end| end["body"] == "home"), "{ends:?}");
    // These are the component's own to give.
    let own = json!({"url": servers.home.url("/own"), "headers": [["authorization", "Bearer mine"], ["cookie", "mine=1"], ["api-key", "{{api-key}} $CANARY ${CANARY}"]], "body": "secret:api-key {{secrets.api-key}}"});
    assert_eq!(fetch(&mut stage, &[own]).await[0]["status"], 200);
    let seen = servers.home.seen();
    assert_eq!(seen.len(), ends.len() + 1);
    assert!(
        seen.iter().all(|request| request.contains(&format!("\r\nhost: 127.0.0.1:{home}\r\n")) && request.matches("\r\n\r\n").count() == 1)
    );
    assert!(seen.iter().all(|request| !request.lines().any(|line| line.starts_with("x-injected"))), "{seen:?}");
    let own = seen.last().unwrap();
    let as_written =
        ["authorization: Bearer mine", "cookie: mine=1", "api-key: {{api-key}} $CANARY ${CANARY}", "secret:api-key {{secrets.api-key}}"];
    assert!(as_written.iter().all(|text| own.contains(text)), "nothing is substituted: {own}");
    assert!(servers.stranger.seen().is_empty(), "{:?}", servers.stranger.seen());
    stage.ends().await;
}

/// `/to/STATUS/PLACE` leads elsewhere.
fn leads(visit: &mut Visit, ports: &Ports) -> io::Result<()> {
    let target = visit.target().to_owned();
    let Some((status, place)) = target.strip_prefix("/to/").and_then(|rest| rest.split_once('/')) else {
        return visit.answer("", b"home");
    };
    let (narrow, quiet, stranger) = (ports.narrow, ports.quiet, ports.stranger);
    let to = match place {
        "stranger" => format!("http://127.0.0.1:{stranger}/x"),
        "scheme-relative" => format!("//127.0.0.1:{stranger}/x"),
        "backslashes" => format!("\\\\127.0.0.1:{stranger}\\x"),
        "decimal" => format!("http://2130706433:{stranger}/"),
        "mapped" => format!("http://[::ffff:127.0.0.1]:{stranger}/"),
        "metadata" => "http://169.254.169.254/latest/meta-data/".to_owned(),
        "named" => "http://localhost/".to_owned(),
        "tls" => format!("https://127.0.0.1:{stranger}/"),
        "outside" => format!("http://127.0.0.1:{narrow}/outside"),
        "inside" => format!("http://127.0.0.1:{narrow}/inside"),
        "quiet" => format!("http://127.0.0.1:{quiet}/"),
        "user" => format!("http://a:b@127.0.0.1:{quiet}/"),
        "file" => "file:///etc/passwd".to_owned(),
        "data" => "data:text/plain,x".to_owned(),
        "nonsense" => "http://[".to_owned(),
        "relative" => "../../plain".to_owned(),
        "empty" => String::new(),
        "split" => "/plain\r\nset-cookie: x=1".to_owned(),
        _ => target.clone(),
    };
    visit.redirect(status, &to)
}

#[tokio::test]
async fn a_redirect_leads_only_where_a_request_may_go() {
    let servers = Servers::start(leads);
    let mut stage = Stage::start(servers.work(true).await).await;
    let to = |status: u16, place: &str| json!({"url": servers.home.url(&format!("/to/{status}/{place}")), "redirects": 255});
    let mut table = Vec::new();
    for status in [301, 302, 303, 307, 308] {
        table.push((to(status, "stranger"), "Denied", "the redirect to http://127.0.0.1:"));
        table.push((to(status, "outside"), "Denied", "[plugins.prowler] http"));
        table.push((to(status, "file"), "Failed", "not http or https"));
    }
    for place in ["scheme-relative", "backslashes", "decimal", "mapped", "metadata", "named", "tls"] {
        table.push((to(302, place), "Denied", "the redirect to"));
    }
    table.extend([
        (to(302, "data"), "Failed", "not http"),
        (to(302, "nonsense"), "Failed", "no address"),
        (to(302, "user"), "Failed", "carries a user"),
    ]);
    let post = |place: &str, status: u16| json!({"url": servers.home.url(&format!("/to/{status}/{place}")), "method": "POST", "body": "form", "redirects": 3});
    // The method is part of what is granted.
    table.push((post("quiet", 307), "Denied", "the redirect to"));
    table.push((to(302, "again"), "Failed", "more than 10 redirects"));
    table.push((to(302, "empty"), "Failed", "more than 10 redirects"));
    let looping = servers.home.seen().len();
    fails(&mut stage, &table).await;
    assert!(servers.home.seen().len() - looping <= table.len() + 2 * usize::from(limits::REDIRECTS));

    let ends = fetch(&mut stage, &[to(302, "relative"), to(308, "inside"), to(301, "quiet"), post("quiet", 303), to(302, "split")]).await;
    let bodies: Vec<_> = ends.iter().map(|end| end["body"].as_str().unwrap_or("?")).collect();
    assert_eq!(bodies, ["home", "somebody else", "somebody else", "somebody else", "home"], "{ends:?}");
    // Unless it is asked for, nothing is followed.
    let ends = fetch(&mut stage, &[get(servers.home.url("/to/302/stranger"))]).await;
    assert_eq!(ends[0]["status"], 302);
    assert!(servers.stranger.seen().is_empty(), "{:?}", servers.stranger.seen());
    stage.ends().await;
}

/// A stored value of five nine-bit literals, then 2,064 bytes for every 13: what deflate can do at best.
pub fn bomb(visit: &mut Visit) -> io::Result<()> {
    let mut bits: Vec<bool> = vec![false, true, false];
    let mut code = |value: u32, length: u32| bits.extend((0..length).rev().map(|bit| value >> bit & 1 == 1));
    for _ in 0..5 {
        code(0b1_1001_0000, 9);
    }
    for _ in 0..8 {
        code(0b1100_0101, 8);
        code(0, 5);
    }
    let bytes: Vec<u8> = bits.chunks(8).map(|eight| eight.iter().enumerate().map(|(at, bit)| u8::from(*bit) << at).sum()).collect();
    let (start, again) = bytes.split_at(6);
    visit.say("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\nconnection: close\r\n\r\n")?;
    visit.say([31, 139, 8, 0, 0, 0, 0, 0, 0, 3])?;
    visit.say(start)?;
    visit.say_forever(&again.repeat(1000), Duration::ZERO)
}

/// 300 MiB of zeros, and a window of a GiB that whoever decodes them has to keep.
pub const BROTLI_BOMB: &str = "ET7///8BkACIxwIh9/6f////AEgAxGEBoHv/z///fwAkAOKwANC9/+f//z8AEgBxWADo3v/z//8fAAmAOCwAdO//+f//D4AEQBwWALr3//z//wdAAiAOCwDd+3/+//8DIA\
    EQhwWA7v0/////AZAAiMMCQPf+n////wBIAMRhAaB7/8///38AJADisADQvf/n//8/ABIAcVgA6N7/8///HwAJgDgsAHTv//n//w+ABEAcFgC69//8//8HQAIgDgsA3ft/\
    /v//AyABEIcFgO79P////wGQAIjDAkD3/p////8ASADEYQGge/+f//+/ACQA4rAA0L3/BQ==";

/// Everything that a server can do wrong.
fn misbehaves(visit: &mut Visit, _: &Ports) -> io::Result<()> {
    let ok = "HTTP/1.1 200 OK\r\n";
    match visit.target().trim_start_matches('/').to_owned().as_str() {
        "endless" => {
            visit.say(format!("{ok}\r\n"))?;
            visit.say_forever(&[b'x'; 1 << 20], Duration::ZERO)
        }
        "chunks" => {
            visit.say(format!("{ok}transfer-encoding: chunked\r\n\r\n"))?;
            visit.say_forever(b"1\r\nx\r\n", Duration::from_millis(1))
        }
        "bomb" => bomb(visit),
        "brotli-bomb" => visit.answer("content-encoding: br\r\n", &STANDARD.decode(BROTLI_BOMB).unwrap()),
        "drip" => {
            visit.say(format!("{ok}\r\n"))?;
            visit.say_forever(b".", Duration::from_millis(5))
        }
        "head-drip" => {
            visit.say(ok)?;
            visit.say_forever(b"x", Duration::from_millis(5))
        }
        "silent" => visit.wait(),
        "continue" => visit.say_forever(b"HTTP/1.1 100 Continue\r\n\r\n", Duration::from_millis(1)),
        "early-hints" => visit.say_forever(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", Duration::from_millis(1)),
        "many-headers" => visit.say(format!("{ok}{}\r\n", (0..40_000).map(|number| format!("x-{number}: y\r\n")).collect::<String>())),
        "same-header" => visit.say(format!("{ok}{}\r\n", "set-cookie: a=b\r\n".repeat(40_000))),
        "wide-header" => visit.say(format!("{ok}x: {}\r\n\r\n", "y".repeat(1 << 20))),
        "wide-reason" => visit.say(format!("HTTP/1.1 200 {}\r\n\r\n", "y".repeat(1 << 20))),
        "cut" => visit.say(format!("{ok}content-length: 100\r\n\r\nhello")),
        "huge-promise" => visit.say(format!("{ok}content-length: 18446744073709551615\r\n\r\nhello")),
        "more" => visit.say(format!("{ok}content-length: 5\r\nconnection: close\r\n\r\nhello, and more that nobody reads")),
        "two-lengths" => visit.say(format!("{ok}content-length: 5\r\ncontent-length: 50\r\n\r\nhello")),
        "negative" => visit.say(format!("{ok}content-length: -5\r\n\r\nhello")),
        "bad-chunk" => visit.say(format!("{ok}transfer-encoding: chunked\r\n\r\nzz\r\nhello")),
        "large-chunk" => visit.say(format!("{ok}transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello")),
        "half-gzip" => visit.say([format!("{ok}content-encoding: gzip\r\n\r\n").as_bytes(), &[31, 139, 8, 0, 0]].concat()),
        "no-gzip" => visit.say(format!("{ok}content-encoding: gzip\r\n\r\nhello")),
        "no-brotli" => visit.say([format!("{ok}content-encoding: br\r\n\r\n").as_bytes(), &[0xff; 64]].concat()),
        "zstd" => visit.say(format!("{ok}content-encoding: zstd\r\n\r\nhello")),
        "twice" => visit.say(format!("{ok}content-encoding: gzip, gzip\r\n\r\nhello")),
        "banner" => visit.say("SSH-2.0-OpenSSH_9.9\r\n"),
        "old" => visit.say("<html>HTTP/0.9</html>"),
        "nul" => visit.say(format!("{ok}x: a\0b\r\n\r\n")),
        "bare" => visit.say(format!("{ok}x: a\rset-cookie: b\r\n\r\nhello")),
        "switch" => visit.say("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nhello"),
        "nothing" => Ok(()),
        _ => visit.answer("", b"home"),
    }
}

#[tokio::test]
async fn a_server_that_misbehaves_costs_its_own_call_alone() {
    let servers = Servers::start(misbehaves);
    // Without secrets there is nothing to look for in a quarter of a gigabyte.
    let mut stage = Stage::start(servers.work(false).await).await;
    let ask = |path: &str, total: u64| json!({"url": servers.home.url(&format!("/{path}")), "keep": 10, "total": total});
    for (path, kind) in [("endless", "TooLarge"), ("bomb", "TooLarge")] {
        let end = fetch(&mut stage, &[ask(path, 30_000)]).await.remove(0);
        assert_eq!(end["kind"], format!("ErrorKind::{kind}"), "{path}: {end}");
    }
    let late = "in total";
    fails(
        &mut stage,
        &[
            (ask("chunks", 300), "Timeout", late),
            (ask("drip", 300), "Timeout", late),
            (ask("head-drip", 300), "Timeout", late),
            (ask("silent", 300), "Timeout", late),
            (ask("many-headers", 0), "Unavailable", "send the request"),
            (ask("same-header", 0), "Unavailable", "send the request"),
            (ask("wide-header", 0), "", ""),
            (ask("wide-reason", 0), "", ""),
            (ask("cut", 0), "Unavailable", "read the answer"),
            (ask("huge-promise", 0), "Unavailable", ""),
            (ask("two-lengths", 0), "Unavailable", ""),
            (ask("negative", 0), "Unavailable", ""),
            (ask("bad-chunk", 0), "Unavailable", ""),
            (ask("large-chunk", 0), "Unavailable", ""),
            (ask("half-gzip", 0), "Unavailable", "read the answer"),
            (ask("no-gzip", 0), "Unavailable", "read the answer"),
            // Never decoded: its window would be the sender's to choose.
            (ask("no-brotli", 0), "Failed", "gzip is served"),
            (ask("brotli-bomb", 0), "Failed", "gzip is served"),
            (ask("zstd", 0), "Failed", "gzip is served"),
            (ask("twice", 0), "", ""),
            (ask("banner", 0), "Unavailable", "send the request"),
            (ask("old", 0), "Unavailable", "send the request"),
            (ask("nul", 0), "Unavailable", "send the request"),
            (ask("nothing", 0), "Unavailable", "send the request"),
            (ask("continue", 300), "", ""),
            (ask("early-hints", 300), "", ""),
        ],
    )
    .await;
    let ends = fetch(&mut stage, &[ask("more", 0), ask("plain", 0)]).await;
    assert_eq!((&ends[0]["body"], &ends[1]["body"]), (&json!("hello"), &json!("home")), "{ends:?}");
    // Whatever these are to a client, they end.
    for end in fetch(&mut stage, &[ask("bare", 1000), ask("switch", 1000)]).await {
        assert!(end["headers"].as_array().is_none_or(|headers| headers.iter().all(|header| header[0] != "set-cookie")), "{end}");
    }
    stage.ends().await;
}

#[tokio::test]
async fn there_are_no_sockets() {
    let servers = Servers::start(plain);
    let mut stage = Stage::start(servers.work(true).await).await;
    let dialled = told(&mut stage, "dial", json!({"address": format!("127.0.0.1:{}", servers.home.port), "name": "localhost"})).await;
    assert_eq!(dialled, json!({"connect": false, "listen": false, "bind": false, "send": false, "look-up": false}));
    assert!(servers.home.seen().is_empty());
    stage.ends().await;
}
