#![expect(clippy::disallowed_methods, reason = "the tests set the scene from the outside")]

use std::fs::{self, File};
use std::os::unix::fs::symlink;

use super::*;
use crate::chat::Modality;
use crate::clock::Moment;
use crate::fake_telegram::png;
use crate::ids::{InboxId, TurnId};
use crate::session::event::{Beside, TurnInput};
use crate::store::{self, BlobHash};
use crate::workdir::WorkDir;

struct Scene {
    folder: tempfile::TempDir,
    store: Store,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(&WorkDir::open(folder.path().join("work")).unwrap(), store::Options::default()).unwrap();
        fs::create_dir(folder.path().join("space")).unwrap();
        Self { folder, store }
    }

    fn space(&self) -> std::path::PathBuf {
        self.folder.path().join("space")
    }

    /// A message with these files, as its turn has them.
    async fn captured(&self, paths: &[&str]) -> Vec<Attached> {
        let file = |path: &&str| Attached {
            kind: "document".into(),
            name: Some("name.jpg".into()),
            media_type: Some("image/jpeg".into()),
            size: None,
            path: Some((*path).to_owned()),
            missing: None,
            blob: None,
            unshown: None,
        };
        let beside = Beside { files: paths.iter().map(file).collect(), ..Beside::default() };
        let input = TurnInput { inbox: InboxId(1), text: String::new(), sender: None, at: Moment(1), beside };
        let event = Event::InputsJoined { inputs: vec![input] };
        let mut events = [Recorded { seq: 1, turn: TurnId(1), at_ms: Moment(1), event }];
        inputs(&self.store, &self.space(), &mut events).await.unwrap();
        let kept: Vec<_> = attached(&mut events[0].event).map(|file| file.clone()).collect();
        // After a disk that was full it is done again, for what is not known yet.
        fs::remove_dir_all(self.space()).unwrap();
        fs::create_dir(self.space()).unwrap();
        inputs(&self.store, &self.space(), &mut events).await.unwrap();
        for (file, kept) in attached(&mut events[0].event).zip(&kept) {
            assert!(file == kept || (&kept.blob, &kept.unshown) == (&None, &None), "{file:?} was {kept:?}");
        }
        kept
    }
}

#[tokio::test]
async fn files_that_a_model_could_be_shown_are_kept_as_what_they_are() {
    let scene = Scene::new();
    let picture = png(30, 20);
    fs::write(scene.space().join("a.jpg"), &picture).unwrap();
    fs::write(scene.space().join("b.jpg"), "%PDF-1.7").unwrap();
    fs::write(scene.space().join("c.jpg"), "just text").unwrap();
    let files = scene.captured(&["a.jpg", "b.jpg", "c.jpg"]).await;
    let media = files[0].blob.as_ref().unwrap();
    assert_eq!((media.modality, media.media_type.as_str(), media.pixels), (Modality::Image, "image/png", Some((30, 20))));
    assert_eq!((media.size, media.name.as_deref()), (picture.len() as u64, Some("name.jpg")));
    assert_eq!(scene.store.blob(&BlobHash::of_id(&media.blob).unwrap()).await.unwrap(), picture);
    assert_eq!(files[1].blob.as_ref().map(|media| media.modality), Some(Modality::Pdf));
    assert_eq!((&files[2].blob, &files[2].unshown), (&None, &None));
}

#[tokio::test]
async fn what_cannot_be_read_is_said_and_holds_up_nothing() {
    let scene = Scene::new();
    let space = scene.space();
    fs::write(scene.folder.path().join("secret.png"), png(3, 3)).unwrap();
    symlink(scene.folder.path().join("secret.png"), space.join("link.png")).unwrap();
    fs::create_dir(space.join("folder.png")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, space.join("pipe.png"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let large = File::create(space.join("large.png")).unwrap();
    std::io::Write::write_all(&mut &large, &png(3, 3)).unwrap();
    large.set_len(limits::MEDIA_BYTES + 1).unwrap();
    let paths = ["link.png", "../secret.png", "folder.png", "pipe.png", "none.png", "large.png"];
    let files = scene.captured(&paths).await;
    for (path, file) in paths.iter().zip(files) {
        assert!(file.blob.is_none() && file.unshown.is_some(), "{path}: {file:?}");
    }
}

#[tokio::test]
async fn files_of_an_answer_are_kept_beside_the_part_that_names_them() {
    let scene = Scene::new();
    let kind = media::sniff(&png(3, 3)).unwrap();
    let file = |content| OutputPart::File { path: "out/plot.png".into(), media_type: None, name: None, content };
    let parts = vec![
        OutputPart::Text("done".into()),
        file(Content::Media(png(3, 3).into(), kind)),
        file(Content::Unread("it cannot be opened".into())),
        file(Content::None),
    ];
    let mut output = Output { parts, summary: None };
    let kept = answer(&scene.store, &mut output).await;
    let [None, Some(Ok(media)), Some(Err(reason)), None] = &kept[..] else { panic!("{kept:?}") };
    assert_eq!((media.name.as_deref(), reason.as_str()), (Some("plot.png"), "it cannot be opened"));
    let event = Event::CallEnded {
        call: crate::ids::CallId("s1.1.1.0".into()),
        outcome: crate::session::event::Outcome::Ok,
        pieces: crate::session::output::ended(Ok(output), &kept).pieces,
        remark: None,
        summary: None,
    };
    assert_eq!(event.media(), [media], "the row that has it names it");
    let Event::CallEnded { pieces, .. } = event else { panic!() };
    let text = pieces.iter().map(|piece| match piece {
        crate::chat::AnswerPiece::Text(text) => text.as_str(),
        crate::chat::AnswerPiece::Media(_) => "<media>",
    });
    let text: Vec<_> = text.collect();
    let expected =
        ["done", "[file: out/plot.png]", "<media>", "[file: out/plot.png (not shown, it cannot be opened)]", "[file: out/plot.png]"];
    assert_eq!(text, expected);
}
