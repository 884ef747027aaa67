//! What `send` brings from outside.

use std::path::PathBuf;

use super::*;

/// The copies of files in Ann's workspace.
fn copies(bot: &Bot) -> Vec<PathBuf> {
    let folders = fs::read_dir(bot.work.workspace("c1").join("attachments/outgoing")).into_iter().flatten();
    folders.map(|folder| folder.unwrap().path()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_sends_text_as_text_and_its_file_is_kept_until_it_is_sent() {
    let (bot, host) = with_files(&[]).await;
    let to = format!("telegram:{}", bot.ann);
    let file = bot.work.folder().join("from the script.txt");
    fs::write(&file, "what the script has to say").unwrap();
    let file = file.to_str().unwrap();
    // Somebody else's words may be in it, and they name what is in the workspace.
    let words = "Look: [a report](report.pdf) ![a photo](a.png) <attachment>clip.mp4</attachment> [all](shared/everybody.txt)";
    let before = said_in(&bot, bot.ann).len();
    let ran = bot.work.run(&["send", "--to", &to, "--file", file, words], "").await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let said = said_in(&bot, bot.ann).split_off(before);
    let [text, sent] = &said[..] else { panic!("{said:?}") };
    assert!(["report.pdf", "a.png", "clip.mp4", "shared/everybody.txt"].iter().all(|name| text.text.contains(name)), "{text:?}");
    let (kind, id) = sent.file().unwrap();
    assert_eq!((kind, &bot.telegram.file(id).unwrap().bytes[..]), (FileKind::Document, &b"what the script has to say"[..]));
    bot.telegram.wait("the copy to go", |_| copies(&bot).is_empty().then_some(())).await.unwrap();

    let ran = bot.work.run(&["send", "--to", &to, "-"], words).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(said_in(&bot, bot.ann).last().unwrap().file().is_none(), "not without a file either");

    // One that is on its way when the host is killed is still needed, whatever its file is called; what nobody waits for is not.
    bot.telegram.fault(Fault::hold("the file").on("sendDocument"));
    let waiting = bot.work.begin(&["send", "--to", &to, "--file", file]);
    bot.telegram.wait("the file", |telegram| (telegram.held_count("the file") == 1).then_some(())).await.unwrap();
    let [needed] = &copies(&bot)[..] else { panic!("{:?}", copies(&bot)) };
    host.kill();
    assert_ne!(waiting.finish("").await.code, Some(0));
    let left = needed.with_file_name("0123456789abcdef0123456789abcdef");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("old.txt"), "old").unwrap();
    bot.telegram.fault(Fault::hold("again").on("sendDocument"));
    let host = bot.host().await;
    bot.telegram.wait("the repeat", |telegram| (telegram.held_count("again") == 1).then_some(())).await.unwrap();
    bot.telegram.wait("what was left to go", |_| (!left.exists()).then_some(())).await.unwrap();
    assert_eq!(copies(&bot), std::slice::from_ref(needed));
    bot.telegram.release("the file");
    bot.telegram.release("again");
    bot.settle().await;
    bot.telegram.wait("the copy to go", |_| copies(&bot).is_empty().then_some(())).await.unwrap();
    let last = said_in(&bot, bot.ann).pop().unwrap();
    assert!(last.file().is_some() && last.text.starts_with(MARK.trim_end()), "{last:?}");

    // A file that cannot be sent leaves nothing behind.
    let ran = bot.work.run(&["send", "--to", &to, "--file", "nothing.txt"], "").await;
    assert_ne!(ran.code, Some(0), "{ran:?}");
    bot.telegram.wait("nothing to be left", |_| copies(&bot).is_empty().then_some(())).await.unwrap();
    assert_decent(&bot);
    host.stop().await;
}

#[tokio::test]
async fn send_says_by_its_exit_code_what_became_of_it() {
    let bot = Bot::scripted(short()).await;
    let forum = bot.telegram.new_group(ChatKind::Supergroup { forum: true }, "Forum", &[bot.ann]).unwrap();
    let topic = bot.telegram.new_topic(forum, bot.ann, "Plans").unwrap();
    let (to, file) = (format!("telegram:{}", bot.ann), bot.work.folder().join("report.txt"));
    fs::write(&file, "a report").unwrap();
    let file = file.to_str().unwrap();
    let send = async |to: &str, more: &[&str], input: &str| {
        let ran = bot.work.run(&[&["send", "--to", to], more].concat(), input).await;
        (ran.code.unwrap(), ran.errors)
    };
    let last = |chat: i64| said_in(&bot, chat).pop().unwrap();
    let host = bot.host().await;
    bot.exchange("short", "The short answer.").await;
    bot.settle().await;

    assert_eq!(send(&to, &["**Loud** words"], "").await.0, 0);
    assert_eq!((bold(&last(bot.ann)), last(bot.ann).silent), (vec!["Loud".to_owned()], false));
    assert_eq!(send(&to, &["--silent", "Quiet words"], "").await.0, 0);
    assert!(last(bot.ann).text == "Quiet words" && last(bot.ann).silent);
    assert_eq!(send(&format!("telegram:{forum}:{topic}"), &["-"], "Words from a pipe\n").await.0, 0);
    assert_eq!((last(forum).text.as_str(), last(forum).thread), ("Words from a pipe", Some(topic)));

    // What is said in place of a file is not the file.
    for (more, said) in [(&["--file", file, "With words"][..], "only a part"), (&["--file", file], "did not take the message")] {
        bot.telegram.fault(Fault::refuse(413, "Request Entity Too Large").on("sendDocument"));
        let (code, errors) = send(&to, more, "").await;
        assert!(code == 1 && errors.contains(said), "{code} {errors}");
        assert_eq!(last(bot.ann).text.split('“').next(), Some("Telegram did not take "));
    }
    for wrong in ["nonsense", "telegram:@ann", &bot.ann.to_string()] {
        let (code, errors) = send(wrong, &["Words"], "").await;
        assert!(code == 2 && errors.contains("is no address; write telegram:CHAT"), "{wrong}: {code} {errors}");
    }
    host.stop().await;

    // Without a host it is one for a moment.
    assert_eq!(send(&to, &["Nobody else is here"], "").await.0, 0);
    assert_eq!(last(bot.ann).text, "Nobody else is here");
    bot.telegram.set_standing(bot.ann, bot.ann, Standing::Blocked).unwrap();
    let (code, errors) = send(&to, &["Are you there?"], "").await;
    assert!(code == 1 && errors.contains("did not take the message"), "{code} {errors}");
    assert_decent(&bot);
}
