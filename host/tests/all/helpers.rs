//! Searching, drawing and lists of models, through the program: from the command line, and by a tool in a conversation.

use std::fs;

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::fake_brave::{self, BRAVE_KEY};
use crate::support::fake_images::{self, IMAGES_KEY, PNG};
use crate::support::fake_openai::{Answer, Script};
use crate::support::host::{Ran, Work};
use crate::support::scene::Scene;
use crate::support::web::Web;
use crate::support::{files, guests};

/// Entries for both, and the roles that they serve.
fn entries(brave: &Web, painter: &Web) -> String {
    format!(
        "[models.brave]\nprovider = \"provider-brave-search\"\nmodel = \"brave\"\nbase_url = {:?}\napi_key = {{ env = \"BRAVE_KEY\" }}\n\
         [models.painter]\nprovider = \"provider-openai-image\"\nmodel = \"gpt-image\"\nbase_url = {:?}\napi_key = {{ env = \"IMAGES_KEY\" }}\n\
         price = {{ input = 10.0, output = 40.0 }}\n\
         [session.helpers]\nsearch = \"brave\"\nimage_generation = \"painter\"\n",
        brave.url("/res/v1"),
        painter.url("/v1"),
    )
}

fn keyed(work: &mut Work) {
    work.set("BRAVE_KEY", BRAVE_KEY);
    work.set("IMAGES_KEY", IMAGES_KEY);
}

/// A configuration of the offline model and both entries.
fn work(brave: &Web, painter: &Web) -> Work {
    let mut work = Work::new();
    keyed(&mut work);
    let offline = "default_model = \"main\"\n[models.main]\nprovider = \"provider-offline\"\nmodel = \"offline\"\n";
    work.configure(&format!("{offline}{}", entries(brave, painter)));
    work
}

fn json(ran: &Ran) -> Value {
    assert_eq!(ran.code, Some(0), "{} {}", ran.output, ran.errors);
    serde_json::from_str(&ran.output).unwrap()
}

/// No key is in anything that was said or kept.
fn clean(work: &Work, said: &[&str]) {
    for key in [BRAVE_KEY, IMAGES_KEY] {
        assert!(said.iter().all(|text| !text.contains(key)), "the key is in {said:?}");
        for (path, bytes) in files(work.folder()) {
            assert!(!bytes.windows(key.len()).any(|window| window == key.as_bytes()), "the key is in {}", path.display());
        }
    }
}

#[tokio::test]
async fn each_kind_of_model_is_listed_and_tried() {
    let (brave, painter) = (fake_brave::start(), fake_images::start());
    let work = work(&brave, &painter);
    let listed = json(&work.run(&["model", "list", "--json"], "").await);
    let known: Vec<_> = listed.as_array().unwrap().iter().map(|model| (&model["alias"], &model["is"][0], &model["roles"][0])).collect();
    let expected = [("brave", "web_search", "search"), ("main", "provider", "default"), ("painter", "images", "image-generation")];
    assert_eq!(known, expected.map(|(alias, is, role)| (alias.into(), is.into(), role.into())).each_ref().map(|(a, b, c)| (a, b, c)));
    assert!(listed.as_array().unwrap().iter().all(|model| model["problem"].is_null()), "{listed}");

    let searched = json(&work.run(&["model", "test", "brave", "--json"], "").await);
    assert_eq!(searched["found"][0], json!({ "title": "WebAssembly component model 1", "url": "https://example.org/1" }));
    assert_eq!(searched["found"].as_array().unwrap().len(), 3);
    let drawn = work.run(&["model", "test", "painter", "--output", "fox.png"], "").await;
    assert_eq!(drawn.code, Some(0), "{}", drawn.errors);
    // 20 tokens at 10 dollars a million, and 300 at 40.
    assert!(drawn.output.contains("drew 1 image in") && drawn.output.contains("tokens: 20 in, 300 out; $0.012200"), "{}", drawn.output);
    assert_eq!(fs::read(work.folder().join("fox.png")).unwrap(), PNG);
    let again = work.run(&["model", "test", "painter", "--output", "fox.png"], "").await;
    assert!(again.code == Some(1) && again.errors.contains("--output"), "what is there is not replaced: {}", again.errors);
    let answered = json(&work.run(&["model", "test", "main", "--json"], "").await);
    assert!(answered["answer"].is_string() && answered["usage"].is_object(), "{answered}");

    let unknown = work.run(&["model", "test", "nobody"], "").await;
    assert!(unknown.code == Some(7) && unknown.errors.contains("brave, main, painter"), "{}", unknown.errors);
    let none = work.run(&["model", "list", "brave"], "").await;
    assert!(none.code == Some(1) && none.errors.contains("cannot say which models"), "{}", none.errors);
    clean(&work, &[&drawn.output, &drawn.errors, &again.errors]);
}

#[tokio::test]
async fn doctor_tries_a_search_and_does_not_draw() {
    let (brave, painter) = (fake_brave::start(), fake_images::start());
    let mut work = work(&brave, &painter);
    let checks = json(&work.run(&["doctor", "--online", "--json"], "").await);
    let why = |checks: &Value, name: &str| {
        let check = checks.as_array().unwrap().iter().find(|check| check["name"] == name).unwrap().clone();
        (check["level"].as_str().unwrap().to_owned(), check["why"].as_str().unwrap().to_owned())
    };
    assert!(why(&checks, "model brave").1.starts_with("brave found 3 results in"), "{checks}");
    assert!(why(&checks, "model painter").1.contains("stellaclaw model test painter"), "{checks}");
    assert!(painter.seen().is_empty());
    work.set("BRAVE_KEY", "BSA-another-key-than-theirs");
    let ran = work.run(&["doctor", "--online", "--json"], "").await;
    let (level, reason) = why(&serde_json::from_str(&ran.output).unwrap(), "model brave");
    assert!(level == "fail" && reason.contains("refuses the key"), "{reason}");
    let refused = work.run(&["model", "test", "brave"], "").await;
    assert!(refused.code == Some(5) && refused.errors.contains("models.brave"), "{}", refused.errors);
}

#[tokio::test]
async fn an_account_says_which_models_it_has() {
    let list = json!({ "data": [
        { "id": "vendor/small", "name": "Small", "context_length": 8000, "pricing": { "prompt": "0.000001", "completion": "0.000002" } },
        { "id": "vendor/large", "name": "Large", "context_length": 200_000, "architecture": { "input_modalities": ["text", "image"] } },
    ] });
    let server = Web::start(move |visit| match (visit.target(), visit.header("authorization").as_deref()) {
        ("/v1/models", Some("Bearer sk-canary-of-the-account")) => {
            visit.answer("content-type: application/json\r\n", list.to_string().as_bytes())
        }
        _ => visit.say("HTTP/1.1 401 No\r\ncontent-length: 31\r\nconnection: close\r\n\r\n{\"error\":{\"message\":\"bad key\"}}"),
    });
    let mut work = Work::new();
    work.set("KEY", "sk-canary-of-the-account");
    work.configure(&format!(
        "[models.main]\nprovider = \"provider-openrouter\"\nmodel = \"vendor/small\"\nbase_url = {:?}\napi_key = {{ env = \"KEY\" }}\n",
        server.url("/v1")
    ));
    let listed = json(&work.run(&["model", "list", "main", "--json"], "").await);
    assert_eq!(listed[0]["ext"]["price"], json!({ "input": 1.0, "output": 2.0 }));
    assert_eq!(
        (&listed[1]["id"], &listed[1]["context_window"], &listed[1]["reads"]),
        (&json!("vendor/large"), &json!(200_000), &json!(["text", "image"]))
    );
    let table = work.run(&["model", "list", "main"], "").await;
    assert!(table.output.lines().nth(1).unwrap().starts_with("vendor/large  200000"), "{}", table.output);
    work.set("KEY", "sk-another-key-than-theirs");
    let refused = work.run(&["model", "list", "main"], "").await;
    assert!(refused.code == Some(4) && refused.errors.contains("bad key"), "{:?} {}", refused.code, refused.errors);
}

/// A scene in which the model calls a tool that asks others.
async fn scene(script: Script, brave: &Web, painter: &Web, more: &str) -> Scene {
    let courier = format!("[plugins.courier]\npath = {:?}\ntrust = \"path\"\n", guests::courier());
    let mut scene = Scene::with(script, &format!("{courier}{}{more}", entries(brave, painter))).await;
    keyed(&mut scene.work);
    scene
}

#[tokio::test]
async fn a_tool_searches_and_has_somebody_draw_in_a_conversation() {
    let (brave, painter) = (fake_brave::start(), fake_images::start());
    let look = |text: &str| ("look_up", json!({ "text": text, "count": 2 }));
    let draw = |text: &str, sources: &[usize]| ("have_drawn", json!({ "text": text, "sources": sources }));
    let script = Script::default().on(
        "go",
        [
            Answer::calls([look("red fox"), look("hurry up"), look("leak it"), draw("a fox", &[]), draw("bluer", &[9, 5])]),
            Answer::calls([draw("forbidden fruit", &[]), draw("leak it", &[])]),
            Answer::text("Done."),
        ],
    );
    let scene = scene(script, &brave, &painter, "").await;
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    let replies = client.talk("1", "go").await.unwrap();
    assert_eq!(replies.last().unwrap().text, "Done.", "{replies:?}");
    host.stop().await;
    let answers: Vec<_> =
        scene.fake.asks()[2].body["messages"].as_array().unwrap().iter().filter(|message| message["role"] == "tool").cloned().collect();
    let answer = |at: usize| answers[at]["content"].to_string();
    assert!(answer(0).contains("red fox 2") && answer(0).contains("All about red fox & more."), "{}", answer(0));
    assert!(answer(1).contains("Brave takes no more queries for now"), "{}", answer(1));
    assert!(answer(2).contains("cannot look up [redacted]"), "{}", answer(2));
    assert!(answer(3).contains("a fox, in oil") && answer(4).contains("bluer, in oil"), "{} {}", answer(3), answer(4));
    assert!(answer(5).contains("the vendor does not draw this"), "{}", answer(5));
    assert!(answer(6).contains("broken for [redacted]"), "{}", answer(6));
    assert_eq!((brave.seen().len(), painter.seen().len()), (3, 4));

    let usage = rusqlite::Connection::open(scene.work.database()).unwrap();
    let rows = usage
        .prepare("SELECT model, count(*), sum(output), sum(cost_micros) FROM usage WHERE model IN ('brave', 'painter') GROUP BY model ORDER BY model")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .unwrap()
        .collect::<Result<Vec<(String, u32, u32, Option<u32>)>, _>>()
        .unwrap();
    assert_eq!(rows, [("brave".to_owned(), 1, 0, None), ("painter".to_owned(), 2, 600, Some(24_400))]);
    clean(&scene.work, &[]);
}

#[tokio::test]
async fn nobody_is_asked_when_the_budget_is_spent() {
    let (brave, painter) = (fake_brave::start(), fake_images::start());
    let script = Script::default().on("go", [Answer::calls([("look_up", json!({ "text": "fox", "count": 1 }))]), Answer::text("never")]);
    let scene = scene(script, &brave, &painter, "[limits]\nturn_tokens = 100\n").await;
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.send("1", "go").await.unwrap();
    client.settle().await.unwrap();
    let shown = scene.work.run(&["conversation", "export", client.conversation()], "").await.output;
    host.stop().await;
    assert!(shown.contains("the budget of this turn is spent (limits.turn_spend, limits.turn_tokens)"), "{shown}");
    assert!(brave.seen().is_empty());
}
