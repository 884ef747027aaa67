//! People and groups that nobody has decided about: owners are asked, and what they answer is done.

use tokio::time::Instant;
use uuid::Uuid;

use super::Telegram;
use crate::channels::telegram::render::literal;
use crate::channels::telegram::update::Button as Pressed;
use crate::clock;
use crate::commands::Button;
use crate::limits::{REQUEST_CARDS, REQUEST_CARDS_TIME, REQUESTS};
use crate::store::{Request, Role, StoreError};

/// What a button about access begins with. No message can say it: only what buttons carry is looked at for it.
const ACCESS: &str = "access:";

impl Telegram {
    /// Asks the owners about a person or a group, once, and not too often: the others are listed by `stellaclaw pair list`.
    pub(in crate::channels::telegram) async fn ask_about(&self, subject: i64, name: &str, what: &str) -> Result<(), StoreError> {
        let owners: Vec<i64> = {
            let state = self.state();
            // More are not noted before somebody decides: a flood of strangers costs the store nothing.
            if state.requested.contains(&subject) || state.requested.len() as u64 >= 2 * REQUESTS {
                return Ok(());
            }
            state.access.owners().collect()
        };
        if owners.is_empty() {
            return Ok(());
        }
        let key = Uuid::new_v4().simple().to_string();
        let request = Request { subject: subject.to_string(), key: key.clone(), name: name.to_owned(), asked_at: clock::now() };
        // One that is known may have been noted just before a kill: the question has its key, and is asked once.
        let key = match self.0.store.at(|| format!("request@{subject}")).request(&self.0.name, request).await? {
            true => Some(key),
            false => self.requested(subject).await?,
        };
        if let Some(key) = key.filter(|_| self.may_ask()) {
            for owner in owners {
                self.notify(owner, &format!("{ACCESS}{key}.{owner}"), &literal(what), buttons(&key)).await?;
            }
        }
        self.state().requested.insert(subject);
        Ok(())
    }

    /// The key of the request about somebody, if there is one.
    async fn requested(&self, subject: i64) -> Result<Option<String>, StoreError> {
        let requests = self.0.store.requests(&self.0.name).await?;
        Ok(requests.into_iter().find(|request| request.subject == subject.to_string()).map(|request| request.key))
    }

    /// Asks an owner again, who could not be written to before: a bot writes only to who has written to it.
    pub(in crate::channels::telegram) async fn ask_again(&self, owner: i64) -> Result<(), StoreError> {
        let requests = self.0.store.requests(&self.0.name).await?;
        for Request { subject, key, name, .. } in requests.into_iter().rev().take(REQUEST_CARDS).rev() {
            let what = format!("{name} (number {subject}) would like to use this bot. May they?");
            self.notify(owner, &format!("{ACCESS}{key}.{owner}.again"), &literal(&what), buttons(&key)).await?;
        }
        Ok(())
    }

    /// Bounds how often owners are asked.
    fn may_ask(&self) -> bool {
        let (mut state, now) = (self.state(), Instant::now());
        let may = state.asked.has_room(REQUEST_CARDS, REQUEST_CARDS_TIME, now);
        if may {
            state.asked.add(now);
        }
        may
    }

    /// Is it a button about access? Then it is answered here, whoever pressed it.
    pub(in crate::channels::telegram) fn is_about_access(data: &str) -> bool {
        data.starts_with(ACCESS)
    }

    /// Decides what an owner's button says, and then shows it. Whoever else pressed one decides nothing.
    pub(in crate::channels::telegram) async fn decide(&self, pressed: &Pressed) -> Result<(), StoreError> {
        let by_owner = self.state().access.is_owner(pressed.from.id) && pressed.chat.id == pressed.from.id;
        let answer = pressed.data.strip_prefix(ACCESS).and_then(|rest| rest.split_once(':')).filter(|_| by_owner);
        let Some((answer @ ("yes" | "no"), key)) = answer else { return Ok(()) };
        let requests = self.0.store.requests(&self.0.name).await?;
        let Some(request) = requests.into_iter().find(|request| request.key == key) else {
            self.answer(&pressed.query_id, Some("That was decided before."));
            return Ok(());
        };
        let allowed = answer == "yes";
        // Before the decision, which answers the request: a crash between the two makes it neither lost nor said twice.
        if let Some(person) = request.subject.parse().ok().filter(|subject: &i64| allowed && *subject > 0) {
            self.notify(person, &format!("welcome.{key}"), "You may talk to this bot now.", Vec::new()).await?;
        }
        let person = self.settle_now(&request.subject, &request.name, allowed).await?;
        let said = match person.role {
            Role::Rejected => format!("{} is ignored.", person.name),
            Role::Group => format!("Those who may use this bot may do so in “{}” now, too.", person.name),
            Role::Owner | Role::Member => format!("{} may talk to this bot now.", person.name),
        };
        self.answer(&pressed.query_id, Some(&said));
        self.show_decision(pressed.from.id, pressed.message_id, said);
        Ok(())
    }
}

/// What can be answered about a request.
fn buttons(key: &str) -> Vec<Button> {
    [("Allow", "yes"), ("Ignore", "no")].map(|(label, answer)| Button::new(label, format!("{ACCESS}{answer}:{key}"))).into()
}
