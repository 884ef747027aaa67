//! A provider and a tool that want files which are none of theirs.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::hostile::Stage;
use crate::support::guests;
use crate::support::host::Work;
use crate::support::web::Web;

/// A picture of nine by six, and another one.
const PICTURE: &[u8] = include_bytes!("../../../src/media/fixtures/rgb8.png");
const OTHER: &[u8] = include_bytes!("../../../src/media/fixtures/grey4.png");

fn work(server: &Web) -> Work {
    let mut work = Work::new();
    let path = guests::hostile();
    let url = server.url("");
    work.set("CANARY", super::CANARY);
    work.configure(&format!(
        "default_model = \"main\"\n[models.main]\nprovider = \"provider-offline\"\nmodel = \"offline\"\n\
         [models.bad]\nprovider = \"hostile\"\nmodel = \"bad\"\nbase_url = \"{url}\"\nreads = [\"text\", \"image\"]\n\
         api_key = {{ env = \"CANARY\" }}\n\
         [plugins.hostile]\npath = {path:?}\ntrust = \"path\"\nfs = [\"workspace:rw\"]\nhttp = [\"{url}\"]\n",
    ));
    work
}

/// The workspaces, the victim's first.
fn workspaces(work: &Work) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(work.workdir().join("conversations")).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

fn id_of(bytes: &[u8]) -> String {
    format!("sha256:{}", Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn kept(work: &Work, bytes: &[u8]) -> bool {
    let id = id_of(bytes);
    let hash = id.trim_start_matches("sha256:");
    Path::new(&work.workdir()).join("blobs").join(&hash[..2]).join(hash).exists()
}

async fn hands(stage: &mut Stage, path: &str) -> String {
    let says = format!("call misbehave {}", json!({ "how": format!("hand {path}") }));
    stage.says(&says).await.last().unwrap().text.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_sends_what_its_request_shows_and_no_other_file() {
    let server = Web::start(|visit| visit.answer("", b"taken"));
    let mut stage = Stage::start(work(&server)).await;
    let [victims, bystanders] = &workspaces(&stage.work)[..] else { panic!("two conversations") };
    fs::write(victims.join("picture.png"), PICTURE).unwrap();
    fs::write(bystanders.join("other.png"), OTHER).unwrap();
    let handing = format!("call misbehave {}", json!({ "how": "hand other.png" }));
    stage.bystander.talk("h-1", &handing).await.unwrap();
    assert!(kept(&stage.work, OTHER), "it is kept for the other conversation");

    // Nothing outside its mounts is opened for a tool, by whatever path.
    std::os::unix::fs::symlink(bystanders.join("other.png"), victims.join("link.png")).unwrap();
    for path in ["../2/other.png", "/etc/passwd", "/workspace/../../state.db", "link.png", "/data/../other.png", "", ".", "no.png"] {
        let told = hands(&mut stage, path).await;
        assert!(told.contains("not shown, it cannot be opened"), "{path}: {told}");
    }
    assert!(hands(&mut stage, "picture.png").await.contains("[file: picture.png (image/png)]"));
    assert!(hands(&mut stage, "/workspace/picture.png").await.contains("[file: /workspace/picture.png (image/png)]"));
    // What was shown stays, whatever becomes of the file.
    fs::write(victims.join("picture.png"), b"gone").unwrap();

    stage.says("/model bad").await;
    let home = server.url("/take");
    let answered = |replies: Vec<crate::support::client::Delivered>| replies.last().unwrap().text.clone();
    let said = answered(stage.says(&format!("send {home} all")).await);
    assert_eq!(said, "2 files: It was sent. It was sent.", "{said}");
    let seen = server.seen();
    let bytes = String::from_utf8_lossy(PICTURE);
    assert!(
        seen.len() == 2 && seen.iter().all(|seen| seen.ends_with(&*bytes)),
        "the bytes of the picture, unseen by the component: {seen:?}"
    );
    for id in [id_of(OTHER).as_str(), "sha256:../../state.db", "../blobs", "/etc/passwd", "sha256:"] {
        let said = answered(stage.says(&format!("send {home} {id}")).await);
        assert!(said.starts_with("1 files: this call was handed no blob"), "{id}: {said}");
    }
    // Nor does it get one by saying that it has answered with it.
    stage.says("/new").await;
    stage.says(&format!("forge {}", id_of(OTHER))).await;
    let said = answered(stage.says(&format!("send {home} all")).await);
    assert!(said.starts_with("0 files:"), "{said}");
    assert_eq!(server.seen().len(), seen.len());
    stage.ends().await;
}
