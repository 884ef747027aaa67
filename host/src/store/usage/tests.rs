use super::*;
use crate::store::tests::{AT, Fixture};
use crate::store::{Append, NewConversation};

const HOUR: i64 = 3_600_000;

fn used(model: &str, kind: UsageKind, usage: Usage) -> NewUsage {
    NewUsage { step: 1, kind, model: model.into(), usage, estimated: false }
}

fn paid(cost_micros: u64) -> Usage {
    Usage { output: 10, cost_micros: Some(cost_micros), ..Usage::default() }
}

async fn add(fixture: &Fixture, session: SessionId, at: Moment, usage: Vec<NewUsage>) {
    let session = fixture.store.session(session).await.unwrap().unwrap();
    fixture.store.append(Append { usage, ..Append::new(&session, TurnId(1), at) }).await.unwrap();
}

async fn lines(fixture: &Fixture, since: Moment, by: UsageBy) -> Vec<(String, u64, u64)> {
    let lines = fixture.store.usage_since(since, by).await.unwrap().into_iter();
    lines.map(|line| (line.name, line.totals.requests, line.totals.cost_micros)).collect()
}

#[tokio::test]
async fn usage_adds_up_by_day_and_survives_nonsense() {
    let fixture = Fixture::new().await;
    let whole =
        Usage { input_uncached: 10, cache_read: 5, cache_write: vec![(300, 2), (3600, 1)], output: 3, reasoning: 1, cost_micros: Some(40) };
    let nonsense = || used("main", UsageKind::Turn, Usage { input_uncached: u64::MAX, ..Usage::default() });
    let guessed = NewUsage { estimated: true, ..nonsense() };
    add(&fixture, fixture.session.id, AT, vec![used("main", UsageKind::Turn, whole), nonsense(), guessed]).await;
    let expected = Totals {
        requests: 3,
        input_uncached: 10 + 2 * limits::USAGE_FIGURE,
        cache_read: 5,
        cache_write: 3,
        output: 3,
        reasoning: 1,
        cost_micros: 40,
        unpriced_tokens: 2 * limits::USAGE_FIGURE,
        estimated: 1,
    };
    assert_eq!(fixture.store.usage_of_day(AT).await.unwrap(), expected);
    assert_eq!(fixture.store.usage_of_turn(fixture.session.id, TurnId(1)).await.unwrap(), expected);
    assert_eq!(fixture.store.usage_of_conversation(fixture.conversation).await.unwrap(), expected);
    assert_eq!(fixture.store.usage_of_day(Moment(AT.0 + 24 * HOUR)).await.unwrap(), Totals::default());
    assert_eq!(fixture.store.usage_of_turn(SessionId(9), TurnId(1)).await.unwrap(), Totals::default());
    assert_eq!(fixture.store.usage_of_conversation(ConversationId(9)).await.unwrap(), Totals::default());
}

#[tokio::test]
async fn usage_is_told_by_model_conversation_day_and_purpose_from_a_moment_on() {
    let fixture = Fixture::new().await;
    let new = NewConversation { channel: "terminal".into(), address: "second".into(), model: "main".into(), expires_at: None };
    let second = fixture.store.get_or_create(new, AT).await.unwrap().0.id;
    let theirs = fixture.store.foreground(second).await.unwrap().id;
    let ours = fixture.session.id;
    add(&fixture, ours, Moment(AT.0 - 48 * HOUR), vec![used("old", UsageKind::Turn, paid(7))]).await;
    add(&fixture, ours, Moment(AT.0 - HOUR), vec![used("main", UsageKind::Turn, paid(100))]).await;
    add(&fixture, theirs, AT, vec![used("quick", UsageKind::Helper, paid(5)), used("main", UsageKind::Compaction, paid(200))]).await;

    let name = |name: &str, requests, cost| (name.to_owned(), requests, cost);
    let recent = Moment(AT.0 - 2 * HOUR);
    assert_eq!(lines(&fixture, recent, UsageBy::Model).await, [name("main", 2, 300), name("quick", 1, 5)]);
    let (one, two) = (fixture.conversation.to_string(), second.to_string());
    assert_eq!(lines(&fixture, recent, UsageBy::Conversation).await, [name(&two, 2, 205), name(&one, 1, 100)]);
    assert_eq!(lines(&fixture, Moment(0), UsageBy::Day).await, [name("2027-01-13", 1, 7), name("2027-01-15", 3, 305)]);
    let kinds = [name("compaction", 1, 200), name("turn", 1, 100), name("helper", 1, 5)];
    assert_eq!(lines(&fixture, recent, UsageBy::Kind).await, kinds);
    assert_eq!(lines(&fixture, AT, UsageBy::Kind).await.len(), 2, "to the millisecond");

    // What was spent stays spent when its conversation is gone.
    fixture.tamper("DELETE FROM sessions");
    assert_eq!(lines(&fixture, recent, UsageBy::Conversation).await[0], name(&two, 2, 205));
}
