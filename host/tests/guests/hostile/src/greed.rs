//! Taking what can be had: memory, handles, the host's memory and its patience.

use std::fs::File;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use stellaclaw_sdk::bindings::imports::stellaclaw::plugin::{conversation as raw_conversation, log as raw_log};
use stellaclaw_sdk::types::{FileRef, Part};
use stellaclaw_sdk::{Error, Output, Result, conversation, deltas, http, secrets};
use wasip2::cli::stdout::get_stdout;
use wasip2::clocks::monotonic_clock;
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{DescriptorFlags, OpenFlags, PathFlags};
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::network::{ErrorCode, IpAddressFamily};
use wasip2::sockets::tcp_create_socket::create_tcp_socket;
use wasip2::sockets::udp_create_socket::create_udp_socket;

/// More than the host copies for one call across the border, less than a guest can hold three times.
const HUGE: usize = 17 << 20;
/// Over the bound of an answer, below the bound of the border.
const LARGE: usize = 9 << 20;

fn huge() -> String {
    "x".repeat(HUGE)
}

fn pairs(count: usize) -> Vec<(String, String)> {
    vec![(String::new(), String::new()); count]
}

/// To nobody.
fn request() -> http::Request {
    http::Request {
        method: "POST".into(),
        url: "http://127.0.0.1:1/".into(),
        headers: Vec::new(),
        credentials: Vec::new(),
        body: Vec::new(),
        timeouts: None,
        redirects: 0,
    }
}

/// Does what is asked for; none where it is not known here.
#[expect(clippy::too_many_lines, reason = "a table: one act after the other")]
pub fn greedy(how: &str) -> Option<Result<Output>> {
    if let Some(url) = how.strip_prefix("fetch ") {
        return Some(http::get(url).send().map(|_| Output::text("fetched")));
    }
    if let Some(url) = how.strip_prefix("responses ") {
        return Some(hoard("response", || http::get(url).send()));
    }
    if let Some(url) = how.strip_prefix("uploads ") {
        return Some(hoard("upload", || http::post(url).upload(None)));
    }
    if let Some(path) = how.strip_prefix("hand ") {
        let file = FileRef { path: path.to_owned(), media_type: Some("image/png".to_owned()), name: None };
        return Some(Ok(Output { parts: vec![Part::File(file)], summary: None, ext: None }));
    }
    if let Some((url, id)) = how.strip_prefix("send ").and_then(|rest| rest.split_once(' ')) {
        return Some(send(url, id).map(Output::text));
    }
    if let Some(url) = how.strip_prefix("decoded ") {
        let decoded = || {
            let response = http::get(url).send()?;
            response.read(1 << 20)?;
            Ok(response)
        };
        return Some(hoard("response", decoded));
    }
    let said = |text: String| Some(Ok(Output::text(text)));
    let parts = |parts: Vec<Part>| Some(Ok(Output { parts, summary: None, ext: None }));
    match how {
        "grow" => {
            let mut held: Vec<Vec<u8>> = Vec::new();
            let mut page = Vec::new();
            while page.try_reserve_exact(1 << 20).is_ok() {
                page.resize(1 << 20, 1);
                held.push(std::mem::take(&mut page));
            }
            let mib = held.len();
            drop(held);
            Some(Err(Error::too_large(format!("refused after {mib} MiB"))))
        }
        "copy" => {
            let mut memory = vec![1_u8; 56 << 20];
            let half = memory.len() / 2;
            loop {
                memory.copy_within(..half, half);
                std::hint::black_box(&memory);
            }
        }
        "count" => {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            said((COUNT.fetch_add(1, Ordering::Relaxed) + 1).to_string())
        }
        "clock" => said(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs().to_string()),
        "calls" => {
            for number in 1_u64.. {
                if conversation::interrupted() {
                    return said(format!("interrupted after {number}"));
                }
            }
            said(String::new())
        }
        "stderr" => {
            use std::io::Write as _;
            for _ in 0..10_000 {
                let _ = writeln!(std::io::stderr(), "{}", "y".repeat(1000));
            }
            said("flooded".into())
        }
        "deep" => said(deep(0, std::hint::black_box(u64::MAX)).to_string()),
        "files" => Some(hoard("file", || File::create("leak.txt").map_err(Error::from))),
        "directories" => Some(hoard("directory", || std::fs::read_dir(".").map_err(Error::from))),
        "streams" => Some(hoard_streams()),
        "pollables" => Some(hoard("pollable", || Ok(monotonic_clock::subscribe_duration(u64::MAX)))),
        "outputs" => Some(hoard("output", || Ok(get_stdout()))),
        "networks" => Some(hoard("network", || Ok(instance_network()))),
        "tcp-sockets" => Some(hoard("socket", || create_tcp_socket(IpAddressFamily::Ipv4).map_err(refused))),
        "udp-sockets" => Some(hoard("socket", || create_udp_socket(IpAddressFamily::Ipv6).map_err(refused))),
        "uploads" => Some(hoard("upload", || http::open_upload(&request(), None))),
        "wait" => {
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(3600) {
                std::thread::sleep(Duration::from_secs(60));
            }
            said("waited".into())
        }
        "say-huge" => Some(conversation::say(&huge()).map(|()| Output::text("said"))),
        "say-many" => Some(raw_conversation::say(&vec![Part::Text(String::new()); 500_000]).map(|()| Output::text("said"))),
        "say-file" => {
            let file = FileRef { path: "/etc/passwd".into(), media_type: None, name: None };
            Some(raw_conversation::say(&[Part::File(file)]).map(|()| Output::text("said")))
        }
        "plan-huge" => {
            let step = conversation::Step { text: huge(), state: conversation::StepState::Active };
            Some(conversation::plan(&[step], None).map(|()| Output::text("planned")))
        }
        "plan-many" => {
            let step = conversation::Step { text: String::new(), state: conversation::StepState::Active };
            Some(conversation::plan(&vec![step; 100_000], None).map(|()| Output::text("planned")))
        }
        "progress-huge" => {
            conversation::progress(&huge());
            said("shown".into())
        }
        "log-huge" => {
            raw_log::write(raw_log::Level::Info, &huge(), &[]);
            said("logged".into())
        }
        "log-fields" => {
            raw_log::write(raw_log::Level::Info, "many", &pairs(1_000_000));
            said("logged".into())
        }
        "log-flood" => {
            for number in 0..5000 {
                raw_log::write(raw_log::Level::Info, &format!("line {number}\n\u{1b}[2Jforged\u{202e} {}", "z".repeat(100)), &[]);
            }
            said("logged".into())
        }
        "headers" => {
            let headers = vec![("a".to_owned(), String::new()); 60_000];
            Some(http::send(&http::Request { headers, ..request() }).map(|_| Output::text("sent")))
        }
        "header-bytes" => {
            let headers = vec![("a".to_owned(), "b".repeat(1 << 20))];
            Some(http::send(&http::Request { headers, ..request() }).map(|_| Output::text("sent")))
        }
        "body" => {
            Some(http::send(&http::Request { body: vec![http::Piece::Bytes(vec![0; HUGE])], ..request() }).map(|_| Output::text("sent")))
        }
        "body-pieces" => {
            let body = vec![http::Piece::Bytes(Vec::new()); 1_000_000];
            Some(http::send(&http::Request { body, ..request() }).map(|_| Output::text("sent")))
        }
        "sign-huge" => Some(secrets::sign("api-key", secrets::Hash::Sha256, "", &vec![0; HUGE]).map(|_| Output::text("signed"))),
        "exists-huge" => said(secrets::exists(&huge()).to_string()),
        "emit-huge" => {
            let fragment = deltas::Delta::Fragment(deltas::Fragment { index: 0, text: huge() });
            said(deltas::emit(&[fragment]).to_string())
        }
        "answer-200" => parts(many_times(200)),
        "answer-json" => parts(vec![Part::Json(format!("[\"{}\"]", "x".repeat(LARGE)))]),
        "answer-parts" => parts(vec![Part::Text("x".repeat(1 << 20)); 9]),
        "answer-empty-parts" => parts(vec![Part::Text(String::new()); 100_000]),
        "answer-file" => {
            let file = FileRef { path: "a.txt".into(), media_type: Some("x".repeat(LARGE / 2)), name: Some("y".repeat(LARGE / 2)) };
            parts(vec![Part::File(file)])
        }
        "answer-file-name" => {
            let file = FileRef { path: "a.txt".into(), media_type: None, name: Some("y".repeat(1 << 20)) };
            parts(vec![Part::File(file)])
        }
        "answer-summary" => {
            Some(Ok(Output { parts: Vec::new(), summary: Some("\u{1b}[2Js".repeat(1 << 20)), ext: Some("x".repeat(1 << 20)) }))
        }
        "answer-bad-json" => parts(vec![Part::Json("{\"half\": ".into())]),
        "error-huge" => Some(Err(Error::failed("e".repeat(LARGE)))),
        _ => None,
    }
}

/// Takes one after the other and gives none back, to the first refusal.
fn hoard<T>(what: &str, mut take: impl FnMut() -> Result<T>) -> Result<Output> {
    for number in 0..100_000 {
        std::mem::forget(take().map_err(|error| error.context(format!("{what} {number}")))?);
    }
    Ok(Output::text("leaked"))
}

/// Sends the bytes of a blob, as far as it has any.
pub fn send(url: &str, id: &str) -> Result<String> {
    let blob = http::BlobPiece { blob: id.to_owned(), encoding: http::Encoding::Raw };
    http::post(url).pieces(vec![http::Piece::Blob(blob)]).send().map(|_| "It was sent.".to_owned())
}

/// Of one open file.
fn hoard_streams() -> Result<Output> {
    let unsaid = || Error::failed("there is no workspace");
    let (root, _) = get_directories().into_iter().find(|(_, name)| name == ".").ok_or_else(unsaid)?;
    let file = root.open_at(PathFlags::empty(), "leak.txt", OpenFlags::CREATE, DescriptorFlags::READ | DescriptorFlags::WRITE);
    let file = file.map_err(|code| Error::failed(code.name()))?;
    hoard("stream", || file.read_via_stream(0).map_err(|code| Error::failed(code.name())))
}

fn refused(code: ErrorCode) -> Error {
    Error::failed(code.name())
}

/// So deep that the stack of the engine is used up. Nothing of it lies in the guest's own memory.
#[inline(never)]
fn deep(at: u64, end: u64) -> u64 {
    if at == end { 0 } else { deep(at + 1, end).rotate_left(3) ^ at }
}

/// One and the same MiB so often: what a guest of 64 MiB needs for an answer of 200.
fn many_times(count: usize) -> Vec<Part> {
    let mut text = std::mem::ManuallyDrop::new("x".repeat(1 << 20));
    let (start, length) = (text.as_mut_ptr(), text.len());
    #[expect(unsafe_code, reason = "no safe program could answer with one text as many; the host ends the guest before it drops any")]
    // SAFETY: none; that is the point.
    let again = || Part::Text(unsafe { String::from_raw_parts(start, length, length) });
    std::iter::repeat_with(again).take(count).collect()
}
