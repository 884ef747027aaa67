//! Files that people send: fetched before anybody reads their message, and never in the way of the text.

use std::fs;
use std::time::Duration;

use stellaclaw::fake_telegram::{Fault, Origin, Post};

use super::{asks, asks_about, noted, notes, said};
use crate::support::bot::Bot;
use crate::support::host::was_killed;
use crate::support::within;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_too_large_is_declined_and_its_text_is_read() {
    let bot = Bot::scripted(notes()).await;
    let host = bot.host().await;
    let file = Post::document("film.mkv", "x").sized(25 << 20).caption("What is this about?");
    bot.telegram.write(bot.ann, bot.ann, file).unwrap();
    let said_so = bot.telegram.sent(bot.ann, "I could not fetch").await.unwrap();
    assert!(said_so.text.contains("“film.mkv”") && said_so.text.contains("20 MB") && said_so.silent, "{said_so:?}");
    noted(&bot, bot.ann, 1).await;
    let read = said(&asks(&bot)[0]);
    assert!(read[0].contains("What is this about?") && read[0].contains("not here, it is larger than 20 MB"), "{read:?}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_ones_own_gives_files_of_any_size_from_its_disk() {
    let bot = Bot::scripted(notes()).await;
    let film = vec![7; 21 << 20];
    bot.telegram.write(bot.ann, bot.ann, Post::document("film.mkv", film.clone()).caption("What is this about?")).unwrap();
    bot.telegram.be_local(&bot.work.folder().join("server")).unwrap();
    let host = bot.host().await;
    noted(&bot, bot.ann, 1).await;
    let read = said(&asks(&bot)[0]);
    let (_, place) = read[0].split_once("attachments/incoming/").unwrap_or_else(|| panic!("{read:?}"));
    let place = &place[..place.find(".mkv").unwrap() + 4];
    let conversation = fs::read_dir(bot.work.workdir().join("conversations")).unwrap().next().unwrap().unwrap().path();
    let kept = conversation.join("attachments/incoming").join(place);
    assert!(fs::read(&kept).unwrap() == film, "{}", kept.display());
    assert!(!bot.telegram.calls().iter().any(|call| call.method == "download"), "it lay on this disk");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_fetched_holds_up_nothing_and_is_said_to_be_missing() {
    let bot = Bot::scripted(notes()).await;
    bot.telegram.fault(Fault::page(502).on("download").always());
    let host = bot.host().await;
    bot.telegram.write(bot.ann, bot.ann, Post::document("notes.txt", "text").caption("Read this.")).unwrap();
    noted(&bot, bot.ann, 1).await;
    let read = said(&asks(&bot)[0]);
    assert!(read[0].contains("Read this.") && read[0].contains("not here, fetch the file: the server says 502"), "{read:?}");
    // Only a moment ago the server was back.
    bot.telegram.clear_faults();
    bot.telegram.fault(Fault::cut().on("download").times(2));
    bot.telegram.write(bot.ann, bot.ann, Post::document("again.txt", "all of the text").caption("And this.")).unwrap();
    noted(&bot, bot.ann, 2).await;
    let read = asks_about(&bot, "And this.");
    assert!(read[0][1].contains("-again.txt (text/plain, 15 bytes)]"), "{read:?}");
    let log = host.said();
    assert!(!log.contains(bot.telegram.token().split_once(':').unwrap().1), "the token is in the log:\n{log}");
    assert!(!asks(&bot).iter().any(|ask| ask.body.to_string().contains("AAcanary")), "the token went to the model");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_waits_for_the_network_and_for_telegrams_pauses_but_not_for_who_gave_it_up() {
    let bot = Bot::scripted(notes()).await;
    let held = bot.telegram.fault(Fault::hold("file").on("download").always());
    let host = bot.host().await;
    bot.telegram.write(bot.ann, bot.ann, Post::document("notes.txt", "the whole text").caption("Read this.")).unwrap();
    within("the download to begin", async {
        while bot.telegram.held_count("file") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    bot.telegram.confirmed().await.unwrap();
    host.kill();
    // More often than a file is tried.
    bot.telegram.remove_fault(held);
    bot.telegram.fault(Fault::too_many(1).on("getFile").times(5));
    bot.telegram.down().await;
    let host = bot.host().await;
    within("the file to wait", async {
        while !host.said().contains("a file waits until Telegram can be asked for it") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    bot.telegram.up().await.unwrap();
    noted(&bot, bot.ann, 1).await;
    let read = said(&asks(&bot)[0]);
    assert!(read[0].contains("-notes.txt (text/plain, 14 bytes)]"), "{read:?}");
    let asked = || bot.telegram.calls_of("getFile").iter().filter(|call| matches!(call.result, Some(Err(_)))).count();
    assert_eq!(asked(), 5);

    // All the places of a conversation wait for a very long time, and are free again when nobody does.
    let flood = bot.telegram.fault(Fault::too_many(3600).on("getFile").always());
    for name in ["a.txt", "b.txt"] {
        bot.telegram.write(bot.ann, bot.ann, Post::document(name, "text").caption("And this.")).unwrap();
    }
    bot.telegram.wait("both to wait", |_| (asked() == 7).then_some(())).await.unwrap();
    // Somebody else's words cancel nothing, whoever forwards them.
    bot.telegram.write(bot.ann, bot.ann, Post::text("/cancel").forwarded(Origin::Hidden("Somebody".into()))).unwrap();
    bot.telegram.confirmed().await.unwrap();
    assert_eq!(bot.rows("SELECT count(*) FROM inbox WHERE held = 1 AND state = 'new'"), ["2"]);
    bot.telegram.remove_fault(flood);
    bot.write("/cancel");
    bot.telegram.sent(bot.ann, "Stopped.").await.unwrap();
    bot.telegram.write(bot.ann, bot.ann, Post::document("c.txt", "text").caption("Then this.")).unwrap();
    noted(&bot, bot.ann, 2).await;
    let read = asks_about(&bot, "Then this.");
    assert!(read[0].last().unwrap().contains("-c.txt (text/plain, 4 bytes)]"), "{read:?}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_a_crash_cut_off_begins_anew() {
    let bot = Bot::scripted(notes()).await;
    let held = bot.telegram.fault(Fault::hold("file").on("download").always());
    let host = bot.host().await;
    bot.telegram.write(bot.ann, bot.ann, Post::document("notes.txt", "the whole text").caption("Read this.")).unwrap();
    bot.write("And this text after it.");
    within("the download to begin", async {
        while bot.telegram.held_count("file") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    bot.telegram.confirmed().await.unwrap();
    assert!(asks(&bot).is_empty(), "nobody reads on before the file is here");
    host.kill();
    bot.telegram.remove_fault(held);
    let host = bot.host().await;
    noted(&bot, bot.ann, 1).await;
    let read = said(&asks(&bot)[0]);
    assert!(read[0].contains("Read this.") && read[1].contains("after it."), "{read:?}");
    let path = read[0].split("[document: ").nth(1).unwrap().split(' ').next().unwrap();
    let conversation = fs::read_dir(bot.work.workdir().join("conversations")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(fs::read_to_string(conversation.join(path)).unwrap(), "the whole text");
    assert_eq!(asks_about(&bot, "").len(), 1);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_files_have_come_is_handed_out_once_whatever_dies() {
    for point in ["release.before@1", "release.after@1"] {
        let bot = Bot::scripted(notes()).await;
        bot.telegram.write(bot.ann, bot.ann, Post::document("notes.txt", "text").caption("Read this.")).unwrap();
        let mut host = bot.work.spawn(&[("CRASH_AT", point)]);
        assert!(was_killed(host.exit().await), "{point} never came\n{}", bot.work.log());
        let host = bot.host().await;
        noted(&bot, bot.ann, 1).await;
        bot.write("And this.");
        noted(&bot, bot.ann, 2).await;
        let read = asks_about(&bot, "Read this.");
        assert!(read.len() == 1 && read[0][0].contains("[document: attachments/incoming/"), "{point}: {read:?}");
        assert_eq!(asks(&bot).len(), 2, "{point}");
        host.stop().await;
    }
}
