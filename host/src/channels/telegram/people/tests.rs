//! What is asked and decided, over a store and a configuration; nothing is sent.

use std::path::Path;

use super::*;
use crate::clock::Moment;
use crate::config::{Config, Current};
use crate::limits::REQUEST_TIME;
use crate::secrets::Secret;
use crate::store::{NewConversation, Options, Request, Store};
use crate::workdir::WorkDir;

/// A bot that does not serve, and the configuration that it reads.
async fn bot(folder: &Path, settings: &str) -> (Telegram, Current) {
    let workdir = WorkDir::open(folder).unwrap();
    let (store, _) = Store::open(&workdir, Options::default()).unwrap();
    let current = Current::new(config(settings).into());
    let token = Secret::new("7000000001:AAF-a-token-for-nobody", "a test").unwrap();
    let bot = Telegram::new(current.clone(), current.get().telegram.as_ref().unwrap(), token, store, workdir).unwrap();
    bot.look_who_may_talk().await.unwrap();
    (bot, current)
}

fn config(settings: &str) -> Config {
    let text = format!("version = \"0.5\"\n[channels.telegram]\ntoken = {{ env = \"TOKEN\" }}\n{settings}\n");
    Config::parse(&text, Path::new("/c/config.toml")).unwrap()
}

async fn ask(bot: &Telegram, subject: i64, asked_at: Moment) {
    let request = Request { subject: subject.to_string(), key: format!("k{subject}"), name: "N".into(), asked_at };
    bot.0.store.request(bot.name(), request).await.unwrap();
}

async fn asked(bot: &Telegram) -> Vec<String> {
    bot.0.store.requests(bot.name()).await.unwrap().into_iter().map(|request| request.subject).collect()
}

#[tokio::test]
async fn who_is_let_in_by_the_configuration_is_not_asked_about_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let (bot, current) = bot(folder.path(), "owners = [1]").await;
    let now = clock::now();
    for subject in [1, 2, 3, -4, -5] {
        ask(&bot, subject, now).await;
    }
    let _ = current.replace(config("owners = [1]\npeople = [2]\ngroups = [-4]"));
    bot.look_who_may_talk().await.unwrap();
    assert_eq!(asked(&bot).await, ["-5", "3"]);
}

#[tokio::test]
async fn a_request_that_has_ended_is_none_before_it_is_pruned() {
    let folder = tempfile::tempdir().unwrap();
    let (bot, _) = bot(folder.path(), "owners = [1]").await;
    let now = clock::now();
    ask(&bot, 7, Moment(now.0 - i64::try_from(REQUEST_TIME.as_millis()).unwrap() - 1)).await;
    ask(&bot, 8, now).await;
    assert_eq!(asked(&bot).await, ["7", "8"]);
    assert_eq!(bot.requested(7).await.unwrap(), None);
    assert_eq!(bot.requested(8).await.unwrap().map(|request| request.asked_at), Some(now));
}

#[tokio::test]
async fn a_group_that_was_turned_down_stays_so_as_a_supergroup() {
    let folder = tempfile::tempdir().unwrap();
    let (bot, _) = bot(folder.path(), "owners = [1]").await;
    let rejected = Person { id: "-5".into(), role: Role::Rejected, name: "G".into(), since: clock::now() };
    bot.0.store.set_person(bot.name(), rejected.clone()).await.unwrap();
    bot.look_who_may_talk().await.unwrap();
    for _ in 0..2 {
        bot.migrate(-5, -1005).await.unwrap();
    }
    assert_eq!(bot.0.store.people(bot.name()).await.unwrap(), [Person { id: "-1005".into(), ..rejected }]);
    bot.migrate(-6, -1006).await.unwrap();
    assert_eq!(bot.moved(Target::new(-6, None)), Target::new(-6, None), "a group that is nothing to us is not remembered");
}

#[tokio::test]
async fn an_owner_is_away_while_their_chat_is_closed_and_each_absence_is_another() {
    let folder = tempfile::tempdir().unwrap();
    let (bot, _) = bot(folder.path(), "owners = [1]").await;
    let (store, away) = (&bot.0.store, async |chat| bot.owner_away_since(chat).await.unwrap());
    for (address, closed_at) in [("1", 5), ("1:7", 6), ("2", 5)] {
        let new = NewConversation { channel: bot.name().to_owned(), address: address.into(), model: "m".into(), expires_at: None };
        let (known, _) = store.get_or_create(new, Moment(1)).await.unwrap();
        store.set_closed(vec![known.id], Some(Moment(closed_at))).await.unwrap();
    }
    assert_eq!((away(1).await, away(2).await), (Some(Moment(6)), None), "only owners are asked");
    bot.open_chat(1).await.unwrap();
    assert_eq!(away(1).await, None);
}
