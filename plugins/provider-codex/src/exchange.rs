//! One request and its answer: which way it takes, and when it is sent a second time.
//!
//! Invariants: what was answered in part is never asked again; a socket is parked only after an answer that ended well; a
//! login is renewed at most once; one broken connection changes nothing for the next call, and three in a row do.

use std::rc::Rc;

use stellaclaw_sdk::chat::{Completion, Failure, FailureKind, Request};
use stellaclaw_sdk::deltas::Delta;
use stellaclaw_sdk::openai::failure;
use stellaclaw_sdk::openai::stream::Stream;
use stellaclaw_sdk::websocket::{ConnectError, Frame, Refusal};
use stellaclaw_sdk::{Error, ErrorKind};

use crate::answer::{Answer, TurnState};
use crate::call::Call;
use crate::identity::{Way, turn_state};
use crate::memory::{Sockets, Turn};
use crate::note::{Last, Note, is_young};
use crate::rates;
use crate::world::{Body, Socket, World};

/// Connections that one call opens at most: the first, one after a login was renewed, one in place of one that is too old.
const CONNECTIONS: usize = 3;
/// The rest of an error's body says nothing that the start did not.
const ERROR_BODY_BYTES: usize = 65_536;

/// An exchange that runs.
pub struct Exchange<'a, W: World> {
    world: &'a mut W,
    call: &'a Call<'a>,
    turn: &'a str,
    turn_state: TurnState,
    /// As it is kept.
    kept_state: Option<String>,
    sockets: Sockets,
    renewed: bool,
}

/// A socket and what is known of it.
struct Held<S> {
    socket: S,
    opened_at: u64,
    last: Option<Last>,
    /// It was parked, and may be dead.
    resumed: bool,
}

/// What came of a connection that gave no answer.
struct Unanswered {
    failure: Failure,
    /// Another connection may do better at once.
    again: bool,
}

/// How the attempt to open a connection ended.
enum Opened<S> {
    Held(Held<S>),
    /// There are no WebSockets here.
    Unsupported,
    /// The login was renewed.
    Renewed,
}

impl<'a, W: World> Exchange<'a, W> {
    /// Gets ready to answer `request` with `call`.
    pub fn new(world: &'a mut W, call: &'a Call<'a>, request: &'a Request) -> Self {
        let peer = call.peer();
        let kept_state = Turn::recall(world, &peer, &request.turn);
        let sockets = Sockets::recall(world, &peer);
        let turn_state = TurnState::default();
        *turn_state.borrow_mut() = kept_state.clone();
        Self { world, call, turn: &request.turn, turn_state, kept_state, sockets, renewed: false }
    }

    /// Sends the request and receives its answer.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub fn complete(mut self) -> Result<Completion, Failure> {
        if !self.uses_sockets() {
            return self.https();
        }
        let mut parked = self.parked();
        for _ in 0..=CONNECTIONS {
            let held = match parked.take() {
                Some(held) => held,
                None => match self.open() {
                    Ok(Opened::Held(held)) => held,
                    Ok(Opened::Renewed) => continue,
                    Ok(Opened::Unsupported) => return self.https(),
                    Err(_) if !self.uses_sockets() => return self.https(),
                    Err(failure) => return Err(failure),
                },
            };
            match self.over(held) {
                Ok(completion) => return Ok(completion),
                Err(Unanswered { again: true, .. }) => {}
                Err(Unanswered { failure, .. }) => return Err(failure),
            }
            if !self.uses_sockets() {
                return self.https();
            }
        }
        Err(Failure::new(FailureKind::Transport, "the server closes every connection before it answers"))
    }

    /// Leaves a socket behind on which the server has read the instructions and the tools.
    ///
    /// # Errors
    ///
    /// Why it could not. Nobody waits for it.
    pub fn prepare(mut self) -> Result<(), Failure> {
        if !self.uses_sockets() {
            return Ok(());
        }
        let mut held = match self.parked() {
            Some(held) => held,
            None => match self.open()? {
                Opened::Held(held) => held,
                Opened::Unsupported | Opened::Renewed => return Ok(()),
            },
        };
        if held.last.as_ref().is_some_and(|last| self.call.is_warmed_by(last)) {
            self.park(held);
            return Ok(());
        }
        held.socket.send(self.call.warming_frame())?;
        let mut answer = Answer::new(self.call.answer(None), self.turn_state.clone());
        while !answer.is_done() {
            let frame = heard(held.socket.receive())?;
            answer.take(frame.as_bytes(), &mut Vec::new())?;
        }
        let warmed = answer.finish(&mut Vec::new())?;
        held.last = warmed.response_id.map(|id| self.call.warmed(id));
        self.park(held);
        Ok(())
    }

    fn uses_sockets(&self) -> bool {
        self.call.wants_socket() && !self.sockets.are_off(self.world.now())
    }

    /// The parked socket, if it may still be used.
    fn parked(&mut self) -> Option<Held<W::Socket>> {
        let (socket, note) = self.world.resume()?;
        let note = Note::parse(&note)?;
        let serves = note.serves(&self.call.peer(), self.world.now());
        serves.then_some(Held { socket, opened_at: note.opened_at, last: note.last, resumed: true })
    }

    fn park(&mut self, held: Held<W::Socket>) {
        if is_young(held.opened_at, self.world.now()) {
            let note = Note { opened_at: held.opened_at, peer: self.call.peer(), last: held.last };
            self.world.park(held.socket, note.bytes());
        }
    }

    fn open(&mut self) -> Result<Opened<W::Socket>, Failure> {
        let headers = self.call.headers(Way::WebSocket, self.turn_state.borrow().as_deref());
        let opened_at = self.world.now();
        match self.world.open(self.call.url(Way::WebSocket), headers) {
            Ok(socket) => {
                self.learn(turn_state(&socket.headers()));
                Ok(Opened::Held(Held { socket, opened_at, last: None, resumed: false }))
            }
            Err(ConnectError::Refused(refusal)) => self.refused(&refusal),
            Err(ConnectError::Error(error)) => {
                if passes(&error) {
                    self.sockets.failed(self.world);
                }
                Err(error.into())
            }
        }
    }

    /// The server answered, but not with an upgrade.
    fn refused(&mut self, refusal: &Refusal) -> Result<Opened<W::Socket>, Failure> {
        match refusal.status {
            // It has no WebSockets at all, or not at this address.
            404 | 405 | 426 | 501 => {
                self.sockets.unsupported(self.world);
                return Ok(Opened::Unsupported);
            }
            500..=599 => self.sockets.failed(self.world),
            _ => {}
        }
        let failure = failure::http(refusal.status, &refusal.headers, &refusal.body, self.world.now());
        self.limits(&refusal.headers)?;
        self.renewed(failure).map(|()| Opened::Renewed)
    }

    /// Asks on a connection, in short where the server remembers what came before.
    fn over(&mut self, mut held: Held<W::Socket>) -> Result<Completion, Unanswered> {
        let last = held.last.take();
        let mut from = last.as_ref().and_then(|last| Some((last.response.as_str(), self.call.new_from(last)?)));
        loop {
            let frame = self.call.frame(from, self.turn_state.borrow().as_deref());
            if let Err(error) = held.socket.send(frame) {
                return Err(self.broken(error.into(), held.resumed, false));
            }
            let completion = match self.receive(&mut held) {
                Err(Unanswered { failure, again: true }) if failure.kind == FailureKind::ContinuationLost && from.is_some() => {
                    from = None;
                    continue;
                }
                answered => answered?,
            };
            self.sockets.worked(self.world);
            held.last = self.call.remembered(&completion);
            self.park(held);
            return Ok(completion);
        }
    }

    fn receive(&mut self, held: &mut Held<W::Socket>) -> Result<Completion, Unanswered> {
        let mut answer = Answer::new(self.call.answer(failure::request_id(&held.socket.headers())), self.turn_state.clone());
        let mut silent = true;
        while !answer.is_done() {
            let frame = match heard(held.socket.receive()) {
                Ok(frame) => frame,
                Err(failure) => return Err(self.broken(answer.interrupted(failure), held.resumed && silent, !silent)),
            };
            silent = false;
            let mut deltas = Vec::new();
            let taken = answer.take(frame.as_bytes(), &mut deltas);
            self.learned();
            self.emit(&deltas).map_err(last_word)?;
            if let Err(failure) = taken {
                return Err(if answer.is_shown() { last_word(failure) } else { self.rejected(failure) });
            }
        }
        let mut deltas = Vec::new();
        let completion = answer.finish(&mut deltas).map_err(last_word)?;
        self.emit(&deltas).map_err(last_word)?;
        Ok(completion)
    }

    /// A connection ended before the answer did. `stale`: it was parked and may have been dead before; nothing came of it.
    fn broken(&mut self, failure: Failure, stale: bool, heard: bool) -> Unanswered {
        let by_itself = failure.kind == FailureKind::Transport;
        if by_itself && !stale {
            self.sockets.failed(self.world);
        }
        // What was not heard of may be asked again, another way if need be.
        let again = by_itself && !heard && (stale || !self.uses_sockets());
        Unanswered { failure, again }
    }

    /// The server said no before it said anything else.
    fn rejected(&mut self, failure: Failure) -> Unanswered {
        if failure.kind == FailureKind::ContinuationLost || failure.code.as_deref() == Some("websocket_connection_limit_reached") {
            return Unanswered { failure, again: true };
        }
        match self.renewed(failure) {
            Ok(()) => Unanswered { failure: Failure::cancelled(), again: true },
            Err(failure) => last_word(failure),
        }
    }

    /// Renews a login that was rejected; gives any other failure back.
    fn renewed(&mut self, failure: Failure) -> Result<(), Failure> {
        let expired = failure.status == Some(401) || matches!(failure.kind, FailureKind::AuthExpired | FailureKind::AuthInvalid);
        if !expired || self.renewed || !self.call.has_account() {
            return Err(failure);
        }
        self.renewed = true;
        match self.world.renew() {
            Ok(()) => Ok(()),
            Err(error) if error.kind == ErrorKind::Cancelled => Err(error.into()),
            Err(error) => Err(Failure { kind: FailureKind::AuthExpired, message: error.message, ..failure }),
        }
    }

    /// Asks by `POST`; the answer comes as a stream of events.
    fn https(mut self) -> Result<Completion, Failure> {
        loop {
            let headers = self.call.headers(Way::Https, self.turn_state.borrow().as_deref());
            let mut body = self.world.post(self.call.url(Way::Https), headers, self.call.post_body())?;
            let headers = body.headers();
            self.limits(&headers)?;
            if (200..300).contains(&body.status()) {
                self.learn(turn_state(&headers));
                return self.stream(body, &headers);
            }
            let failure = failure::http(body.status(), &headers, &error_body(&mut body), self.world.now());
            self.renewed(failure)?;
        }
    }

    fn stream(&mut self, mut body: W::Body, headers: &[(String, String)]) -> Result<Completion, Failure> {
        let answer = Answer::new(self.call.answer(failure::request_id(headers)), Rc::clone(&self.turn_state));
        let mut stream = Stream::new(answer);
        while !stream.is_terminal() {
            match body.read() {
                Ok(Some(bytes)) => {
                    let deltas = stream.push(&bytes);
                    self.learned();
                    self.emit(&deltas?)?;
                }
                Ok(None) => break,
                Err(error) => return Err(stream.interrupted(error.into())),
            }
        }
        let finished = stream.finish()?;
        self.emit(&finished.deltas)?;
        Ok(finished.completion)
    }

    fn limits(&mut self, headers: &[(String, String)]) -> Result<(), Failure> {
        let windows = rates::from_headers(headers);
        if windows.is_empty() { Ok(()) } else { self.emit(&[Delta::RateLimits(windows)]) }
    }

    fn emit(&mut self, batch: &[Delta]) -> Result<(), Failure> {
        if batch.is_empty() || self.world.emit(batch) { Ok(()) } else { Err(Failure::cancelled()) }
    }

    fn learn(&mut self, state: Option<String>) {
        if state.is_some() {
            *self.turn_state.borrow_mut() = state;
            self.learned();
        }
    }

    /// Keeps the turn's token when it is another one.
    fn learned(&mut self) {
        let state = self.turn_state.borrow().clone();
        if state != self.kept_state {
            if let Some(state) = &state {
                Turn::keep(self.world, &self.call.peer(), self.turn, state);
            }
            self.kept_state = state;
        }
    }
}

/// The next text frame.
fn heard(received: Result<Option<Frame>, Error>) -> Result<String, Failure> {
    match received {
        Ok(Some(Frame::Text(text))) => Ok(text),
        Ok(Some(Frame::Binary(_))) => Err(Failure::new(FailureKind::Protocol, "the server sent a binary frame; this protocol has none")),
        Ok(Some(Frame::Closed(code))) => Err(Failure::new(
            FailureKind::Transport,
            format!("the server closed the connection (code {code}) before the answer was complete"),
        )),
        Ok(None) => Err(Failure::new(FailureKind::Timeout, "the server said nothing for as long as idle_timeout of the model allows")),
        Err(error) => Err(error.into()),
    }
}

/// May it be otherwise next time?
fn passes(error: &Error) -> bool {
    !matches!(error.kind, ErrorKind::Cancelled | ErrorKind::Denied | ErrorKind::Invalid)
}

/// No other connection helps.
fn last_word(failure: Failure) -> Unanswered {
    Unanswered { failure, again: false }
}

/// As much of the body as is there: a failure is reported even when its body breaks off.
fn error_body(body: &mut impl Body) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < ERROR_BODY_BYTES {
        match body.read() {
            Ok(Some(bytes)) => all.extend_from_slice(&bytes),
            Ok(None) | Err(_) => break,
        }
    }
    all
}

#[cfg(test)]
mod tests;
