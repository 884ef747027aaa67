use super::*;
use crate::chat::{Modality, Role, ToolAnswer};
use crate::fake_telegram::png;
use crate::store;
use crate::workdir::WorkDir;

struct Scene {
    _folder: tempfile::TempDir,
    store: Store,
    shown: Shown,
    model: Model,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(&WorkDir::open(folder.path().join("work")).unwrap(), store::Options::default()).unwrap();
        Self { _folder: folder, store, shown: Shown::default(), model: Model::offline() }
    }

    async fn kept(&self, bytes: &[u8]) -> Media {
        let kind = media::sniff(bytes).unwrap();
        Media {
            blob: self.store.put_blob(bytes.to_vec()).await.unwrap().id(),
            modality: kind.modality,
            media_type: "claimed/otherwise".into(),
            name: Some("it".into()),
            size: bytes.len() as u64,
            detail: None,
            pixels: None,
        }
    }

    /// What becomes of the files of a conversation: the id and type that are sent, or the line in their place.
    async fn hand_over(&self, files: &[Media]) -> (Vec<String>, Handed) {
        let mut messages: Vec<_> = files.iter().map(said).collect();
        let handed = self.shown.hand_over(&self.store, &self.model, &mut messages).await;
        let shown = messages.iter().map(|message| match &message.pieces[..] {
            [Piece::Media(media)] => {
                let bytes = handed.get(&media.blob).expect("what is named is handed over");
                assert_eq!(bytes.len() as u64, media.size);
                format!("{} {:?}", media.media_type, media::dimensions(bytes).unwrap_or_default())
            }
            [Piece::Text(text)] => text.text.clone(),
            other => panic!("{other:?}"),
        });
        (shown.collect(), handed)
    }
}

fn said(media: &Media) -> Message {
    let pieces = vec![Piece::Media(media.clone())];
    Message { id: "m".into(), role: Role::User, phase: None, origin: None, pieces, cache_break: false }
}

#[tokio::test]
async fn files_are_sent_as_they_fit_or_a_line_says_why_not() {
    let mut scene = Scene::new();
    scene.model.image.max_width = 20;
    let gone = Media { blob: BlobHash::of(b"never kept").id(), ..scene.kept(&png(3, 3)).await };
    let files = [
        scene.kept(&png(10, 10)).await,
        scene.kept(&png(40, 10)).await,
        scene.kept(b"OggS").await,
        scene.kept(&png(10, 10)[..60]).await,
        gone,
        Media { blob: "../state.db".into(), ..scene.kept(&png(3, 3)).await },
        Media { modality: Modality::File, ..scene.kept(&png(3, 3)).await },
        Media { modality: Modality::Pdf, ..scene.kept(&png(3, 3)).await },
    ];
    let (shown, handed) = scene.hand_over(&files).await;
    insta::assert_snapshot!(shown.join("\n"), @r"
    image/png (10, 10)
    image/png (20, 5)
    [it (claimed/otherwise, 4 bytes): not shown, audio/ogg is not taken by this model, only audio/mpeg, audio/wav]
    [it (claimed/otherwise, 60 bytes): not shown, it is damaged: its end is missing]
    [it (claimed/otherwise, 80 bytes): what was kept of it is gone]
    [it (claimed/otherwise, 80 bytes): it is not kept]
    [it (claimed/otherwise, 80 bytes): files of its kind are not sent]
    [it (claimed/otherwise, 80 bytes): not shown, it is not what it was taken for]
    ");
    assert!(handed.get(&files[0].blob).is_some() && handed.get(&files[1].blob).is_none(), "only what is sent is handed over");
}

#[tokio::test]
async fn what_was_made_once_is_kept_for_as_long_as_there_is_room() {
    let mut scene = Scene::new();
    scene.model.image.max_width = 20;
    let file = scene.kept(&png(40, 10)).await;
    let bytes = |handed: &Handed, messages: &[Message]| match &messages[0].pieces[0] {
        Piece::Media(media) => handed.get(&media.blob).unwrap().clone(),
        other => panic!("{other:?}"),
    };
    let mut first = [said(&file)];
    let handed = scene.shown.hand_over(&scene.store, &scene.model, &mut first).await;
    let first = bytes(&handed, &first);
    let mut second = [said(&file)];
    let handed = scene.shown.hand_over(&scene.store, &scene.model, &mut second).await;
    assert_eq!(first.as_ptr(), bytes(&handed, &second).as_ptr(), "not made again");
    // Bounds that are other ones, and then room for nothing.
    scene.model.image.max_width = 30;
    let mut third = [said(&file)];
    let handed = scene.shown.hand_over(&scene.store, &scene.model, &mut third).await;
    assert_eq!(media::dimensions(&bytes(&handed, &third)), Some((30, 7)));
    let large = Ready { id: "x".into(), bytes: vec![0; usize::try_from(limits::FITTED_BYTES).unwrap()].into(), media_type: "image/png" };
    let bounds = Bounds::of(&scene.model, Modality::Image).unwrap();
    scene.shown.remember(BlobHash::of(b"large"), bounds.clone(), Ok(large));
    assert_eq!(scene.shown.kept.lock().unwrap().files.len(), 1);
    for number in 0..=limits::FITTED_FILES {
        scene.shown.remember(BlobHash::of(&number.to_le_bytes()), bounds.clone(), Err("no".into()));
    }
    let kept = scene.shown.kept.lock().unwrap();
    assert_eq!((kept.files.len(), kept.bytes), (limits::FITTED_FILES, 0));
}

#[tokio::test]
async fn the_newest_files_are_shown_and_the_others_are_said_to_be_left_out() {
    let scene = Scene::new();
    let mut files = Vec::new();
    for side in 1..=30 {
        files.push(scene.kept(&png(side, 1)).await);
    }
    let mut left_out = Vec::new();
    for count in 0..=files.len() {
        let (shown, _) = scene.hand_over(&files[..count]).await;
        let first = shown.iter().position(|shown| shown.starts_with("image/png")).unwrap_or(0);
        assert!(shown[..first].iter().all(|line| line.ends_with(&format!("{DISPLACED}]"))), "{shown:?}");
        assert!(shown[first..].iter().all(|shown| shown.starts_with("image/png")), "{shown:?}");
        assert!(count - first <= limits::REQUEST_FILES);
        left_out.push(first);
    }
    // In blocks: what one request begins with the next ones begin with, too.
    assert_eq!(left_out[..=20], [0; 21]);
    assert_eq!(left_out[21..], [5, 5, 5, 5, 5, 10, 10, 10, 10, 10]);
}

#[test]
fn a_request_has_room_for_its_newest_file_whatever_its_size() {
    let mut room = Room::default();
    assert!(room.has(limits::MEDIA_BYTES) && !room.has(1) && !room.has(0));
    let mut room = Room::default();
    let half = limits::REQUEST_FILES_BYTES / 2;
    assert!(room.has(half) && room.has(half) && !room.has(1));
    let mut room = Room::default();
    assert!((0..limits::REQUEST_FILES).all(|_| room.has(0)) && !room.has(0));
    // Where few stay, none of them gives way for the others' sake.
    let ready = || Some(Err(String::new()));
    let mut made = vec![None, None, None, None, None, None, ready()];
    displace(&mut made);
    assert!(made[6].is_some());
}

#[tokio::test]
async fn what_tools_show_is_a_file_like_any_other() {
    let scene = Scene::new();
    let pieces = vec![
        AnswerPiece::Text("plot".into()),
        AnswerPiece::Media(scene.kept(&png(3, 3)).await),
        AnswerPiece::Media(scene.kept(b"OggS").await),
    ];
    let answer = Piece::ToolAnswer(ToolAnswer { call_id: "c".into(), pieces, is_error: false });
    let mut messages = [Message { id: "a".into(), role: Role::Tool, phase: None, origin: None, pieces: vec![answer], cache_break: false }];
    let handed = scene.shown.hand_over(&scene.store, &scene.model, &mut messages).await;
    let [Piece::ToolAnswer(answer)] = &messages[0].pieces[..] else { panic!() };
    let [AnswerPiece::Text(_), AnswerPiece::Media(media), AnswerPiece::Text(line)] = &answer.pieces[..] else { panic!("{answer:?}") };
    assert!(handed.get(&media.blob).is_some() && media.media_type == "image/png" && line.contains("audio/ogg is not taken"), "{line}");
}
