//! What is a patch.

use stellaclaw_sdk::ErrorKind;

use super::*;

fn place(path: &str) -> Place {
    Place::parse(path).unwrap()
}

fn put(text: &str) -> Line {
    Line::Put(text.to_owned(), Ending::Around)
}

fn body(text: &str) -> String {
    format!("*** Begin Patch\n{text}\n*** End Patch")
}

#[test]
fn all_sections() {
    let text = "*** Add File: /workspace/a/new.txt\n+one\n+\n*** Delete File: old.txt\n*** Update File: x.rs\n*** Move to: y.rs\n\
                @@ fn a\n@@ fn b\n keep\n-drop\n+put\n\n@@\n+end\n*** End of File";
    let sections = parse(&body(text)).unwrap();
    let hunks = vec![
        Hunk {
            anchors: vec!["fn a".into(), "fn b".into()],
            lines: vec![Line::Keep("keep".into()), Line::Drop("drop".into()), put("put"), Line::Keep(String::new())],
            at_end: false,
            which: Which::First,
        },
        Hunk { anchors: vec![], lines: vec![put("end")], at_end: true, which: Which::First },
    ];
    assert_eq!(
        sections,
        [
            Change::Add { place: place("a/new.txt"), content: "one\n\n".into() },
            Change::Delete { file: place("old.txt").into(), hunks: vec![] },
            Change::Update { file: place("x.rs").into(), to: Some(place("y.rs")), hunks },
        ]
        .map(|change| Section { change, replaces: true, mode: None })
    );
}

#[test]
fn what_models_add_is_tolerated() {
    let plain = parse(&body("*** Update File: a\n-x\n+y")).unwrap();
    assert_eq!(parse("<<'EOF'\n*** Begin Patch\n*** Update File: a\n-x\n+y\n*** End Patch\nEOF").unwrap(), plain);
    assert_eq!(parse(&body("*** Update File: a\n\n@@ -1,2 +3,4 @@ fn x\n-x\n+y\n\n").replace('\n', "\r\n")).unwrap(), plain);
    assert_eq!(parse(&format!("\n  {}\n\n", body("*** Update File: a\n@@ @@\n-x\n+y"))).unwrap(), plain);
}

#[test]
fn a_move_needs_no_hunk() {
    let sections = parse(&body("*** Update File: a\n*** Move to: b")).unwrap();
    let change = Change::Update { file: place("a").into(), to: Some(place("b")), hunks: vec![] };
    assert_eq!(sections, [Section { change, replaces: true, mode: None }]);
}

#[test]
fn what_is_no_patch_is_refused_with_its_line() {
    for (patch, part) in [
        (String::new(), "the patch is empty; it is either a unified diff"),
        ("change a to b".into(), "starts with `change a to b`; it is either a unified diff"),
        ("*** Begin Patch\n*** Delete File: a".into(), "it must be `*** End Patch`"),
        (body(""), "changes no file"),
        (body("hello"), "line 2 of the patch: `hello` starts no section"),
        (body("*** Add File: a\nx"), "line 3 of the patch"),
        (body("*** Update File: a"), "has no hunk"),
        (body("*** Update File: a\n@@\n*** Delete File: b"), "a hunk has no lines"),
        (body("*** Update File: a\n@@\n x\nfoo"), "line 5 of the patch: `foo` is not part of a hunk"),
        (body("*** Delete File: /etc/passwd"), "outside the workspace"),
        (body("*** Update File: a\n*** Move to: ../b\n@@\n x"), "outside the workspace"),
        (body("*** Add File: .\n+x"), "the name of the file is missing"),
    ] {
        let error = parse(&patch).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert!(error.message.contains(part), "{patch}: {}", error.message);
    }
}
