//! The driver of a session: `step` → commit → `apply` → effects.
//!
//! - State changes only after its commit; if a commit fails the actor ends and is folded again.
//! - Control before data: commands in the inbox are applied before messages are looked at.
//! - The mailbox is the session's open inbox rows; what is in memory is a wake-up, which cannot overflow or be lost.
//! - Model requests and calls run in tasks of their own, so the actor itself never waits for one.
//!
//! Recovery is a fold of the journal, then `step` with `Input::Restarted`, then this same driver.

mod commit;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, StreamExt as _};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;

use super::asking::{Answered, Asking, Question, no_model};
use super::calling::{Caller, Calls};
use super::event::{CompactReason, Event, Outcome, Recorded, TurnInput};
use super::live::{Activity, EndedTurn, LiveTurn, LiveView, StandIn};
use super::preparing::Preparing;
use super::state::{Phase, State, Turn};
use super::turn::{self, Alarm, Effect, Facts, Input, Step, Timer};
use super::{Deps, Exit, Opening, asking, capture, fallback, inbox, notices, places};
use crate::clock::{self, Moment};
use crate::config;
use crate::crash;
use crate::halt;
use crate::ids::TurnKey;
use crate::limits::{ACTOR_IDLE, CANCEL_GRACE, SHUTDOWN_GRACE, STOP_GRACE};
use crate::plugins::{Mount, Places};
use crate::store::{Append, Appended, Conversation, Session, StoreError};
use crate::supervise::Stopping;

/// One session in memory.
pub(super) struct Actor {
    pub(super) deps: Deps,
    pub(super) conversation: Conversation,
    row: Session,
    pub(super) state: State,
    pub(super) caller: Caller,
    /// Open messages, oldest first.
    waiting: Vec<TurnInput>,
    /// The inbox may hold something new.
    look: bool,
    asking: Asking,
    preparing: Preparing,
    calls: Calls,
    alarms: HashMap<Alarm, Instant>,
    /// Commits that nothing waits for, in order, each with what it appends.
    riding: FuturesOrdered<BoxFuture<'static, (Append, Result<Appended, StoreError>)>>,
    /// The current answer replaces one that was given up.
    again: bool,
    /// When the model was last asked.
    asked_at: Option<Moment>,
    pub(super) stopping: Stopping,
    wake: Arc<Notify>,
    /// Held while a turn that was running at two crashes takes the step again that it was in.
    careful: Option<OwnedSemaphorePermit>,
}

/// Runs a session until it has nothing to do, is closed, or the host stops.
///
/// # Errors
///
/// What the store fails with. The session is then folded again.
pub async fn run(
    deps: Deps,
    conversation: Conversation,
    opening: Opening,
    live: LiveView,
    wake: Arc<Notify>,
    stopping: Stopping,
) -> Result<Exit, StoreError> {
    let mut actor = Actor::fold(deps, conversation, live, wake, stopping).await?;
    if let Some(exit) = actor.resume(opening).await? {
        return Ok(exit);
    }
    if actor.is_new() {
        actor.get_ready();
    }
    actor.serve().await
}

impl Actor {
    /// Claims the session and folds its journal.
    async fn fold(
        deps: Deps,
        conversation: Conversation,
        live: LiveView,
        wake: Arc<Notify>,
        stopping: Stopping,
    ) -> Result<Self, StoreError> {
        deps.ledger.open(&deps.store, conversation.id).await?;
        let session = deps.store.foreground(conversation.id).await?;
        let session = deps.store.claim_session(session.id).await?;
        let journal = deps.store.load(session.id).await?;
        let mut row = journal.session;
        if let Some(damage) = &journal.damage {
            tracing::error!(session = %row.id, from = damage.from_seq, rows = damage.rows, reason = damage.reason, "the end of a journal is damaged and was cut off");
            row = deps.store.cut_damaged(row.id, damage.from_seq).await?;
        }
        let mut state = State::new(row.id);
        state.head.next_seq = row.fold_from;
        let mut ended = None;
        for event in &journal.events {
            let body: Event = serde_json::from_str(&event.body)
                .map_err(|error| StoreError::Damaged(format!("event {} of session {}: {error}", event.seq, row.id)))?;
            let recorded = Recorded { seq: event.seq, turn: event.turn, at_ms: event.at, event: body };
            ended = ended_turn(&state, &recorded).or(ended);
            state.apply(&recorded);
        }
        if state.head.phase == Phase::Asking {
            // Nobody reads on in an answer that a failure of the store or of this host has cut.
            live.give_up();
        }
        live.folded(row.id, activity(&state), live_turn(&state), ended);
        let places = places_of(&deps, &conversation)?;
        let model = deps.model(&conversation.model);
        let caller = Caller {
            conversation: conversation.id,
            session: row.id,
            info: deps.session_info(row.kind, model.as_ref()),
            places,
            live,
            model: conversation.model.clone(),
            budget: turn::budget(&state.head, &deps.policy(&conversation.model, &conversation.model)),
        };
        Ok(Self {
            deps,
            conversation,
            row,
            state,
            caller,
            waiting: Vec::new(),
            look: true,
            asking: Asking::default(),
            preparing: Preparing::default(),
            calls: Calls::default(),
            alarms: HashMap::new(),
            riding: FuturesOrdered::new(),
            again: false,
            asked_at: None,
            stopping,
            wake,
            careful: None,
        })
    }

    /// Commands first, then what a crash left open; messages only after that.
    async fn resume(&mut self, opening: Opening) -> Result<Option<Exit>, StoreError> {
        for open in self.state.head.turn.iter().flat_map(Turn::running) {
            self.caller.live.call_began(&open.call.id, &open.call.name, &open.call.arguments, clock::now());
        }
        // Before anything commits: a command's event would hide how long the session was away.
        let seen = |last_seen: Option<Moment>| last_seen.unwrap_or(Moment(0)).max(self.state.head.last_at);
        let restarted = match opening {
            Opening::Restarted { last_seen, clean } => Some((seen(last_seen), clean)),
            Opening::SetBack => Some((Moment(0), true)),
            Opening::Woken => None,
        };
        if let Some(exit) = self.apply_commands().await? {
            return Ok(Some(exit));
        }
        self.look = true;
        let is_open = self.state.head.turn.is_some() || self.state.head.compaction.is_some();
        let Some((seen, clean)) = restarted.filter(|_| is_open) else { return Ok(None) };
        if let Some(exit) = self.wait_for_care().await? {
            return Ok(Some(exit));
        }
        let downtime = Duration::from_millis(clock::now().since(seen));
        self.feed(Input::Restarted { downtime, clean }).await?;
        self.look = true;
        Ok(None)
    }

    /// A turn that was running at two crashes may be what causes them: such turns take the step again that they were in,
    /// one at a time. Commands are applied while it waits.
    async fn wait_for_care(&mut self) -> Result<Option<Exit>, StoreError> {
        let is_risky = |state: &State| {
            matches!(state.head.phase, Phase::Asking | Phase::Calling | Phase::Compacting)
                && state.head.turn.as_ref().is_some_and(|turn| turn.attempt >= 2 && turn.cancel.is_none())
        };
        let gate = self.deps.careful.clone();
        let mut permit = std::pin::pin!(gate.acquire_owned());
        while is_risky(&self.state) && self.careful.is_none() {
            tokio::select! {
                acquired = &mut permit => self.careful = acquired.ok(),
                () = self.wake.notified() => {
                    self.look = true;
                    if let Some(exit) = self.apply_commands().await? {
                        return Ok(Some(exit));
                    }
                }
                () = self.stopping.wait() => return Ok(Some(Exit::Stopped)),
            }
        }
        Ok(None)
    }

    /// Has nobody said anything here yet? So it is after `/new`.
    fn is_new(&self) -> bool {
        self.state.context.items.is_empty() && self.waiting.is_empty()
    }

    /// While nothing runs, the component of the conversation's model may get ready for what is asked next.
    pub(super) fn get_ready(&mut self) {
        if self.state.head.phase == Phase::Idle
            && halt::since(&self.deps.workdir).is_none()
            && let Some(mut model) = self.deps.model(&self.conversation.model)
        {
            model.effort = self.conversation.effort.clone().or(model.effort);
            self.serve_with(&model);
            self.preparing.begin(&self.deps, &self.caller, model, &self.state);
        }
    }

    /// From now on calls run in the name of this model.
    fn serve_with(&mut self, model: &config::Model) {
        self.caller.info = self.deps.session_info(self.row.kind, Some(model));
        self.caller.model.clone_from(&model.alias);
    }

    async fn serve(&mut self) -> Result<Exit, StoreError> {
        loop {
            if let Some(exit) = self.look_at_inbox().await? {
                return Ok(exit);
            }
            // A history that is to be summarised before its cache expires stays until then.
            let awaits_cache = self.alarms.keys().any(|alarm| alarm.timer == Timer::CacheExpiring);
            let idle = matches!(self.state.head.phase, Phase::Idle | Phase::Parked)
                && self.asking.is_empty()
                && self.calls.is_empty()
                && !awaits_cache;
            let alarm = self.alarms.iter().min_by_key(|(_, at)| **at).map(|(alarm, at)| (*alarm, *at));
            tokio::select! {
                biased;
                () = self.stopping.wait() => return self.stop().await,
                () = self.wake.notified() => self.look = true,
                Some(ridden) = self.riding.next(), if !self.riding.is_empty() => self.ridden(ridden).await?,
                (call, ended) = self.calls.next() => self.feed(Input::CallEnded { call, ended }).await?,
                answered = self.asking.next() => self.answered(answered).await?,
                () = sleep_until(alarm.map(|(_, at)| at)) => {
                    if let Some((alarm, _)) = alarm {
                        self.alarms.remove(&alarm);
                        // What only saves money begins no more than a turn does while the operator has stopped everything.
                        if alarm.timer != Timer::CacheExpiring || halt::since(&self.deps.workdir).is_none() {
                            self.feed(Input::Alarm(alarm)).await?;
                        }
                    }
                }
                () = tokio::time::sleep(ACTOR_IDLE), if idle => {
                    self.settle_riding().await?;
                    return Ok(Exit::Idle);
                }
            }
        }
    }

    /// Commands, then messages. Says when the session is over.
    async fn look_at_inbox(&mut self) -> Result<Option<Exit>, StoreError> {
        while self.look {
            if let Some(exit) = self.apply_commands().await? {
                return Ok(Some(exit));
            }
            if self.waiting.is_empty() {
                continue;
            }
            if let Some(since) = halt::since(&self.deps.workdir) {
                self.tell_stopped(since).await?;
                self.caller.live.left(self.waiting.iter().map(|input| input.inbox).max());
                continue;
            }
            if self.state.head.turn.is_none() {
                self.refresh().await?;
            }
            let wake = self.wake_up().await;
            self.feed(wake).await?;
            let left = self.waiting.iter().map(|input| input.inbox).max();
            self.caller.live.left(left.filter(|_| self.state.head.phase == Phase::Parked));
        }
        Ok(None)
    }

    /// Reads the inbox and applies its commands; messages stay in `waiting`.
    async fn apply_commands(&mut self) -> Result<Option<Exit>, StoreError> {
        self.look = false;
        let rows = self.deps.store.open_inbox(self.conversation.id, None).await?;
        let (commands, messages) = inbox::split(rows);
        self.waiting = messages;
        for command in commands {
            self.command(command).await?;
            if self.state.head.phase == Phase::Closed {
                self.settle_riding().await?;
                return Ok(Some(Exit::Closed));
            }
        }
        Ok(None)
    }

    /// Takes what a channel changed about the conversation, its mounts above all, before the next turn.
    async fn refresh(&mut self) -> Result<(), StoreError> {
        let Some(now) = self.deps.store.conversation(self.conversation.id).await? else { return Ok(()) };
        if now.settings != self.conversation.settings {
            self.caller.places = places_of(&self.deps, &now)?;
            self.conversation.settings = now.settings;
        }
        Ok(())
    }

    async fn answered(&mut self, answered: Answered) -> Result<(), StoreError> {
        let Answered { question, model, result } = answered;
        let failure = result.as_ref().err().map(|failure| failure.kind);
        match &result {
            Ok(_) => self.deps.cooldowns.forget(&model),
            Err(failure) => {
                tracing::info!(session = %self.row.id, kind = ?failure.kind, message = failure.message, "a model request failed");
            }
        }
        let input = match (question, result) {
            (Question::Turn(step), Ok((completion, classes))) => Input::Answer { step, completion, classes },
            (Question::Turn(step), Err(failure)) => Input::Failed { step, failure },
            (Question::Summary(id), Ok((completion, _))) => Input::Summarised { id, completion },
            (Question::Summary(id), Err(failure)) => Input::NotSummarised { id, failure },
        };
        // The model that was asked is charged, whatever `/model` said in the meantime.
        let step = self.decide_for(&model, input);
        let of_turn = failure.filter(|_| matches!(question, Question::Turn(_)));
        if matches!(question, Question::Turn(_)) {
            self.again = failure.is_some();
        }
        if of_turn.is_some() {
            self.caller.live.give_up();
        }
        let look = self.take(step).await?;
        self.caller.live.failure(of_turn.filter(|_| self.state.head.phase == Phase::Parked));
        if look {
            let wake = self.wake_up().await;
            self.feed(wake).await?;
        }
        Ok(())
    }

    /// One step: decide, commit, remember, act. Steps that follow at once are taken too.
    pub(super) async fn feed(&mut self, input: Input) -> Result<(), StoreError> {
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let step = self.decide(input);
            if self.take(step).await? {
                next = Some(self.wake_up().await);
            }
        }
        Ok(())
    }

    /// The input for messages that wait; a turn that it begins says what has changed around the model.
    pub(super) async fn wake_up(&mut self) -> Input {
        if self.state.head.turn.is_some() {
            return Input::Wake { notices: Vec::new(), surroundings: None };
        }
        let info = self.deps.session_info(self.row.kind, self.deps.model(&self.conversation.model).as_ref());
        let announced = self.state.head.announced.get(notices::TOOLS).map(String::as_str);
        let catalog = self.deps.plugins.tools_now(&info).await;
        let surroundings = catalog.as_ref().map(|catalog| asking::surroundings(&self.deps, &self.caller, catalog));
        Input::Wake { notices: catalog.map(|catalog| notices::tools(&catalog, announced)).into_iter().collect(), surroundings }
    }

    /// What `step` says to an input, here and now.
    pub(super) fn decide(&self, input: Input) -> Step {
        self.decide_for(&self.conversation.model, input)
    }

    fn decide_for(&self, model: &str, input: Input) -> Step {
        let now = clock::now();
        let policy = self.deps.policy(&self.conversation.model, model);
        let facts = Facts {
            boot: self.deps.boot,
            now,
            // While everything is stopped nobody is to see what waits: nothing can begin with it.
            waiting: if halt::since(&self.deps.workdir).is_some() { Vec::new() } else { self.waiting.clone() },
            shown: self.caller.live.has_shown(),
            asked_at: self.asked_at,
            day: self.deps.ledger.day(now),
            conversation: self.deps.ledger.conversation(self.conversation.id),
            cooling: self.deps.cooldowns.cooling(&policy.chain, now),
            stopping: self.stopping.is_stopping(),
        };
        turn::step(&self.state, &policy, &facts, input)
    }

    /// Commits a step, remembers it and acts on it. True: look at the inbox again.
    pub(super) async fn take(&mut self, mut step: Step) -> Result<bool, StoreError> {
        let mut ended = None;
        self.capture(&mut step).await?;
        if !step.events.is_empty() || step.rows != turn::Rows::default() {
            let now = clock::now();
            let rides = step.events.iter().all(|recorded| matches!(recorded.event, Event::CallEnded { .. }))
                && !step.effects.iter().any(|effect| matches!(effect, Effect::Start(_)))
                && step.rows == turn::Rows { phase: step.rows.phase, ..turn::Rows::default() };
            if crash::late_intent() {
                self.start_too_early(&step).await;
            }
            self.commit(&step, now, rides).await?;
            self.log(&step);
            let taken = [&step.rows.taken, &step.rows.done, &step.rows.aside];
            self.waiting.retain(|input| !taken.iter().any(|rows| rows.contains(&input.inbox)));
            for row in &step.rows.usage {
                self.deps.ledger.add(self.conversation.id, now, &row.usage);
            }
            // The first thing that happens after the resumption: the step that the crashes were in has passed.
            if !step.events.is_empty() && !step.events.iter().any(|recorded| matches!(recorded.event, Event::TurnResumed { .. })) {
                self.careful = None;
            }
            for recorded in &step.events {
                ended = ended_turn(&self.state, recorded).or(ended);
                self.state.apply(recorded);
                if let Event::CallEnded { call, outcome, .. } = &recorded.event {
                    self.caller.live.call_closed(call, *outcome == Outcome::Ok, recorded.at_ms);
                }
            }
        }
        let policy = self.deps.policy(&self.conversation.model, &self.conversation.model);
        self.caller.budget = turn::budget(&self.state.head, &policy);
        self.show(ended);
        if step.events.iter().any(|recorded| matches!(recorded.event, Event::Compacted { .. })) {
            self.get_ready();
        }
        let mut look = false;
        for effect in step.effects {
            look |= self.act(effect);
        }
        Ok(look)
    }

    /// Keeps what a model can be shown of the files that come with this step's messages, right before the commit that names it.
    async fn capture(&mut self, step: &mut Step) -> Result<(), StoreError> {
        let workspace = self.caller.places.workspace.clone();
        loop {
            match capture::inputs(&self.deps.store, &workspace, &mut step.events).await {
                Err(error) if error.passes() && !self.stopping.is_stopping() => self.wait_for_room(&error).await,
                other => return other,
            }
        }
    }

    /// What must never happen, for the test that somebody would notice: calls run before it is committed that they do.
    async fn start_too_early(&mut self, step: &Step) {
        for effect in &step.effects {
            if let Effect::Start(calls) = effect {
                calls.iter().for_each(|start| self.calls.start(&self.deps, &self.caller, start.clone()));
                self.calls.run_to_end().await;
            }
        }
    }

    /// Acts on one effect. True: look at the inbox again.
    fn act(&mut self, effect: Effect) -> bool {
        match effect {
            Effect::Ask { step } => self.ask(Question::Turn(step)),
            Effect::Summarise { id } => self.ask(Question::Summary(id)),
            Effect::Abort => {
                self.again = true;
                self.asking.abort(self.grace(STOP_GRACE));
            }
            Effect::Start(calls) => {
                for start in calls {
                    self.calls.start(&self.deps, &self.caller, start);
                }
            }
            Effect::Stop { which, grace } => self.calls.stop(which, self.grace(grace)),
            Effect::Arm { alarm, after } => {
                let after = match alarm.timer {
                    Timer::Retry { .. } | Timer::Summary { .. } => after + jitter(after),
                    _ => after,
                };
                self.alarms.retain(|known, _| known.turn == alarm.turn);
                self.alarms.entry(alarm).or_insert_with(|| Instant::now() + after);
            }
            Effect::Cool { model, until } => {
                tracing::warn!(session = %self.row.id, model, until = until.utc(), "a model is not asked for a while");
                self.deps.cooldowns.cool(&model, until);
            }
            Effect::Show => {}
            Effect::Wake => return true,
        }
        false
    }

    fn ask(&mut self, question: Question) {
        let primary = &self.conversation.model;
        let chain = self.deps.chain(primary);
        let skipped = self.state.head.turn.as_ref().map_or(&[][..], |turn| &turn.skipped);
        let asked = fallback::choose(&chain, skipped, &self.deps.cooldowns.cooling(&chain, clock::now())).unwrap_or(primary);
        let stand_in = (asked != primary).then(|| StandIn { model: asked.to_owned(), instead_of: primary.clone() });
        self.caller.live.stand_in(stand_in);
        match self.deps.model(asked) {
            Some(mut model) => {
                model.effort = self.conversation.effort.clone().or(model.effort);
                self.serve_with(&model);
                self.preparing.end();
                self.asked_at = Some(clock::now());
                if matches!(question, Question::Turn(_)) {
                    self.caller.live.ask(self.again);
                }
                self.asking.ask(&self.deps, &self.caller, model, &self.state, question);
            }
            None => self.asking.fail(question, asked, no_model(asked)),
        }
    }

    fn grace(&self, grace: Duration) -> Duration {
        if self.stopping.is_stopping() { grace.min(SHUTDOWN_GRACE) } else { grace }
    }

    /// What a watcher sees of the state, and of the turn that has just ended.
    fn show(&self, ended: Option<EndedTurn>) {
        self.caller.live.turn(activity(&self.state), live_turn(&self.state), ended);
    }

    /// The host stops: what runs is stopped, and what it returns in time is still remembered.
    async fn stop(&mut self) -> Result<Exit, StoreError> {
        self.feed(Input::Shutdown).await?;
        let deadline = Instant::now() + CANCEL_GRACE;
        while !(self.calls.is_empty() && self.asking.is_empty()) {
            tokio::select! {
                (call, ended) = self.calls.next() => self.feed(Input::CallEnded { call, ended }).await?,
                answered = self.asking.next() => {
                    // An aborted request is asked again after the restart.
                    if answered.result.is_ok() {
                        self.answered(answered).await?;
                    }
                }
                () = tokio::time::sleep_until(deadline) => break,
            }
        }
        self.settle_riding().await?;
        Ok(Exit::Stopped)
    }
}

/// What the session is doing, for who watches.
fn activity(state: &State) -> Activity {
    match state.head.phase {
        Phase::Idle | Phase::Closed => Activity::Idle,
        Phase::Asking => Activity::Asking,
        Phase::Compacting if state.head.compaction.as_ref().is_some_and(|compaction| compaction.why == CompactReason::Idle) => {
            Activity::Tidying
        }
        Phase::Compacting => Activity::Compacting,
        Phase::Calling => Activity::Calling,
        Phase::Parked => Activity::Parked,
    }
}

/// The turn that runs or is parked.
fn live_turn(state: &State) -> Option<LiveTurn> {
    let turn = state.head.turn.as_ref()?;
    let key = TurnKey { session: state.head.session, turn: turn.id };
    Some(LiveTurn { key, began: turn.began, calls: turn.calls, tries: turn.tries, parked: turn.parked })
}

/// The turn of `state` that this event ends.
fn ended_turn(state: &State, recorded: &Recorded) -> Option<EndedTurn> {
    let Event::TurnEnded { ending, .. } = recorded.event else { return None };
    Some(EndedTurn { turn: live_turn(state)?, ending, at: recorded.at_ms })
}

/// The directories of a conversation. Mounts that cannot be had, or were replaced by a link since they were allowed, are left
/// out: the conversation goes on without them.
fn places_of(deps: &Deps, conversation: &Conversation) -> Result<Places, StoreError> {
    let prepare = |mounts| places::prepare(&deps.workdir, conversation.id, mounts);
    let (there, gone): (Vec<_>, Vec<_>) = places::mounts(&conversation.settings).into_iter().partition(is_there);
    for mount in gone {
        tracing::warn!(conversation = %conversation.id, path = %mount.path.display(), "a mounted directory is gone and is left out");
    }
    prepare(there)
        .or_else(|error| {
            tracing::error!(conversation = %conversation.id, %error, "the mounts of a conversation cannot be prepared and are left out");
            prepare(Vec::new())
        })
        .map_err(|error| StoreError::Io {
            action: "prepare",
            path: deps.workdir.workspace(conversation.id).display().to_string(),
            reason: error.to_string(),
        })
}

fn is_there(mount: &Mount) -> bool {
    mount.path.is_dir() && mount.path.canonicalize().is_ok_and(|real| real == mount.path)
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Up to a quarter of `span`, so that many sessions do not ask again at the same moment.
fn jitter(span: Duration) -> Duration {
    span.mul_f64((RandomState::new().hash_one(0u8) % 1000) as f64 / 4000.0)
}
