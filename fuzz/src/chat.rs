//! Bodies of chat completions and Responses: streams of events and single objects, from any server, cut anywhere.

use std::collections::{BTreeMap, BTreeSet};

use provider_openrouter::chat::{Answer, ChatStream};
use stellaclaw_sdk::chat::{Completion, Failure, Piece};
use stellaclaw_sdk::deltas::Delta;
use stellaclaw_sdk::openai::failure;
use stellaclaw_sdk::openai::stream::{self, Stream};
use stellaclaw_sdk::responses::{self, Dialect};
use stellaclaw_sdk::sse::{Decoder, Event, TooLong};

/// The first byte says where the rest is cut.
pub fn run(data: &[u8]) {
    let Some((seed, body)) = data.split_first() else { return };
    let chunks = cut(body, *seed);
    assert_eq!(events(&chunks), events(&[body]), "how a stream is cut changes its events");
    let chat = || ChatStream::new(Answer::new("some/model", "request-1"));
    let responses = || responses::Stream::new(responses::Answer::new(&Dialect::openai("provider"), "some/model", "request-1"));
    for (whole, pieces) in [(play(chat(), &[body]), play(chat(), &chunks)), (play(responses(), &[body]), play(responses(), &chunks))] {
        assert_eq!(whole, pieces, "how a stream is cut changes the answer");
        if let Ok(completion) = &whole.result {
            check(completion, body.len());
        }
    }
    // The same bytes as the body of an error.
    for status in [400, 401, 402, 404, 408, 413, 429, 500, 529] {
        let failure =
            failure::http(status, &[("retry-after".into(), String::from_utf8_lossy(&body[..body.len().min(64)]).into())], body, 1);
        assert_eq!(failure.status, Some(status));
    }
}

/// Pieces of 1 to 16 bytes, other ones for every seed.
fn cut(body: &[u8], seed: u8) -> Vec<&[u8]> {
    let mut chunks = Vec::new();
    let (mut rest, mut state) = (body, u32::from(seed) + 1);
    while !rest.is_empty() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (chunk, after) = rest.split_at(rest.len().min(1 + (state >> 28) as usize));
        chunks.push(chunk);
        rest = after;
    }
    chunks
}

#[derive(Debug, PartialEq)]
struct Overlong;

impl From<TooLong> for Overlong {
    fn from(_: TooLong) -> Self {
        Self
    }
}

/// Names and data.
type Events = Vec<(Vec<u8>, Vec<u8>)>;

fn events(chunks: &[&[u8]]) -> Result<Events, Overlong> {
    let mut events = Vec::new();
    let mut sink = |event: Event<'_>| {
        events.push((event.name.to_vec(), event.data.to_vec()));
        Ok::<_, Overlong>(())
    };
    let mut decoder = Decoder::default();
    for chunk in chunks {
        decoder.push(chunk, &mut sink)?;
    }
    decoder.finish(&mut sink)?;
    Ok(events)
}

/// What a host learns, fragments put together.
#[derive(Debug, PartialEq)]
struct Seen {
    texts: BTreeMap<u32, String>,
    result: Result<Completion, Failure>,
}

fn play(mut stream: Stream<impl stream::Answer>, chunks: &[&[u8]]) -> Seen {
    let mut texts: BTreeMap<u32, String> = BTreeMap::new();
    let mut note = |deltas: Vec<Delta>| {
        for delta in deltas {
            if let Delta::Fragment(fragment) = delta {
                texts.entry(fragment.index).or_default().push_str(&fragment.text);
            }
        }
    };
    for chunk in chunks {
        match stream.push(chunk) {
            Ok(deltas) => note(deltas),
            // What was streamed before a failure depends on the cut; the failure does not.
            Err(failure) => return Seen { texts: BTreeMap::new(), result: Err(failure) },
        }
    }
    match stream.finish() {
        Ok(finished) => {
            note(finished.deltas);
            Seen { texts, result: Ok(finished.completion) }
        }
        Err(failure) => Seen { texts: BTreeMap::new(), result: Err(failure) },
    }
}

/// An answer is made of what was received, and its calls can be told apart. A call without a name is answered as one of an
/// unknown tool.
fn check(completion: &Completion, received: usize) {
    let mut bytes = 0;
    let mut ids = BTreeSet::new();
    for piece in &completion.message.pieces {
        bytes += match piece {
            Piece::Text(text) => text.text.len(),
            Piece::ToolUse(call) => {
                assert!(!call.call_id.is_empty() && ids.insert(&call.call_id), "no id of its own: {call:?}");
                assert!(call.freeform || !call.arguments.is_empty(), "no arguments: {call:?}");
                call.arguments.len()
            }
            _ => 0,
        };
    }
    if let Some(cost) = &completion.usage.cost {
        assert!(cost.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'), "a cost of {cost}");
    }
    // A replacement character takes three bytes where one was wrong.
    assert!(bytes <= 3 * received + 64, "{bytes} bytes of answer from {received} received");
}
