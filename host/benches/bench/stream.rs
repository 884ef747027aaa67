//! Ten thousand SSE events through the provider component, beside the same codec compiled natively.

use std::sync::Arc;

use futures_util::StreamExt as _;
use provider_openrouter::chat::{Answer, ChatStream};
use stellaclaw::chat::{Message, Piece, Request, Role, TextPiece};
use stellaclaw::plugins::stop::stop;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::measure::{Candidate, interleave, ratio, report};
use crate::rig;

const EVENTS: usize = 10_000;

pub fn stream(runtime: &Runtime) {
    for (per_chunk, bar) in [(1, 1.3), (20, 1.15)] {
        let base = runtime.block_on(serve(per_chunk));
        let folder = tempfile::tempdir().expect("a folder");
        let config = rig::config(&format!(
            "version = \"0.5\"\ndefault_model = \"m\"\n[models.m]\nprovider = \"provider-openrouter\"\nmodel = \"m\"\nbase_url = \"{base}\"\n"
        ));
        let plugins = runtime.block_on(rig::plugins(folder.path(), config.clone()));
        let model = config.models["m"].clone();
        let context = rig::context(folder.path());
        let request = request();
        let client = reqwest::Client::new();
        let url = format!("{base}/chat/completions");
        let mut candidates = [
            Candidate::new("component, fresh sandbox", || {
                let (_stop, signal) = stop();
                let asked = plugins.complete(&model, &request, context.clone(), signal, Arc::new(|_| {}));
                runtime.block_on(asked).expect("a completion");
            }),
            Candidate::new("the same codec natively", || runtime.block_on(native(&client, &url))),
        ];
        interleave(&mut candidates, 3, 25);
        report(&format!("{EVENTS} SSE events, {per_chunk} per chunk"), &candidates);
        println!("  bar: ≤ {bar} ×; here {:.2} ×", ratio(candidates[0].median(), candidates[1].median()));
    }
}

async fn native(client: &reqwest::Client, url: &str) {
    let response = client.post(url).body("{}").send().await.expect("an answer");
    let mut codec = ChatStream::new(Answer::new("m", "s1.t1.1"));
    let mut body = response.bytes_stream();
    while let Some(chunk) = body.next().await {
        std::hint::black_box(codec.push(&chunk.expect("a chunk")).expect("deltas"));
    }
    std::hint::black_box(codec.finish().expect("a completion"));
}

fn request() -> Request {
    let piece = Piece::Text(TextPiece { text: "go".into(), annotations: None });
    Request {
        id: "s1.t1.1".into(),
        session: "s1".into(),
        turn: "s1.t1".into(),
        system: Vec::new(),
        messages: vec![Message { id: "m1".into(), role: Role::User, phase: None, origin: None, pieces: vec![piece], cache_break: false }],
        tools: Vec::new(),
        parallel_tools: true,
        max_output: None,
        temperature: None,
        effort: None,
        reasoning_summary: None,
        service_tier: None,
        cache_ttl_ms: None,
        response_schema: None,
    }
}

/// A server on loopback that answers every request with the stream. The base URL.
async fn serve(per_chunk: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}/v1", listener.local_addr().expect("an address"));
    let chunks = Arc::new(chunks(per_chunk));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let chunks = chunks.clone();
            tokio::spawn(async move {
                stream.set_nodelay(true).expect("no delay");
                let mut head = vec![0; 64 << 10];
                if !matches!(stream.read(&mut head).await, Ok(1..)) {
                    return;
                }
                let answer =
                    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
                for chunk in chunks.iter() {
                    if stream.write_all(chunk).await.is_err() {
                        return;
                    }
                }
                let _: std::io::Result<()> = stream.shutdown().await;
            });
        }
    });
    base
}

/// The stream in HTTP chunks.
fn chunks(per_chunk: usize) -> Vec<Vec<u8>> {
    let event = |json: String| format!("data: {json}\n\n");
    let mut events: Vec<String> = (0..EVENTS)
        .map(|n| event(format!(r#"{{"id":"g1","object":"chat.completion.chunk","model":"m","choices":[{{"index":0,"delta":{{"content":"word{n} "}},"finish_reason":null}}]}}"#)))
        .collect();
    events.push(event(r#"{"id":"g1","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#.to_owned()));
    events.push("data: [DONE]\n\n".to_owned());
    let mut chunks: Vec<Vec<u8>> = events
        .chunks(per_chunk)
        .map(|events| {
            let body = events.concat();
            format!("{:x}\r\n{body}\r\n", body.len()).into_bytes()
        })
        .collect();
    chunks.push(b"0\r\n\r\n".to_vec());
    chunks
}
