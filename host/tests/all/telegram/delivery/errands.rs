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
