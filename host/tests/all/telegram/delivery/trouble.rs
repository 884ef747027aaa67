//! Sendings that hang, that are too large, and previews that are too many.

use super::*;

#[tokio::test]
async fn a_sending_that_hangs_is_given_up_repeated_once_and_holds_up_no_other_chat() {
    let bot = Bot::scripted(short().on("quick", [Answer::text("The quick answer.")])).await;
    let [bob, eve] = ["Bob", "Eve"].map(|name| bot.telegram.new_user(name));
    bot.configure(&format!("people = [{bob}, {eve}]\n"));
    let host = bot.work.start(&[("TEST_CALL", "8000")]).await.unwrap();
    // Whether it was done or not, nobody can know.
    bot.telegram.fault(Fault::hang().on("sendMessage").in_chat(bot.ann).when(heard));
    bot.telegram.fault(Fault::hang_after().on("sendMessage").in_chat(bob).when(heard));
    bot.write("short");
    bot.telegram.write(bob, bob, Post::text("short")).unwrap();
    let hang = |_: &_| (sends(&bot, bot.ann) >= 1 && sends(&bot, bob) >= 1).then_some(());
    bot.telegram.wait("two sendings that hang", hang).await.unwrap();
    bot.telegram.write(eve, eve, Post::text("quick")).unwrap();
    let quick = bot.telegram.sent(eve, "The quick answer.").await.unwrap();
    bot.settle().await;
    for chat in [bot.ann, bob] {
        let call = &answers(&bot, chat)[0];
        assert!(call.ended.is_none_or(|ended| quick.at < ended), "the other chat has its answer while it hangs: {quick:?}, {call:?}");
    }
    let marked = format!("{MARK}The short answer.");
    for (chat, said) in [(bot.ann, vec![marked.as_str()]), (bob, vec!["The short answer.", &marked])] {
        assert_eq!(said_in(&bot, chat).iter().map(|message| message.text.as_str()).collect::<Vec<_>>(), said);
        let calls = answers(&bot, chat);
        assert_eq!(calls.iter().map(|call| call.left).collect::<Vec<_>>(), [true, false], "{calls:?}");
    }
    assert_kept(&bot, 2);
    host.stop().await;
}

fn too_large(method: &str) -> Fault {
    Fault::refuse(413, "Request Entity Too Large").on(method)
}

/// How often each method was called since.
fn counts<const N: usize>(bot: &Bot, since: usize, methods: [&str; N]) -> [usize; N] {
    let calls = bot.telegram.calls_since(since);
    methods.map(|method| calls.iter().filter(|call| call.method == method).count())
}

#[tokio::test]
async fn what_is_too_large_together_comes_one_by_one_and_what_is_too_large_alone_is_named() {
    use FileKind::{Document, Photo};
    const METHODS: [&str; 3] = ["sendMediaGroup", "sendPhoto", "sendDocument"];
    let album = "![one](a.png) ![two](b.png) ![three](c.png)";
    let cases = [album, "[the report](report.pdf)", album, "![one](a.png)", album, album];
    let long: String = (0..400).map(|n| format!("Line {n:03} of an answer {}\n\n", "that is long ".repeat(6))).collect();
    let (bot, host) = with_files(&[&cases[..], &[&long, album]].concat()).await;
    let show = async |n: usize| {
        let since = bot.telegram.calls().len();
        let said = said_to(&bot, &format!("show-{n}.")).await;
        assert!(said.iter().all(|message| !message.silent && message.album.is_none()), "{said:?}");
        (said.iter().skip(1).map(shown).collect::<Vec<_>>(), counts(&bot, since, METHODS))
    };
    let is = |kind: FileKind, text: &str| (Some(kind), text.to_owned());
    let refused = |name: &str| (None, format!("Telegram did not take {name}: Request Entity Too Large."));

    bot.telegram.fault(too_large("sendMediaGroup"));
    assert_eq!(show(0).await, (vec![is(Photo, "one"), is(Photo, "two"), is(Photo, "three")], [1, 3, 0]));

    bot.telegram.fault(too_large("sendDocument"));
    assert_eq!(show(1).await, (vec![refused("“report.pdf”")], [0, 0, 1]));

    // The second of them is too large also alone.
    bot.telegram.fault(too_large("sendMediaGroup"));
    bot.telegram.fault(too_large("sendPhoto").after(1));
    bot.telegram.fault(too_large("sendDocument"));
    assert_eq!(show(2).await, (vec![is(Photo, "one"), refused("“b.png”"), is(Photo, "three")], [1, 3, 1]));

    bot.telegram.fault(too_large("sendPhoto"));
    assert_eq!(show(3).await, (vec![is(Document, "one")], [0, 1, 1]));

    // What has arrived is not sent again when the next one has to wait, and only what may have arrived is marked.
    bot.telegram.fault(too_large("sendMediaGroup"));
    bot.telegram.fault(Fault::too_many(1).on("sendPhoto").after(1));
    assert_eq!(show(4).await, (vec![is(Photo, "one"), is(Photo, "two"), is(Photo, "three")], [1, 4, 0]));
    bot.telegram.fault(too_large("sendMediaGroup"));
    bot.telegram.fault(Fault::lost_after().on("sendPhoto").after(1));
    let two = is(Photo, &format!("{MARK}two"));
    assert_eq!(show(5).await, (vec![is(Photo, "one"), is(Photo, "two"), two, is(Photo, "three")], [1, 4, 0]));

    bot.telegram.fault(too_large("sendDocument"));
    assert_eq!(show(6).await.0, [refused("the file with the whole answer")]);

    // Where no pictures may be sent, neither as such nor as documents, it is said once.
    let forbidden = "Bad Request: not enough rights to send photos to the chat";
    bot.telegram.fault(Fault::refuse(400, forbidden).on("sendMediaGroup").times(2));
    bot.telegram.fault(Fault::refuse(400, forbidden).on("sendPhoto").always());
    bot.telegram.fault(Fault::refuse(400, forbidden).on("sendDocument").always());
    let once = format!("Telegram did not take 3 files, “a.png”, “b.png”, “c.png”: {forbidden}.");
    assert_eq!(show(7).await, (vec![(None, once)], [2, 0, 0]));
    assert_eq!(bot.rows("SELECT DISTINCT state FROM outbox"), ["sent"]);
    assert_eq!(bot.rows("SELECT DISTINCT state FROM parts"), ["sent"]);
    assert_decent(&bot);
    host.stop().await;
}

#[tokio::test]
async fn a_preview_that_was_too_many_holds_back_the_answer_over_a_kill() {
    let text = "A sentence that is written slowly. ".repeat(10);
    let answer = Answer::text(&format!("{text}The end.")).slowly(Duration::from_millis(20)).held_after_text("all");
    let bot = Bot::scripted(Script::default().on("tell", [answer])).await;
    let flood = 8;
    bot.telegram.fault(Fault::flood(flood).on("sendMessageDraft").in_chat(bot.ann));
    let host = bot.host().await;
    bot.write("tell");
    let known = |_: &_| {
        let kept = bot.rows("SELECT frozen_until FROM channels");
        kept.iter().any(|kept| kept.contains(&bot.ann.to_string())).then_some(())
    };
    bot.telegram.wait("the freeze to be kept", known).await.unwrap();
    host.kill();
    bot.vendor.as_ref().unwrap().release("all");
    let host = bot.host().await;
    bot.settle().await;
    let refused = bot.telegram.calls_of("sendMessageDraft").into_iter().find(|call| call.fault.is_some()).unwrap();
    let until = refused.at + i64::try_from(flood * 1000).unwrap();
    let early = |call: &Call| call.chat == Some(bot.ann) && (refused.ended.unwrap() + 500..until).contains(&call.at);
    let early: Vec<_> = bot.telegram.calls().into_iter().filter(early).collect();
    assert!(early.is_empty(), "{early:?}");
    let [sent] = &answers(&bot, bot.ann)[..] else { panic!("{:?}", answers(&bot, bot.ann)) };
    assert!(sent.succeeded() && sent.at >= until, "{sent:?}");
    let [said] = &said_in(&bot, bot.ann)[..] else { panic!("{:?}", said_in(&bot, bot.ann)) };
    assert!(said.text.ends_with("The end.") && said.text.starts_with("A sentence"), "{said:?}");
    let verdict = bot.judge(&[], 1, 0);
    assert!(verdict.is_good() && verdict.marked == 0, "{verdict}");
    host.stop().await;
}
