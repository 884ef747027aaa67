//! A journal, one event of JSON per line: decoded, folded, rendered.

use stellaclaw::chat::{AnswerPiece, Message, Modality, Piece};
use stellaclaw::clock::Moment;
use stellaclaw::ids::SessionId;
use stellaclaw::session::context::{RenderModel, render};
use stellaclaw::session::event::Recorded;
use stellaclaw::session::history::Body;
use stellaclaw::session::state::State;

pub fn run(data: &[u8]) {
    let journal: Vec<Recorded> = data.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let mut state = State::new(SessionId(4));
    for recorded in &journal {
        let json = serde_json::to_string(recorded).expect("an event is JSON");
        assert_eq!(serde_json::from_str::<Recorded>(&json).expect("what was written is read"), *recorded);
        state.apply(recorded);
    }
    assert_eq!(State::fold(SessionId(4), &journal), state);
    check(&state, data.len());
}

fn check(state: &State, written: usize) {
    let items = &state.context.items;
    assert_eq!(state.context.tokens, items.iter().map(|item| item.tokens).sum::<u64>());
    if let Some(cut) = state.context.half(state.head.last_turn) {
        assert!(items.iter().any(|item| item.seq.saturating_add(1) == cut), "a cut at {cut} follows no item");
    }
    for keep in [0, 100] {
        if let Some(cut) = state.context.cut(keep, Some(state.head.last_turn)) {
            assert!(cut.removed > 0 && cut.removed <= state.context.weight_before(cut.at), "{cut:?} removes nothing");
            assert!(items.iter().any(|item| item.seq >= cut.at), "{cut:?} keeps nothing");
        }
    }
    for now in [0, 1, i64::MAX, i64::MIN] {
        let _ = state.head.active_ms(Moment(now));
    }
    for reads in [&[Modality::Text][..], &[Modality::Text, Modality::Image]] {
        let model = RenderModel {
            provider: "provider-openrouter",
            id: "id",
            reads,
            system: "",
            tools: &[],
            max_output: None,
            temperature: None,
            effort: None,
            reasoning_summary: None,
            service_tier: None,
            cache_ttl_ms: None,
        };
        let request = render(state, 1, &model);
        assert_eq!(request, render(state, 1, &model), "equal states give equal requests");
        let answered = request.messages.iter().flat_map(|message| &message.pieces);
        let answers = answered.filter(|piece| matches!(piece, Piece::ToolAnswer(_))).count();
        let calls: usize = items.iter().map(|item| if let Body::Answer { calls, .. } = &item.body { calls.len() } else { 0 }).sum();
        assert!(answers >= calls, "{calls} calls and {answers} answers");
        assert!(request.messages.iter().rev().skip(1).all(|message| !message.cache_break || items.len() > 1));
        // An event of few bytes can stand for a sentence, no more.
        let bytes: usize = request.messages.iter().map(bytes).sum();
        assert!(bytes <= 16 * written + 1024, "{bytes} bytes of request from {written} of journal");
    }
}

fn bytes(message: &Message) -> usize {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.text.len(),
        Piece::ToolUse(call) => call.arguments.len(),
        Piece::ToolAnswer(answer) => {
            answer.pieces.iter().map(|piece| if let AnswerPiece::Text(text) = piece { text.len() } else { 0 }).sum()
        }
        _ => 0,
    };
    message.pieces.iter().map(piece).sum()
}
