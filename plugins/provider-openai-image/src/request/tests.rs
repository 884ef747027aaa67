use super::*;

fn entry(options: Options) -> Entry {
    let json = r#"{"model":"gpt-image-1","base_url":null,"timeouts":{"connect":1,"idle":2,"total":3}}"#;
    let plain: Entry = serde_json::from_str(json).unwrap();
    Entry { options, ..plain }
}

fn text(post: &Post) -> String {
    let bytes = post.body.iter().flat_map(|piece| match piece {
        Piece::Bytes(bytes) => bytes.as_slice(),
        Piece::Blob(_) => unreachable!("nothing is a blob"),
    });
    String::from_utf8_lossy(&bytes.copied().collect::<Vec<_>>()).into_owned()
}

fn image(media_type: &str) -> Image {
    Image { media_type: media_type.into(), data: b"bytes".to_vec() }
}

fn changes(sources: Vec<Image>, mask: Option<Image>) -> EditPrompt {
    EditPrompt { prompt: Prompt::new("make it blue"), sources, mask }
}

#[test]
fn a_drawing_is_asked_for_in_json() {
    let prompt = Prompt { size: Some("1536x1024".into()), count: 99, ..Prompt::new("a \"red\" fox") };
    let options = Options {
        size: Some("1024x1024".into()),
        quality: Some("high".into()),
        output_format: Some("webp".into()),
        output_compression: Some(80),
        input_fidelity: Some("high".into()),
        ..Options::default()
    };
    let post = generation(&prompt, &entry(options)).unwrap();
    assert_eq!((post.url.as_str(), post.content_type.as_str()), ("https://api.openai.com/v1/images/generations", "application/json"));
    insta::assert_snapshot!(text(&post), @r#"{"model":"gpt-image-1","prompt":"a \"red\" fox","n":10,"size":"1536x1024","quality":"high","output_format":"webp","output_compression":80}"#);
    let plain = generation(&Prompt::new("a fox"), &entry(Options::default())).unwrap();
    assert_eq!(text(&plain), r#"{"model":"gpt-image-1","prompt":"a fox","n":1}"#);
}

#[test]
fn a_change_is_asked_for_with_a_form() {
    let options = Options { input_fidelity: Some("high".into()), ..Options::default() };
    let edited = changes(vec![image("image/png"), image("image/jpeg")], Some(image("image/png")));
    let post = edit(&edited, &entry(options)).unwrap();
    assert_eq!(post.url, "https://api.openai.com/v1/images/edits");
    assert_eq!(post.content_type, "multipart/form-data; boundary=stellaclaw-form-00000000");
    insta::assert_snapshot!(text(&post).replace("\r\n", "\n"));
    let one = edit(&changes(vec![image("image/webp")], None), &entry(Options::default())).unwrap();
    assert!(text(&one).contains("name=\"image\"; filename=\"image-0.webp\"\r\nContent-Type: image/webp"), "{}", text(&one));
}

#[test]
fn the_address_of_one_function_leads_to_both() {
    for base in [
        "https://proxy.example/v1",
        "https://proxy.example/v1/",
        "https://proxy.example/v1/images/edits",
        "https://proxy.example/v1/images/generations/",
    ] {
        let entry = Entry { base_url: Some(base.into()), ..entry(Options::default()) };
        assert_eq!(generation(&Prompt::new("x"), &entry).unwrap().url, "https://proxy.example/v1/images/generations", "{base}");
        assert_eq!(edit(&changes(vec![image("image/png")], None), &entry).unwrap().url, "https://proxy.example/v1/images/edits", "{base}");
    }
}

#[test]
fn what_the_vendor_does_not_take_is_refused_with_what_would_help() {
    let plain = entry(Options::default());
    let refusal = |prompt: Prompt| generation(&prompt, &plain).unwrap_err().message;
    assert!(refusal(Prompt::new(" ")).contains("empty"));
    for size in ["big", "1024", "x", "1024x", "1024X1024", "-1x5"] {
        assert!(refusal(Prompt { size: Some(size.into()), ..Prompt::new("x") }).contains("WIDTHxHEIGHT"), "{size}");
    }
    let refusal = |sources: Vec<Image>, mask: Option<Image>| edit(&changes(sources, mask), &plain).unwrap_err().message;
    assert!(refusal(Vec::new(), None).contains("1 to 16"));
    assert!(refusal(vec![image("image/png"); 17], None).contains("17 images"));
    assert!(refusal(vec![image("image/gif")], None).contains("give PNG, JPEG or WebP"));
    assert!(refusal(vec![image("image/png\r\nx: y")], None).contains("give PNG, JPEG or WebP"), "nothing of a type gets into a head");
    assert!(refusal(vec![image("image/png")], Some(image("image/jpeg"))).contains("give a PNG"));
}
