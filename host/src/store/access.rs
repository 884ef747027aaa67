//! Who may talk on a channel, who has asked to, and who was only counted. What follows from a role is the channel's business.

use std::time::Duration;

use rusqlite::Row;
use serde::{Deserialize, Serialize};

use super::sql::{self, int, uint, words};
use super::{NewOutbox, Store, StoreError, Tx, outbox};
use crate::clock::Moment;
use crate::limits;

/// What a person or group may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Talks, and decides about others.
    Owner,
    /// Talks.
    Member,
    /// A group in which owners and members may talk.
    Group,
    /// Was turned down and is not asked about again.
    Rejected,
}

/// Somebody who was decided about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The channel's number for the person or group, as text.
    pub id: String,
    pub role: Role,
    /// As it was when it was decided; for people to read, never for deciding.
    pub name: String,
    pub since: Moment,
}

/// Somebody about whom an owner was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// As in [`Person::id`].
    pub subject: String,
    /// What a button carries.
    pub key: String,
    pub name: String,
    pub asked_at: Moment,
}

impl Request {
    /// For how long it is open still; none: it has ended, whether or not it was removed already.
    #[must_use]
    pub fn left(&self, now: Moment) -> Option<Duration> {
        limits::REQUEST_TIME.checked_sub(Duration::from_millis(now.since(self.asked_at)))
    }
}

/// What became of a new request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noted {
    Noted,
    /// As many as can be open were: this one, the oldest, is not any more.
    InPlaceOf(Request),
    /// There is one about the same subject, or it was decided.
    Before,
}

/// Somebody unknown, to be counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    pub channel: String,
    pub id: String,
    /// What they sent, in numbers.
    pub count: u64,
}

/// Somebody unknown, counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    pub id: String,
    pub count: u64,
}

words!(Role { Owner = "owner", Member = "member", Group = "group", Rejected = "rejected" });

/// Stands for all strangers over [`limits::STRANGERS`].
const OTHERS: &str = "others";

impl Store {
    /// Everybody who was decided about, in order of time.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn people(&self, channel: &str) -> Result<Vec<Person>, StoreError> {
        let channel = channel.to_owned();
        let query = "SELECT user_id, role, name, since FROM people WHERE channel = ?1 ORDER BY since, user_id";
        self.read(move |conn| sql::all(conn, query, [channel], person_row)).await
    }

    /// Decides about somebody. A request about them is answered by it.
    ///
    /// # Errors
    /// Those of any write.
    pub async fn set_person(&self, channel: &str, person: Person) -> Result<(), StoreError> {
        let channel = channel.to_owned();
        self.write(128, move |tx| set_person(tx, &channel, &person)).await
    }

    /// Makes somebody the owner if there is none, and tells them so in the same commit. False: there is one.
    ///
    /// # Errors
    /// Those of any write.
    pub async fn set_first_owner(&self, channel: &str, person: Person, welcome: NewOutbox) -> Result<bool, StoreError> {
        let channel = channel.to_owned();
        let kept = self.keep(vec![welcome.need()]).await?;
        self.write(128 + welcome.bytes(), move |tx| {
            let owner = "SELECT 1 FROM people WHERE channel = ?1 AND role = 'owner' LIMIT 1";
            if sql::one(tx.conn, owner, [&channel], |_| Ok(()))?.is_some() {
                return Ok(false);
            }
            set_person(tx, &channel, &person)?;
            outbox::insert_all(tx, &[welcome], &kept, person.since).map(|_| true)
        })
        .await
    }

    /// Forgets what was decided about somebody. False: nothing was.
    ///
    /// # Errors
    /// Those of any write.
    pub async fn remove_person(&self, channel: &str, id: &str) -> Result<bool, StoreError> {
        let (channel, id) = (channel.to_owned(), id.to_owned());
        self.write(64, move |tx| Ok(sql::execute(tx.conn, "DELETE FROM people WHERE channel = ?1 AND user_id = ?2", (&channel, &id))? > 0))
            .await
    }

    /// Notes that an owner is to be asked about somebody. Of [`limits::REQUESTS`] the oldest makes room: one about a person, if there
    /// is one, since for a group somebody asks who may talk.
    ///
    /// # Errors
    /// Those of any write.
    pub async fn request(&self, channel: &str, request: Request) -> Result<Noted, StoreError> {
        let channel = channel.to_owned();
        self.write(128, move |tx| note(tx, &channel, &request)).await
    }

    /// Requests that nobody has answered, in order of time.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn requests(&self, channel: &str) -> Result<Vec<Request>, StoreError> {
        let channel = channel.to_owned();
        let query = "SELECT subject, key, name, asked_at FROM requests WHERE channel = ?1 ORDER BY asked_at, subject";
        self.read(move |conn| sql::all(conn, query, [channel], request_row)).await
    }

    /// Nobody need be asked about these any more, though nothing was decided about them here.
    ///
    /// # Errors
    /// Those of any write.
    pub async fn withdraw_requests(&self, channel: &str, subjects: Vec<String>) -> Result<(), StoreError> {
        let channel = channel.to_owned();
        self.write(128, move |tx| subjects.iter().try_for_each(|subject| withdraw(tx, &channel, subject))).await
    }

    /// Counters of those who are not known, the most frequent first.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn strangers(&self, channel: &str) -> Result<Vec<Counted>, StoreError> {
        let channel = channel.to_owned();
        let query = "SELECT user_id, count FROM strangers WHERE channel = ?1 ORDER BY count DESC, user_id";
        self.read(move |conn| sql::all(conn, query, [channel], |row| Ok(Counted { id: row.get(0)?, count: uint(row.get(1)?) }))).await
    }

    /// Notes that a stranger who was counted is told once that they are one. False: they were told before.
    ///
    /// # Errors
    /// Those of any write.
    pub async fn hint(&self, channel: &str, stranger: &str, at: Moment) -> Result<bool, StoreError> {
        let (channel, stranger) = (channel.to_owned(), stranger.to_owned());
        self.write(64, move |tx| {
            let query = "UPDATE strangers SET hinted_at = ?3 WHERE channel = ?1 AND user_id = ?2 AND hinted_at IS NULL";
            Ok(sql::execute(tx.conn, query, (&channel, &stranger, at.0))? > 0)
        })
        .await
    }
}

fn person_row(row: &Row<'_>) -> rusqlite::Result<Person> {
    Ok(Person { id: row.get(0)?, role: row.get(1)?, name: row.get(2)?, since: Moment(row.get(3)?) })
}

fn request_row(row: &Row<'_>) -> rusqlite::Result<Request> {
    Ok(Request { subject: row.get(0)?, key: row.get(1)?, name: row.get(2)?, asked_at: Moment(row.get(3)?) })
}

fn set_person(tx: &mut Tx<'_>, channel: &str, person: &Person) -> Result<(), StoreError> {
    let query = "INSERT INTO people (channel, user_id, role, name, since) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (channel, user_id) DO UPDATE SET role = ?3, name = ?4, since = ?5";
    sql::execute(tx.conn, query, (channel, &person.id, person.role, &person.name, person.since.0))?;
    withdraw(tx, channel, &person.id)?;
    sql::execute(tx.conn, "DELETE FROM strangers WHERE channel = ?1 AND user_id = ?2", (channel, &person.id)).map(drop)
}

fn withdraw(tx: &mut Tx<'_>, channel: &str, subject: &str) -> Result<(), StoreError> {
    sql::execute(tx.conn, "DELETE FROM requests WHERE channel = ?1 AND subject = ?2", (channel, subject)).map(drop)
}

fn note(tx: &mut Tx<'_>, channel: &str, request: &Request) -> Result<Noted, StoreError> {
    let known = "SELECT 1 FROM people WHERE channel = ?1 AND user_id = ?2
        UNION ALL SELECT 1 FROM requests WHERE channel = ?1 AND subject = ?2";
    let Request { subject, key, name, asked_at } = request;
    // One that has ended stands in nobody's way, also before it is pruned.
    let ended = "SELECT subject, key, name, asked_at FROM requests WHERE channel = ?1 AND subject = ?2";
    if sql::one(tx.conn, ended, (channel, subject), request_row)?.is_some_and(|before| before.left(*asked_at).is_none()) {
        withdraw(tx, channel, subject)?;
    }
    if sql::one(tx.conn, known, (channel, subject), |_| Ok(()))?.is_some() {
        return Ok(Noted::Before);
    }
    let oldest = "SELECT subject, key, name, asked_at FROM requests WHERE channel = ?1
        AND (SELECT count(*) FROM requests WHERE channel = ?1) >= ?2 ORDER BY subject LIKE '-%', asked_at, subject LIMIT 1";
    let oldest = sql::one(tx.conn, oldest, (channel, int(limits::REQUESTS)), request_row)?;
    if let Some(oldest) = &oldest {
        withdraw(tx, channel, &oldest.subject)?;
    }
    let new = "INSERT INTO requests (channel, subject, key, name, asked_at) VALUES (?1, ?2, ?3, ?4, ?5)";
    sql::execute(tx.conn, new, (channel, subject, key, name, asked_at.0))?;
    Ok(oldest.map_or(Noted::Noted, Noted::InPlaceOf))
}

/// Requests that nobody has answered in their time have ended.
pub(super) fn end_requests(tx: &mut Tx<'_>, before: Moment) -> Result<u64, StoreError> {
    let query = "DELETE FROM requests WHERE (channel, subject) IN (SELECT channel, subject FROM requests WHERE asked_at < ?1 LIMIT ?2)";
    Ok(sql::execute(tx.conn, query, (before.0, int(limits::PRUNE_ROWS as u64)))? as u64)
}

/// So many more for each. The table is bounded: those for whom there is no place share one row.
pub(super) fn count_strangers(tx: &mut Tx<'_>, strangers: &[Stranger]) -> Result<(), StoreError> {
    let known = "UPDATE strangers SET count = count + ?3 WHERE channel = ?1 AND user_id = ?2";
    let new = "INSERT INTO strangers (channel, user_id, count) SELECT ?1, ?2, ?3
        WHERE (SELECT count(*) FROM strangers WHERE channel = ?1) < ?4";
    let others = "INSERT INTO strangers (channel, user_id, count) VALUES (?1, ?2, ?3)
        ON CONFLICT (channel, user_id) DO UPDATE SET count = count + ?3";
    for Stranger { channel, id, count } in strangers {
        let more = int(*count);
        let counted = sql::execute(tx.conn, known, (channel, id, more))? > 0
            || sql::execute(tx.conn, new, (channel, id, more, int(limits::STRANGERS)))? > 0;
        if !counted {
            sql::execute(tx.conn, others, (channel, OTHERS, more))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{AT, Fixture};
    use crate::store::{Accept, OutboxKind};

    const CHANNEL: &str = "tg:1";

    fn person(id: &str, role: Role) -> Person {
        Person { id: id.into(), role, name: format!("P{id}"), since: AT }
    }

    fn asked(subject: &str) -> Request {
        Request { subject: subject.into(), key: format!("k{subject}"), name: "N".into(), asked_at: AT }
    }

    #[tokio::test]
    async fn there_is_one_first_owner_and_a_decision_answers_its_request() {
        let Fixture { store, folder: _folder, conversation, .. } = Fixture::new().await;
        let welcome = |key: &str| NewOutbox::new(key, conversation, OutboxKind::Notice, "Welcome.");
        assert_eq!(store.request(CHANNEL, asked("8")).await.unwrap(), Noted::Noted);
        assert_eq!(store.request(CHANNEL, asked("8")).await.unwrap(), Noted::Before, "one request per subject");
        assert!(store.set_first_owner(CHANNEL, person("7", Role::Owner), welcome("7")).await.unwrap());
        assert!(!store.set_first_owner(CHANNEL, person("9", Role::Owner), welcome("9")).await.unwrap());
        assert!(store.set_first_owner("tg:2", person("9", Role::Owner), welcome("tg:2")).await.unwrap(), "each channel has its own");
        let told: Vec<_> = store.pending_outbox(conversation, 9).await.unwrap().into_iter().map(|row| row.key).collect();
        assert_eq!(told, ["7", "tg:2"], "who did not become it is told nothing");
        store.set_person(CHANNEL, person("8", Role::Rejected)).await.unwrap();
        assert_eq!(store.requests(CHANNEL).await.unwrap(), []);
        assert_eq!(store.request(CHANNEL, asked("8")).await.unwrap(), Noted::Before, "who was turned down is not asked about again");
        assert_eq!(store.people(CHANNEL).await.unwrap(), [person("7", Role::Owner), person("8", Role::Rejected)]);
        assert!(store.remove_person(CHANNEL, "8").await.unwrap() && !store.remove_person(CHANNEL, "8").await.unwrap());
    }

    #[tokio::test]
    async fn requests_are_bounded() {
        let Fixture { store, folder: _folder, .. } = Fixture::new().await;
        let at = |n: u64| Request { asked_at: Moment(AT.0 + int(n)), ..asked(&n.to_string()) };
        for n in (0..limits::REQUESTS).rev() {
            assert_eq!(store.request(CHANNEL, at(n)).await.unwrap(), Noted::Noted);
        }
        let all: Vec<_> = (0..limits::REQUESTS).map(at).collect();
        store.move_address(CHANNEL, "0", "-5").await.unwrap();
        let group = Request { subject: "-5".into(), ..at(0) };
        let all: Vec<_> = [group.clone()].into_iter().chain(all.into_iter().skip(1)).collect();
        assert_eq!(store.request("tg:2", asked("elsewhere")).await.unwrap(), Noted::Noted);
        assert_eq!(store.request(CHANNEL, at(7)).await.unwrap(), Noted::Before, "who is known takes nobody's place");
        assert_eq!(store.requests(CHANNEL).await.unwrap(), all);
        let new = at(limits::REQUESTS);
        assert_eq!(store.request(CHANNEL, new.clone()).await.unwrap(), Noted::InPlaceOf(at(1)), "the oldest person makes room");
        let kept: Vec<_> = [group].into_iter().chain(all.into_iter().skip(2)).chain([new]).collect();
        assert_eq!(store.requests(CHANNEL).await.unwrap(), kept);
    }

    #[tokio::test]
    async fn a_request_that_nobody_answers_ends() {
        let Fixture { store, folder: _folder, .. } = Fixture::new().await;
        let open = Moment(AT.0 + 1);
        store.request(CHANNEL, asked("7")).await.unwrap();
        store.request(CHANNEL, Request { asked_at: open, ..asked("8") }).await.unwrap();
        let end = Moment(AT.0 + int(limits::REQUEST_TIME.as_millis() as u64));
        assert_eq!(store.prune(end, None).await.unwrap().requests, 0);
        assert_eq!(store.prune(Moment(end.0 + 1), None).await.unwrap().requests, 1);
        assert_eq!(store.requests(CHANNEL).await.unwrap(), [Request { asked_at: open, ..asked("8") }]);
        assert_eq!(store.request(CHANNEL, asked("7")).await.unwrap(), Noted::Noted, "they may ask again");
    }

    #[tokio::test]
    async fn a_request_that_has_ended_stands_in_nobodys_way_before_it_is_pruned() {
        let Fixture { store, folder: _folder, .. } = Fixture::new().await;
        let later = |ms: i64| Request { asked_at: Moment(AT.0 + ms), key: "later".into(), ..asked("7") };
        let end = int(limits::REQUEST_TIME.as_millis() as u64);
        let first = asked("7");
        assert_eq!((first.left(AT), first.left(Moment(AT.0 - 1))), (Some(limits::REQUEST_TIME), Some(limits::REQUEST_TIME)));
        assert_eq!((first.left(Moment(AT.0 + end)), first.left(Moment(AT.0 + end + 1))), (Some(Duration::ZERO), None));
        store.request(CHANNEL, first.clone()).await.unwrap();
        store.request(CHANNEL, Request { key: "other".into(), ..asked("8") }).await.unwrap();
        assert_eq!(store.request(CHANNEL, later(end)).await.unwrap(), Noted::Before);
        assert_eq!(store.request(CHANNEL, later(end + 1)).await.unwrap(), Noted::Noted);
        let keys = async || store.requests(CHANNEL).await.unwrap().into_iter().map(|request| request.key).collect::<Vec<_>>();
        assert_eq!(keys().await, ["other", "later"], "its own only");
        store.withdraw_requests(CHANNEL, vec!["8".into(), "9".into()]).await.unwrap();
        assert_eq!(keys().await, ["later"]);
        store.withdraw_requests("tg:2", vec!["7".into()]).await.unwrap();
        assert_eq!(keys().await, ["later"], "each channel has its own");
    }

    #[tokio::test]
    async fn a_request_moves_with_its_group() {
        let Fixture { store, folder: _folder, .. } = Fixture::new().await;
        store.request(CHANNEL, asked("-5")).await.unwrap();
        store.request(CHANNEL, Request { key: "later".into(), ..asked("-1005") }).await.unwrap();
        store.request("tg:2", Request { key: "other".into(), ..asked("-5") }).await.unwrap();
        store.move_address(CHANNEL, "-5", "-1005").await.unwrap();
        assert_eq!(store.requests(CHANNEL).await.unwrap(), [Request { subject: "-1005".into(), ..asked("-5") }]);
        assert_eq!(store.requests("tg:2").await.unwrap()[0].subject, "-5");
    }

    #[tokio::test]
    async fn strangers_are_counted_within_a_bound_and_told_once() {
        let Fixture { store, folder: _folder, .. } = Fixture::new().await;
        let stranger = |n: u64| Stranger { channel: CHANNEL.into(), id: n.to_string(), count: 2 };
        let count = async |from: u64, to: u64| {
            let accept = Accept { strangers: (from..to).map(stranger).collect(), ..Accept::rows(Vec::new(), AT) };
            store.accept(accept).await.unwrap();
        };
        count(0, limits::STRANGERS + 50).await;
        count(3, 4).await;
        let counted = store.strangers(CHANNEL).await.unwrap();
        assert_eq!(counted.len() as u64, limits::STRANGERS + 1);
        assert_eq!(counted[..2], [Counted { id: OTHERS.into(), count: 100 }, Counted { id: "3".into(), count: 4 }]);
        assert!(store.hint(CHANNEL, "3", AT).await.unwrap() && !store.hint(CHANNEL, "3", AT).await.unwrap());
        let uncounted = (limits::STRANGERS + 5).to_string();
        assert!(!store.hint(CHANNEL, &uncounted, AT).await.unwrap(), "who has no counter is told nothing");
    }
}
