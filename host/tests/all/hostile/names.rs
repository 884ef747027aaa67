//! Names: whoever answers for one decides where it leads. No component gets into a private network by that.

use std::fs;
use std::time::Instant;

use serde_json::{Value, json};

use crate::hostile::prowler::{OFFLINE, compile, fails, fetch};
use crate::hostile::{Stage, drop_in};
use crate::support::client::{Client, Log};
use crate::support::host::Work;
use crate::support::web::Web;
use crate::support::{HANGS, guests};

/// Where a name may not lead. One of several is enough.
const INSIDE: [&str; 21] = [
    "127.0.0.1",
    "127.8.8.8",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "0.0.0.0",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "2002:7f00:1::1",
    "fc00::1",
    "fdff::1",
    "224.0.0.1",
    "ff02::1",
    "3000::1,127.0.0.1",
    "127.0.0.1,3000::1",
];
/// Where clouds answer with credentials.
const METADATA: [&str; 9] = [
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "64:ff9b::169.254.169.254",
    "fe80::1",
    "64:ff9b:1::7f00:1",
    "fd00:ec2::254",
    "fd00:42::42",
    "100.100.100.200",
    "168.63.129.16",
];
/// A public address at which nobody is.
const NOBODY: &str = "3000::1";

/// A prowler that asks for `http://b.example`, among others, and where that name leads: each look-up takes the next.
async fn work(port: u16, leads_to: &[&str]) -> Work {
    let mut work = Work::new();
    let wasm = fs::read(guests::prowler()).unwrap();
    drop_in(&work, "prowler", &guests::patched(&wasm, "http://127.0.0.2:50001", &format!("http://b.example:{port}")));
    work.configure(OFFLINE);
    work.set("TEST_HOSTS", &format!("b.example={}", leads_to.join(";")));
    compile(&work).await;
    work
}

async fn granted(work: &Work, more: &[&str]) -> String {
    let ran = work.run(&[&["plugin", "grant", "prowler", "--yes"], more].concat(), "").await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.output
}

#[tokio::test]
async fn a_granted_name_leads_to_no_private_address() {
    let web = Web::start(|visit| visit.answer("", b"inside"));
    let url = format!("http://b.example:{}", web.port);
    let asked: Vec<Value> = [INSIDE.as_slice(), &METADATA].concat().iter().map(|_| json!({ "url": url })).collect();
    let rebound = [NOBODY, "127.0.0.1"];
    let home = ["127.0.0.1"];
    let again = ["127.0.0.1", "169.254.169.254"];
    let leads_to = [INSIDE.as_slice(), &METADATA, &rebound, &home, &METADATA, &again].concat();
    let work = work(web.port, &leads_to).await;
    // What it asks for is granted as it asks for it, but for what is inside in so many words.
    let shown = granted(&work, &[]).await;
    assert!(shown.contains(&format!("+ http {url} (not encrypted)\n")), "{shown}");
    for left_out in [
        "! http http://127.0.0.1:50001 (not encrypted, this machine) is left out; to allow it add --private 127.0.0.1\n",
        "! http https://localhost:50001 (this machine) is left out; to allow it add --private localhost\n",
        "! http http://10.0.0.1 (not encrypted, an address of a private network) is left out; to allow it add --private 10.0.0.1\n",
        "! http http://169.254.169.254 (not encrypted, an address at which clouds answer with credentials) is left out;",
        "! http http://[::ffff:127.0.0.1]:50001 (not encrypted, this machine) is left out;",
    ] {
        assert!(shown.contains(left_out), "{left_out} is not in {shown}");
    }
    let mut stage = Stage::start(work).await;
    let table: Vec<_> = asked.iter().map(|request| (request.clone(), "Denied", "which is no public address")).collect();
    fails(&mut stage, &table).await;

    // It changes its mind between the first answer, which is public, and the second one.
    let short = json!({"url": url, "total": 2000});
    let end = fetch(&mut stage, std::slice::from_ref(&short)).await.remove(0);
    assert!(end["kind"] == "ErrorKind::Unavailable" || end["kind"] == "ErrorKind::Timeout", "nobody is there: {end}");
    fails(&mut stage, &[(short.clone(), "Denied", "to allow it add \"b.example\" to [plugins.prowler] private")]).await;
    // What was left out is not granted.
    let denied = |url: String| (json!({ "url": url }), "Denied", "is not granted");
    fails(&mut stage, &[denied(format!("http://127.0.0.1:{}/", web.port)), denied("http://10.0.0.1/".to_owned())]).await;
    assert!(web.seen().is_empty(), "{:?}", web.seen());

    // The operator says that it is one of their own; the credentials of a cloud stay out of reach all the same.
    let shown = granted(&stage.work, &["--http", &url, "--private", "b.example"]).await;
    assert!(shown.contains(&format!("http {url} (not encrypted, may lead into a private network)\n")), "{shown}");
    let started = Instant::now();
    while !stage.work.run(&["plugin", "inspect", "prowler"], "").await.output.contains("may lead into a private network") {
        assert!(started.elapsed() < HANGS, "the grant is not seen");
    }
    assert_eq!(fetch(&mut stage, std::slice::from_ref(&short)).await[0]["body"], "inside");
    let table = METADATA.map(|_| (short.clone(), "Denied", "no name may lead there"));
    fails(&mut stage, &table).await;
    assert_eq!(fetch(&mut stage, std::slice::from_ref(&short)).await[0]["body"], "inside");
    fails(&mut stage, &[(short, "Denied", "no name may lead there")]).await;
    assert_eq!(web.seen().len(), 2);
    stage.ends().await;
}

#[tokio::test]
async fn the_operator_writes_what_is_inside_and_nobody_else() {
    let web = Web::start(|visit| visit.answer("", b"inside"));
    let work = work(web.port, &["127.0.0.1"]).await;
    for (flags, refusal) in [
        (["--private", "c.example"], "--private c.example: write the host alone, as it stands in an origin that is granted"),
        (["--private", "http://b.example"], "--private http://b.example: write the host alone"),
    ] {
        let ran = work.run(&[&["plugin", "grant", "prowler", "--yes"], flags.as_slice()].concat(), "").await;
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.errors.contains(refusal), "{ran:?}");
    }
    let grants = work.workdir().join("grants.toml");
    assert!(!grants.exists());
    // An address that the operator writes is what they mean; one that they take over is, when they say so.
    granted(&work, &["--http", "http://127.0.0.1:50001"]).await;
    assert!(fs::read_to_string(&grants).unwrap().contains("http = [\"http://127.0.0.1:50001\"]"));
    granted(&work, &["--private", "127.0.0.1"]).await;
    let text = fs::read_to_string(&grants).unwrap();
    assert!(
        text.contains("\"GET http://127.0.0.1:50003\"") && !text.contains("localhost") && text.contains("private = [\"127.0.0.1\"]"),
        "{text}"
    );

    // For one call, too.
    let call = async |more: &[&str]| {
        let url = format!("http://b.example:{}", web.port);
        let grant = format!("http={url}");
        let asked = json!({"requests": [{ "url": url }]}).to_string();
        let file = work.workdir().join("plugins/prowler.wasm");
        let file = file.to_str().unwrap();
        let ran = work.run(&[&["plugin", "call", file, "fetch", &asked, "--grant", &grant], more].concat(), "").await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.output
    };
    let refused = call(&[]).await;
    assert!(refused.contains("no public address") && web.seen().is_empty(), "{refused}");
    let reached = call(&["--grant", "private=b.example"]).await;
    assert!(reached.contains("inside") && web.seen().len() == 1, "{reached}");
}

/// `base_url` is the operator's own word for where their model is: in the same house, for many.
#[tokio::test]
async fn a_models_server_may_be_in_the_operators_own_network() {
    let web = Web::start(|visit| visit.say("HTTP/1.1 400 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"));
    let mut work = Work::new();
    work.set("TEST_HOSTS", "llm.lan=127.0.0.1");
    work.configure(&format!(
        "[models.main]\nprovider = \"provider-openrouter\"\nmodel = \"m\"\nbase_url = \"http://llm.lan:{}/v1\"\n\
         [session]\nask_tries = 1\n",
        web.port
    ));
    let host = work.host().await;
    let mut client = Client::attach(&work, "", &Log::new(work.folder())).await.unwrap();
    client.talk("1", "good day").await.unwrap();
    assert!(web.seen().iter().any(|request| request.contains(&format!("host: llm.lan:{}", web.port))), "{:?}", web.seen());
    host.stop().await;
}
