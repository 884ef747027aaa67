//! People and groups that nobody has decided about: owners are asked, and what they answer is done.

use tokio::time::Instant;
use uuid::Uuid;

use super::asking::Admission;
use super::{Telegram, card};
use crate::channels::telegram::update::Button as Pressed;
use crate::clock;
use crate::commands::Button;
use crate::limits::{REQUEST_CARDS, REQUEST_TIME, REQUESTS, REQUESTS_NEW};
use crate::store::{Noted, Request, StoreError};

/// What a button about access begins with. No message can say it: only what buttons carry is looked at for it.
const ACCESS: &str = "access:";
/// To whoever presses a button about somebody whom the configuration names.
const CONFIGURED: &str = "Nothing was changed: the configuration names them (channels.telegram).";
/// Requests among the parts of the host: it wants a look when there are more than are kept.
pub const REQUESTS_PART: &str = "telegram requests";

impl Telegram {
    /// Asks the owners about a person or a group, once, and not too often: the others are listed by `stellaclaw pair list`.
    /// `card`: what they read.
    pub(in crate::channels::telegram) async fn ask_about(&self, subject: i64, name: &str, card: &str) -> Result<(), StoreError> {
        let now = Instant::now();
        let (owners, admission) = {
            let mut state = self.state();
            (state.access.owners().collect::<Vec<_>>(), state.asking.admits(subject, now))
        };
        if owners.is_empty() || admission == Admission::Asked {
            return Ok(());
        }
        if admission == Admission::Crowded {
            self.crowd();
            return Ok(());
        }
        // One that is known may have been noted just before a kill: the question has its key, and is asked once.
        let request = match self.requested(subject).await? {
            Some(request) => Some(request),
            None => self.note(subject, name).await?,
        };
        if let Some(Request { key, .. }) = &request {
            self.show_card(key, subject, &owners, card).await?;
        }
        let left = request.and_then(|request| request.left(clock::now())).unwrap_or(REQUEST_TIME);
        self.state().asking.open(subject, left, now);
        Ok(())
    }

    /// Shows the question to the owners who were not shown it; where all were, it takes no other's place.
    async fn show_card(&self, key: &str, subject: i64, owners: &[i64], card: &str) -> Result<(), StoreError> {
        let mut left = Vec::new();
        for owner in owners {
            let asked = format!("{ACCESS}{key}.{owner}");
            if !self.0.store.was_told(format!("{}.{asked}", self.0.name)).await? {
                left.push((*owner, asked));
            }
        }
        if left.is_empty() || !self.state().asking.shows(subject, Instant::now()) {
            return Ok(());
        }
        for (owner, asked) in left {
            self.notify(owner, &asked, card, buttons(key, subject)).await?;
        }
        Ok(())
    }

    /// A new request. None: it is decided already.
    async fn note(&self, subject: i64, name: &str) -> Result<Option<Request>, StoreError> {
        let key = Uuid::new_v4().simple().to_string();
        let request = Request { subject: subject.to_string(), key, name: name.to_owned(), asked_at: clock::now() };
        let noted = self.0.store.at(|| format!("request@{subject}")).request(&self.0.name, request.clone()).await?;
        if noted == Noted::Before {
            return Ok(None);
        }
        self.state().asking.note(subject, Instant::now());
        if let Noted::InPlaceOf(Request { subject, name, .. }) = noted {
            tracing::warn!(subject, name, "a request made room for a newer one: too many are open");
            if let Ok(subject) = subject.parse() {
                self.state().asking.close(subject);
            }
            self.crowd();
        }
        Ok(Some(request))
    }

    /// More ask than can be kept: a person should look.
    fn crowd(&self) {
        self.state().asking.crowd();
        let reason = format!(
            "more ask to use the bot than are noted ({REQUESTS_NEW} people and as many groups within an hour, {REQUESTS} in all): some were left out, or made room; \
             `stellaclaw pair list` shows the others, `stellaclaw pair approve NUMBER` lets in whom you know"
        );
        self.host().supervisor.health().warned(REQUESTS_PART, &reason);
    }

    /// Somebody decides about others, and so knows what there is to decide.
    pub(super) fn is_looked_after(&self) {
        if self.state().asking.is_looked_after() {
            self.host().supervisor.health().ok(REQUESTS_PART);
        }
    }

    /// The request about somebody, if one is open.
    pub(in crate::channels::telegram) async fn requested(&self, subject: i64) -> Result<Option<Request>, StoreError> {
        let (requests, now) = (self.0.store.requests(&self.0.name).await?, clock::now());
        Ok(requests.into_iter().find(|request| request.subject == subject.to_string() && request.left(now).is_some()))
    }

    /// Nobody need be asked any more about those who may talk, whoever has let them in.
    pub(super) async fn withdraw_answered(&self) -> Result<(), StoreError> {
        let mut subjects: Vec<_> = self.0.store.requests(&self.0.name).await?.into_iter().map(|request| request.subject).collect();
        {
            let access = &self.state().access;
            subjects.retain(|subject| subject.parse().is_ok_and(|id| access.is_known(id) || access.is_our_group(id)));
        }
        if subjects.is_empty() { Ok(()) } else { self.0.store.withdraw_requests(&self.0.name, subjects).await }
    }

    /// Asks an owner again who is back: a bot writes only to who has written to it, and has not blocked it since. Before their chat
    /// is opened again, which ends the absence.
    pub(in crate::channels::telegram) async fn ask_who_is_back(&self, chat: i64) -> Result<(), StoreError> {
        match self.owner_away_since(chat).await? {
            Some(since) => self.ask_again(chat, &since.0.to_string()).await,
            None => Ok(()),
        }
    }

    /// Asks an owner again, once for each `occasion`.
    pub(super) async fn ask_again(&self, owner: i64, occasion: &str) -> Result<(), StoreError> {
        let requests = self.0.store.requests(&self.0.name).await?;
        for Request { subject, key, name, .. } in requests.into_iter().rev().take(REQUEST_CARDS).rev() {
            let Ok(subject) = subject.parse() else { continue };
            self.notify(owner, &format!("{ACCESS}{key}.{owner}.again.{occasion}"), &card::again(subject, &name), buttons(&key, subject))
                .await?;
        }
        Ok(())
    }

    /// Is it a button about access? Then it is answered here, whoever pressed it.
    pub(in crate::channels::telegram) fn is_about_access(data: &str) -> bool {
        data.starts_with(ACCESS)
    }

    /// Decides what an owner's button says, and then shows it. Whoever else pressed one decides nothing.
    pub(in crate::channels::telegram) async fn decide(&self, pressed: &Pressed) -> Result<(), StoreError> {
        let by_owner = self.state().access.is_owner(pressed.from.id) && pressed.chat.id == pressed.from.id;
        let answer = pressed.data.strip_prefix(ACCESS).and_then(|rest| rest.split_once(':')).filter(|_| by_owner);
        let Some((answer @ ("yes" | "no"), about)) = answer else { return Ok(()) };
        let (key, subject) = about.split_once(':').unwrap_or((about, ""));
        let request = self.0.store.requests(&self.0.name).await?.into_iter().find(|request| request.key == key);
        let about = request.as_ref().map_or(subject, |request| &request.subject).parse();
        if let Some(number) = about.ok().filter(|number| self.settings().list_of(*number).is_some()) {
            self.answer(&pressed.query_id, Some(CONFIGURED));
            self.show_decision(pressed.from.id, pressed.message_id, card::configured(number));
            return Ok(());
        }
        let Some(request) = request else {
            self.answer(&pressed.query_id, Some("This question is not open any more."));
            // It was decided elsewhere, or before a kill: the question has its buttons still.
            if let Some(person) = self.decided(subject).await? {
                self.show_decision(pressed.from.id, pressed.message_id, card::decided(&person));
            }
            return Ok(());
        };
        let allowed = answer == "yes";
        // Before the decision, which answers the request: a crash between the two makes it neither lost nor said twice.
        if let Some(person) = request.subject.parse().ok().filter(|subject: &i64| allowed && *subject > 0) {
            self.notify(person, &format!("welcome.{key}"), "You may talk to this bot now.", Vec::new()).await?;
        }
        let person = self.settle_now(&request.subject, &request.name, allowed).await?;
        self.answer(&pressed.query_id, Some(if allowed { "Allowed." } else { "Ignored." }));
        self.show_decision(pressed.from.id, pressed.message_id, card::decided(&person));
        Ok(())
    }
}

/// What can be answered about a request. The key decides; the number is for showing what was decided when it is not open any more.
fn buttons(key: &str, subject: i64) -> Vec<Button> {
    [("Allow", "yes"), ("Ignore", "no")].map(|(label, answer)| Button::new(label, format!("{ACCESS}{answer}:{key}:{subject}"))).into()
}
