//! Exchanges with a scripted outside: every step of the protocol, and what goes wrong with it.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};
use stellaclaw_sdk::chat::{Model, Stop};
use stellaclaw_sdk::http::Piece;

use super::*;
use crate::call::tests::{identity, model, request, shown, user};
use crate::note::LIFE_MS;
use crate::world::Place;

/// What a connection or a request does.
#[derive(Debug, Clone)]
enum Does {
    /// Frames that answer one frame each time one is sent; after them the connection breaks.
    Answers(Vec<Vec<String>>),
    Refuses(u16, Value),
    Fails(ErrorKind),
    /// A body with this status, in these chunks.
    Posts(u16, Vec<Vec<u8>>),
}

/// Everything outside, as a script, and what was done to it.
#[derive(Default)]
struct Outside {
    now: u64,
    does: VecDeque<Does>,
    log: Rc<RefCell<Vec<String>>>,
    frames: Rc<RefCell<Vec<Value>>>,
    parked: Option<(Fake, Vec<u8>)>,
    kept: BTreeMap<Place, Vec<u8>>,
    deltas: Vec<Delta>,
    renews: Option<Error>,
    stops: bool,
    /// What a request over HTTPS gets when the script says nothing of it.
    posts: Option<Vec<Vec<u8>>>,
    /// How much had been done when something of an answer was shown.
    shown_after: Rc<RefCell<Option<usize>>>,
}

struct Fake {
    answers: VecDeque<Vec<String>>,
    current: VecDeque<String>,
    chunks: VecDeque<Vec<u8>>,
    headers: Vec<(String, String)>,
    log: Rc<RefCell<Vec<String>>>,
    frames: Rc<RefCell<Vec<Value>>>,
    status: u16,
}

impl World for Outside {
    type Socket = Fake;
    type Body = Fake;

    fn now(&self) -> u64 {
        self.now
    }

    fn resume(&mut self) -> Option<(Fake, Vec<u8>)> {
        self.parked.take()
    }

    fn open(&mut self, _: String, headers: Vec<(String, String)>) -> Result<Fake, ConnectError> {
        let state = headers.iter().find(|(name, _)| name == "x-codex-turn-state").map_or("-", |(_, value)| value);
        self.log.borrow_mut().push(format!("open {state}"));
        match self.does.pop_front().unwrap() {
            Does::Answers(answers) => Ok(self.fake(answers, 101)),
            Does::Refuses(status, body) => {
                Err(ConnectError::Refused(Refusal { status, headers: Vec::new(), body: body.to_string().into_bytes() }))
            }
            Does::Fails(kind) => Err(ConnectError::Error(Error::new(kind, "no connection"))),
            Does::Posts(..) => panic!("a request was expected"),
        }
    }

    fn park(&mut self, socket: Fake, note: Vec<u8>) {
        self.log.borrow_mut().push("park".into());
        self.parked = Some((socket, note));
    }

    fn post(&mut self, _: String, headers: Vec<(String, String)>, body: Vec<Piece>) -> Result<Fake, Error> {
        let state = headers.iter().find(|(name, _)| name == "x-codex-turn-state").map_or("-", |(_, value)| value);
        self.log.borrow_mut().push(format!("post {state}"));
        self.frames.borrow_mut().push(shown(&body));
        let (status, chunks) = match (self.posts.take(), self.does.pop_front()) {
            (Some(chunks), _) => (200, chunks),
            (None, Some(Does::Posts(status, chunks))) => (status, chunks),
            (None, other) => panic!("a connection was expected: {other:?}"),
        };
        let mut fake = self.fake(Vec::new(), status);
        fake.chunks = chunks.into();
        Ok(fake)
    }

    fn renew(&mut self) -> Result<(), Error> {
        self.log.borrow_mut().push("renew".into());
        self.renews.take().map_or(Ok(()), Err)
    }

    fn kept(&mut self, place: Place) -> Option<Vec<u8>> {
        self.kept.get(&place).cloned()
    }

    fn keep(&mut self, place: Place, value: &[u8]) {
        self.kept.insert(place, value.to_vec());
    }

    fn emit(&mut self, batch: &[Delta]) -> bool {
        self.deltas.extend_from_slice(batch);
        if batch.iter().any(|delta| matches!(delta, Delta::ItemStarted(_) | Delta::Fragment(_))) {
            self.shown_after.borrow_mut().get_or_insert(self.log.borrow().len());
        }
        !self.stops
    }
}

impl Socket for Fake {
    fn headers(&self) -> Vec<(String, String)> {
        self.headers.clone()
    }

    fn send(&mut self, frame: Vec<Piece>) -> Result<(), Error> {
        let frame = shown(&frame);
        let previous = frame["previous_response_id"].as_str().unwrap_or("full").to_owned();
        let state = frame["client_metadata"]["x-codex-turn-state"].as_str().unwrap_or("-").to_owned();
        let items = frame["input"].as_array().unwrap().len();
        let warms = if frame["generate"] == false { "warm" } else { "send" };
        self.log.borrow_mut().push(format!("{warms} {previous} {items} {state}"));
        self.frames.borrow_mut().push(frame);
        self.current = self.answers.pop_front().unwrap_or_default().into();
        Ok(())
    }

    fn receive(&mut self) -> Result<Option<Frame>, Error> {
        match self.current.pop_front().as_deref() {
            None => Err(Error::new(ErrorKind::Unavailable, "the connection broke")),
            Some("silence") => Ok(None),
            Some("binary") => Ok(Some(Frame::Binary(vec![0]))),
            Some("close") => Ok(Some(Frame::Closed(1012))),
            Some("stop") => Err(Error::cancelled()),
            Some(text) => Ok(Some(Frame::Text(text.to_owned()))),
        }
    }
}

impl Body for Fake {
    fn status(&self) -> u16 {
        self.status
    }

    fn headers(&self) -> Vec<(String, String)> {
        self.headers.clone()
    }

    fn read(&mut self) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.chunks.pop_front())
    }
}

impl Outside {
    fn new<const N: usize>(does: [Does; N]) -> Self {
        Self { now: 1_000_000, does: does.into(), ..Self::default() }
    }

    fn fake(&self, answers: Vec<Vec<String>>, status: u16) -> Fake {
        let (log, frames) = (self.log.clone(), self.frames.clone());
        Fake { answers: answers.into(), current: VecDeque::new(), chunks: VecDeque::new(), headers: Vec::new(), log, frames, status }
    }

    fn ask(&mut self, request: &Request) -> Result<Completion, Failure> {
        self.ask_of(&model(None, ""), request)
    }

    fn ask_of(&mut self, model: &Model, request: &Request) -> Result<Completion, Failure> {
        let call = Call::new(model, request, identity(true)).unwrap();
        Exchange::new(self, &call, request).complete()
    }

    /// What was done since the last time somebody looked.
    fn did(&self) -> Vec<String> {
        std::mem::take(&mut self.log.borrow_mut())
    }
}

/// An answer in frames.
fn says(id: &str, text: &str) -> Vec<String> {
    let item = json!({"type": "message", "id": format!("msg_{id}"), "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}]});
    let frames = [
        json!({"type": "response.created", "response": {"id": id}}),
        json!({"type": "response.output_text.delta", "item_id": format!("msg_{id}"), "output_index": 0, "content_index": 0, "delta": text}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": item}),
        json!({"type": "response.completed", "response": {"id": id, "status": "completed", "output": [],
            "usage": {"input_tokens": 10, "output_tokens": 1}}}),
    ];
    frames.iter().map(Value::to_string).collect()
}

fn events(id: &str, text: &str) -> Vec<Vec<u8>> {
    says(id, text).iter().map(|frame| format!("data: {frame}\n\n").into_bytes()).collect()
}

fn error(status: u16, code: &str) -> String {
    json!({"type": "error", "status": status, "error": {"type": "invalid_request_error", "code": code, "message": format!("it is {code}")},
        "headers": {"x-codex-primary-used-percent": "99"}})
    .to_string()
}

fn one<const N: usize>(frames: [&str; N]) -> Vec<Vec<String>> {
    vec![frames.iter().map(|frame| (*frame).to_owned()).collect()]
}

fn with_answer(asked: &str, answer: &Completion, then: &str) -> Request {
    request(vec![user(asked), answer.message.clone(), user(then)])
}

#[test]
fn a_second_request_goes_on_where_the_first_ended() {
    let mut outside = Outside::new([Does::Answers(vec![says("r1", "Hello."), says("r2", "Again.")])]);
    let first = outside.ask(&request(vec![user("hi")])).unwrap();
    assert_eq!((first.message.text().as_str(), &first.stop), ("Hello.", &Stop::EndTurn));
    assert_eq!(outside.did(), ["open -", "send full 1 -", "park"]);
    let second = outside.ask(&with_answer("hi", &first, "more")).unwrap();
    assert_eq!(second.message.text(), "Again.");
    assert_eq!(outside.did(), ["send r1 1 -", "park"]);
}

#[test]
fn a_history_that_changed_is_sent_in_full_on_the_same_socket() {
    let mut outside = Outside::new([Does::Answers(vec![says("r1", "Hello."), says("r2", "Again.")])]);
    let first = outside.ask(&request(vec![user("hi")])).unwrap();
    outside.did();
    outside.ask(&with_answer("something else", &first, "more")).unwrap();
    assert_eq!(outside.did(), ["send full 3 -", "park"]);
}

#[test]
fn a_parked_socket_that_is_dead_is_replaced_once() {
    let mut outside =
        Outside::new([Does::Answers(vec![says("r1", "Hello.")]), Does::Answers(vec![says("r2", "Again.")]), Does::Answers(Vec::new())]);
    let first = outside.ask(&request(vec![user("hi")])).unwrap();
    outside.did();
    let more = with_answer("hi", &first, "more");
    assert_eq!(outside.ask(&more).unwrap().message.text(), "Again.");
    assert_eq!(outside.did(), ["send r1 1 -", "open -", "send full 3 -", "park"]);
    // The new one is dead as well: the host waits before it asks again.
    outside.now += 1;
    let failure = outside.ask(&request(vec![user("other")])).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Transport);
    assert_eq!(outside.did(), ["send full 1 -", "open -", "send full 1 -"]);
}

#[test]
fn an_old_socket_is_left_alone() {
    let mut outside = Outside::new([Does::Answers(vec![says("r1", "Hello.")]), Does::Answers(vec![says("r2", "Again.")])]);
    let first = outside.ask(&request(vec![user("hi")])).unwrap();
    outside.did();
    outside.now += LIFE_MS;
    outside.ask(&with_answer("hi", &first, "more")).unwrap();
    assert_eq!(outside.did(), ["open -", "send full 3 -", "park"]);
}

#[test]
fn what_the_server_forgot_is_sent_in_full() {
    let lost = error(400, "previous_response_not_found");
    let answers = vec![says("r1", "Hello."), vec![lost.clone()], says("r2", "Again.")];
    let mut outside = Outside::new([Does::Answers(answers)]);
    let first = outside.ask(&request(vec![user("hi")])).unwrap();
    outside.did();
    assert_eq!(outside.ask(&with_answer("hi", &first, "more")).unwrap().message.text(), "Again.");
    assert_eq!(outside.did(), ["send r1 1 -", "send full 3 -", "park"]);

    let answers = vec![says("r1", "Hello."), vec![lost.clone()], vec![lost]];
    let mut outside = Outside::new([Does::Answers(answers), Does::Answers(vec![says("r2", "Again.")])]);
    let first = outside.ask(&request(vec![user("hi")])).unwrap();
    outside.did();
    assert_eq!(outside.ask(&with_answer("hi", &first, "more")).unwrap().message.text(), "Again.");
    assert_eq!(outside.did(), ["send r1 1 -", "send full 3 -", "open -", "send full 3 -", "park"]);
}

#[test]
fn a_connection_that_is_full_is_replaced() {
    let full = error(400, "websocket_connection_limit_reached");
    let mut outside = Outside::new([Does::Answers(vec![vec![full]]), Does::Answers(vec![says("r1", "Hello.")])]);
    assert_eq!(outside.ask(&request(vec![user("hi")])).unwrap().message.text(), "Hello.");
    assert_eq!(outside.did(), ["open -", "send full 1 -", "open -", "send full 1 -", "park"]);
}

#[test]
fn a_server_that_closes_every_connection_is_given_up() {
    let full = || Does::Answers(vec![vec![error(400, "websocket_connection_limit_reached")]]);
    let mut outside = Outside::new([full(), full(), full(), full()]);
    assert_eq!(outside.ask(&request(vec![user("hi")])).unwrap_err().kind, FailureKind::Transport);
}

#[test]
fn what_was_answered_in_part_is_never_asked_again() {
    for end in [Some("close"), Some("binary"), Some("silence"), None] {
        let mut frames = says("r1", "Hello.");
        frames.truncate(2);
        frames.extend(end.map(str::to_owned));
        let mut outside = Outside::new([Does::Answers(vec![frames])]);
        let failure = outside.ask(&request(vec![user("hi")])).unwrap_err();
        let kind = match end {
            Some("binary") => FailureKind::Protocol,
            Some("silence") => FailureKind::Timeout,
            _ => FailureKind::Transport,
        };
        assert_eq!(failure.kind, kind, "{end:?}: {}", failure.message);
        assert_eq!(outside.did(), ["open -", "send full 1 -"], "{end:?}");
        assert!(outside.parked.is_none());
    }
    // Also not for a reason that is cured otherwise.
    for code in ["token_expired", "websocket_connection_limit_reached"] {
        let mut frames = says("r1", "Hello.");
        frames.truncate(2);
        frames.push(error(401, code));
        let mut outside = Outside::new([Does::Answers(vec![frames])]);
        outside.ask(&request(vec![user("hi")])).unwrap_err();
        assert_eq!(outside.did(), ["open -", "send full 1 -"], "{code}");
    }
}

#[test]
fn three_failures_in_a_row_and_requests_go_over_https_for_an_hour() {
    let mut outside = Outside::new([
        Does::Fails(ErrorKind::Unavailable),
        Does::Answers(one([])),
        Does::Fails(ErrorKind::Timeout),
        Does::Posts(200, events("r1", "Over HTTPS.")),
        Does::Posts(200, events("r2", "Still.")),
        Does::Answers(vec![says("r3", "Back.")]),
    ]);
    let asked = request(vec![user("hi")]);
    assert_eq!(outside.ask(&asked).unwrap_err().kind, FailureKind::Transport);
    assert_eq!(outside.ask(&asked).unwrap_err().kind, FailureKind::Transport);
    outside.did();
    assert_eq!(outside.ask(&asked).unwrap().message.text(), "Over HTTPS.");
    assert_eq!(outside.did(), ["open -", "post -"]);
    outside.now += 59 * 60 * 1000;
    assert_eq!(outside.ask(&asked).unwrap().message.text(), "Still.");
    outside.now += 60 * 1000;
    assert_eq!(outside.ask(&asked).unwrap().message.text(), "Back.");
}

#[test]
fn a_success_between_failures_starts_the_count_anew() {
    let fails = || Does::Fails(ErrorKind::Unavailable);
    let works = || Does::Answers(vec![says("r", "Good.")]);
    let mut outside = Outside::new([fails(), fails(), works(), fails(), fails()]);
    let asked = request(vec![user("hi")]);
    for good in [false, false, true, false, false] {
        outside.parked = None;
        assert_eq!(outside.ask(&asked).is_ok(), good, "{:?}", outside.did());
    }
    assert!(!outside.did().iter().any(|did| did.starts_with("post")));
}

#[test]
fn a_server_without_websockets_is_asked_over_https_at_once() {
    for status in [426, 404, 405, 501] {
        let mut outside = Outside::new([Does::Refuses(status, json!({})), Does::Posts(200, events("r1", "Over HTTPS."))]);
        assert_eq!(outside.ask(&request(vec![user("hi")])).unwrap().message.text(), "Over HTTPS.", "{status}");
    }
    let mut outside = Outside::new([Does::Posts(200, events("r1", "Over HTTPS."))]);
    outside.ask_of(&model(None, r#"{"websocket":false}"#), &request(vec![user("hi")])).unwrap();
    assert_eq!(outside.did(), ["post -"]);
}

#[test]
fn a_rejected_login_is_renewed_once() {
    let expired = || json!({"error": {"code": "token_expired", "message": "expired"}});
    let asked = request(vec![user("hi")]);
    let mut outside = Outside::new([Does::Refuses(401, expired()), Does::Answers(vec![says("r1", "Hello.")])]);
    assert_eq!(outside.ask(&asked).unwrap().message.text(), "Hello.");
    assert_eq!(outside.did(), ["open -", "renew", "open -", "send full 1 -", "park"]);

    let mut outside = Outside::new([Does::Answers(vec![vec![error(401, "token_expired")]]), Does::Answers(vec![says("r1", "Hello.")])]);
    assert_eq!(outside.ask(&asked).unwrap().message.text(), "Hello.");
    assert_eq!(outside.did(), ["open -", "send full 1 -", "renew", "open -", "send full 1 -", "park"]);

    let mut outside = Outside::new([Does::Refuses(401, expired()), Does::Refuses(401, expired())]);
    assert_eq!(outside.ask(&asked).unwrap_err().kind, FailureKind::AuthExpired);
    assert_eq!(outside.did(), ["open -", "renew", "open -"]);

    let mut outside = Outside::new([Does::Posts(401, vec![expired().to_string().into_bytes()]), Does::Posts(200, events("r1", "Hello."))]);
    outside.ask_of(&model(None, r#"{"websocket":false}"#), &asked).unwrap();
    assert_eq!(outside.did(), ["post -", "renew", "post -"]);

    let mut outside = Outside::new([Does::Refuses(401, expired())]);
    outside.renews = Some(Error::new(ErrorKind::Failed, "the login was revoked: run `stellaclaw login codex`"));
    let failure = outside.ask(&asked).unwrap_err();
    assert_eq!((failure.kind, failure.status), (FailureKind::AuthExpired, Some(401)));
    assert!(failure.message.contains("stellaclaw login codex"), "{}", failure.message);
}

#[test]
fn a_plain_key_is_not_renewed() {
    let asked = request(vec![user("hi")]);
    let model = model(Some("https://api.openai.com/v1"), "");
    let call = Call::new(&model, &asked, identity(false)).unwrap();
    let mut outside = Outside::new([Does::Refuses(401, json!({"error": {"code": "invalid_api_key", "message": "wrong"}}))]);
    let failure = Exchange::new(&mut outside, &call, &asked).complete().unwrap_err();
    assert_eq!((failure.kind, outside.did()), (FailureKind::AuthInvalid, vec!["open -".to_owned()]));
}

#[test]
fn every_way_to_say_no_has_its_kind() {
    use FailureKind as Kind;
    let used_up = json!({"type": "error", "status": 429, "error": {"type": "usage_limit_reached", "message": "used up", "plan_type": "plus",
        "resets_at": 1_900_000_000}});
    let failed = |code: &str| {
        json!({"type": "response.failed", "response": {"id": "r", "status": "failed", "error": {"code": code, "message": "no"}}})
            .to_string()
    };
    let detail = json!({"type": "error", "status": 400, "detail": "Unsupported parameter: max_output_tokens"}).to_string();
    let bad_image = json!({"type": "error", "status": 400, "error": {"code": "invalid_value", "message": "no", "param": "input[0].content[0].image_url"}});
    let rows = [
        (used_up.to_string(), Kind::UsageLimit),
        (error(429, "usage_not_included"), Kind::Forbidden),
        (error(429, "rate_limit_exceeded"), Kind::RateLimit),
        (error(429, "insufficient_quota"), Kind::Quota),
        (error(400, "context_length_exceeded"), Kind::ContextOverflow),
        (failed("context_length_exceeded"), Kind::ContextOverflow),
        (failed("server_is_overloaded"), Kind::Overloaded),
        (failed("slow_down"), Kind::Overloaded),
        (failed("server_error"), Kind::Server),
        (failed("rate_limit_exceeded"), Kind::RateLimit),
        (error(400, "invalid_prompt"), Kind::Policy),
        (error(400, "cyber_policy"), Kind::Policy),
        (error(400, "invalid_image_format"), Kind::InvalidMedia),
        (bad_image.to_string(), Kind::InvalidMedia),
        (error(500, ""), Kind::Server),
        (error(503, ""), Kind::Overloaded),
        (error(504, ""), Kind::Timeout),
        (detail, Kind::InvalidRequest),
    ];
    for (frame, kind) in rows {
        let mut outside = Outside::new([Does::Answers(vec![vec![frame.clone()]])]);
        let failure = outside.ask(&request(vec![user("hi")])).unwrap_err();
        assert_eq!(failure.kind, kind, "{frame}: {}", failure.message);
        assert_eq!(outside.did(), ["open -", "send full 1 -"], "{frame}");
        assert!(outside.parked.is_none(), "{frame}");
        if kind == Kind::UsageLimit {
            assert_eq!(failure.resets_at, Some(1_900_000_000_000));
        }
    }
    let page = "<html><head><title>Just a moment...</title></head></html>";
    let mut outside = Outside::new([Does::Posts(403, vec![page.into()])]);
    let failure = outside.ask_of(&model(None, r#"{"websocket":false}"#), &request(vec![user("hi")])).unwrap_err();
    assert_eq!((failure.kind, failure.message.as_str()), (Kind::Forbidden, "HTTP 403: Just a moment..."));
}

#[test]
fn the_limits_of_the_subscription_are_handed_on() {
    let rates = json!({"type": "codex.rate_limits", "rate_limits": {"primary": {"used_percent": 5, "window_minutes": 300}}}).to_string();
    let frames = std::iter::once(rates).chain(says("r1", "Hello.")).collect();
    let mut outside = Outside::new([Does::Answers(vec![frames]), Does::Answers(vec![vec![error(429, "rate_limit_exceeded")]])]);
    outside.ask(&request(vec![user("hi")])).unwrap();
    outside.parked = None;
    outside.ask(&request(vec![user("hi")])).unwrap_err();
    let used: Vec<_> = outside
        .deltas
        .iter()
        .filter_map(|delta| if let Delta::RateLimits(windows) = delta { windows[0].used_percent } else { None })
        .collect();
    assert_eq!(used, [5.0, 99.0], "from an event, and from the headers of an error");
}

#[test]
fn the_token_of_a_turn_goes_with_its_requests_and_no_others() {
    let token = json!({"type": "response.metadata", "metadata": {"x-codex-turn-state": "sticky"}}).to_string();
    let frames = |id: &str| std::iter::once(token.clone()).chain(says(id, "Hello.")).collect::<Vec<_>>();
    let mut outside = Outside::new([
        Does::Answers(vec![frames("r1"), says("r2", "Hello.")]),
        Does::Answers(vec![says("r3", "Hello."), says("r4", "Hello.")]),
    ]);
    let asked = request(vec![user("hi")]);
    outside.ask(&asked).unwrap();
    outside.ask(&asked).unwrap();
    assert_eq!(outside.did(), ["open -", "send full 1 -", "park", "send full 1 sticky", "park"]);
    outside.parked = None;
    outside.ask(&asked).unwrap();
    assert_eq!(outside.did(), ["open sticky", "send full 1 sticky", "park"]);
    let next = Request { turn: "7.2".into(), ..asked };
    outside.ask(&next).unwrap();
    assert_eq!(outside.did(), ["send full 1 -", "park"]);
}

#[test]
fn a_connection_is_warmed_once() {
    let warmed = vec![
        json!({"type": "response.created", "response": {"id": "r0"}}).to_string(),
        json!({"type": "response.completed", "response": {"id": "r0", "status": "completed", "output": []}}).to_string(),
    ];
    let mut outside = Outside::new([Does::Answers(vec![warmed, says("r1", "Hello.")])]);
    let model = model(None, "");
    let empty = request(Vec::new());
    let call = Call::new(&model, &empty, identity(true)).unwrap();
    Exchange::new(&mut outside, &call, &empty).prepare().unwrap();
    assert_eq!(outside.did(), ["open -", "warm full 0 -", "park"]);
    Exchange::new(&mut outside, &call, &empty).prepare().unwrap();
    assert_eq!(outside.did(), ["park"]);
    outside.ask(&request(vec![user("hi")])).unwrap();
    assert_eq!(outside.did(), ["send r0 1 -", "park"]);
    assert!(!outside.deltas.is_empty());
}

#[test]
fn a_stop_ends_the_exchange_and_the_socket_with_it() {
    let mut outside = Outside::new([Does::Answers(one(["stop"]))]);
    let failure = outside.ask(&request(vec![user("hi")])).unwrap_err();
    assert_eq!((failure.kind, outside.did()), (FailureKind::Cancelled, vec!["open -".to_owned(), "send full 1 -".to_owned()]));
    let mut outside = Outside::new([Does::Answers(vec![says("r1", "Hello.")])]);
    outside.stops = true;
    assert_eq!(outside.ask(&request(vec![user("hi")])).unwrap_err().kind, FailureKind::Cancelled);
    assert!(outside.parked.is_none());
}

#[test]
fn a_stream_may_be_cut_anywhere_and_must_be_whole() {
    let whole: Vec<u8> = events("r1", "Grüße.").concat();
    let (asked, https) = (request(vec![user("hi")]), model(None, r#"{"websocket":false}"#));
    let cut = |at: usize, all: &[u8]| {
        let mut outside = Outside::new([Does::Posts(200, vec![all[..at].to_vec(), all[at..].to_vec()])]);
        outside.ask_of(&https, &asked)
    };
    for at in 0..whole.len() {
        assert_eq!(cut(at, &whole).unwrap().message.text(), "Grüße.", "{at}");
    }
    // Only the empty line at the end may be missing.
    for end in 0..whole.len() - 2 {
        let failure = cut(0, &whole[..end]).unwrap_err();
        assert!(matches!(failure.kind, FailureKind::Transport | FailureKind::Protocol), "{end}: {failure:?}");
    }
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    /// Any frame, good or bad.
    fn frame() -> impl Strategy<Value = String> {
        let told = |at: usize| Just(says("r", "Hello.")[at].clone());
        let no = |code: &'static str| Just(error(400, code));
        prop_oneof![
            3 => told(0),
            2 => told(1),
            2 => told(2),
            3 => told(3),
            2 => no("previous_response_not_found"),
            2 => no("websocket_connection_limit_reached"),
            1 => Just(error(401, "token_expired")),
            1 => no("rate_limit_exceeded"),
            1 => Just(r#"{"type":"codex.rate_limits","rate_limits":{"primary":{"used_percent":1}}}"#.to_owned()),
            1 => Just(r#"{"type":"response.new","delta":3}"#.to_owned()),
            1 => prop_oneof![Just("close"), Just("binary"), Just("silence"), Just("stop"), Just("{")].prop_map(str::to_owned),
        ]
    }

    fn does() -> impl Strategy<Value = Does> {
        let answers = prop::collection::vec(prop::collection::vec(frame(), 0..6), 0..4).prop_map(Does::Answers);
        let refuses =
            prop_oneof![Just(401), Just(403), Just(426), Just(429), Just(503)].prop_map(|status| Does::Refuses(status, json!({})));
        prop_oneof![6 => answers, 2 => refuses, 1 => Just(Does::Fails(ErrorKind::Unavailable))]
    }

    proptest! {
        /// Whatever comes, a call ends; nothing is asked again once something was shown; a login is renewed at most once; and
        /// a socket is left behind by an answer alone.
        #[test]
        fn nothing_is_asked_again_that_was_answered(calls in prop::collection::vec(prop::collection::vec(does(), 8), 1..4)) {
            let mut outside = Outside { now: 1_000_000, ..Outside::default() };
            let log = outside.log.clone();
            for does in calls {
                // A request over HTTPS is the last thing that a call does.
                outside.does = does.into();
                outside.posts = Some(events("r", "Posted."));
                outside.deltas.clear();
                let shown = outside.shown_after.clone();
                *shown.borrow_mut() = None;
                let answered = outside.ask(&request(vec![user("hi")]));
                let did = std::mem::take(&mut *log.borrow_mut());
                let count = |what: &str| did.iter().filter(|did| did.starts_with(what)).count();
                prop_assert!(count("renew") <= 1 && count("open") <= CONNECTIONS + 1 && count("post") <= 1, "{:?}", did);
                prop_assert_eq!(outside.parked.is_some(), answered.is_ok() && count("post") == 0, "{:?}", did);
                if let Some(at) = *shown.borrow() {
                    let asked = |did: &&String| ["open", "send", "post", "renew"].iter().any(|what| did.starts_with(what));
                    prop_assert_eq!(did[at..].iter().find(asked), None, "{:?}", did);
                }
            }
        }
    }
}
