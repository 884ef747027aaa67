use super::*;

fn paths(markdown: &str) -> Vec<String> {
    find(markdown).files.into_iter().map(|file| file.path).collect()
}

fn refusals(markdown: &str) -> Vec<(String, Refusal)> {
    let found = find(markdown);
    assert_eq!(found.files, []);
    // Refused is visible: it stays as it was written.
    assert_eq!(found.markdown(|_| true), markdown);
    found.refused
}

#[test]
fn links_pictures_and_tags_attach_files() {
    let found = find(
        "See [the **report**](out/report.pdf) and ![](chart.png).\n\n<attachment>data/a_b_c.csv</attachment>\nBye [again](./out/report.pdf).",
    );
    let files: Vec<(&str, &str)> = found.files.iter().map(|file| (file.path.as_str(), file.label.as_str())).collect();
    assert_eq!(files, [("out/report.pdf", "the report"), ("chart.png", "chart.png"), ("data/a_b_c.csv", "a_b_c.csv")]);
    assert_eq!(found.refused, []);
    assert_eq!(found.markdown(|_| true), "See the **report** and .\n\n\nBye again.");
}

#[test]
fn a_file_that_there_is_not_stays_a_link() {
    let found = find("[x](foo) [y](bar) <attachment>baz</attachment>");
    assert_eq!(found.markdown(|path| path == "bar"), "[x](foo) y <attachment>baz</attachment>");
}

#[test]
fn pictures_in_links_are_taken_out_one_by_one() {
    let found = find("[![small](a.png) big](b.png)");
    assert_eq!(found.markdown(|_| true), "small big");
    assert_eq!(found.markdown(|path| path == "a.png"), "[small big](b.png)");
    assert_eq!(found.markdown(|path| path == "b.png"), "![small](a.png) big");
}

#[test]
fn code_and_addresses_attach_nothing() {
    for text in [
        "`[a](b)` `<attachment>c</attachment>`",
        "```\n[a](b)\n<attachment>c</attachment>\n```",
        "text\n\n    <attachment>c</attachment>\n",
        "[a](https://b.org/c.png) <https://b.org> <a@b.org> [a](mailto:a@b.org)",
        "[a](#chapter) [b](file.md#L10) [c](//host/path) [d]() [e](?q)",
        "<attachment>no end",
        "<attachment>two\nlines</attachment>",
    ] {
        let found = find(text);
        assert_eq!((found.files, found.refused), (vec![], vec![]), "{text}");
    }
}

#[test]
fn paths_are_relative_to_the_workspace() {
    assert_eq!(
        paths("[a](/workspace/x/y.txt) [b](././x//z.txt) [c](<a b.txt>) [d](a%20c.txt) [e](%C3%A4.txt) [f](100%.txt)"),
        ["x/y.txt", "x/z.txt", "a b.txt", "a c.txt", "ä.txt", "100%.txt"]
    );
    assert_eq!(paths("<attachment> a b%20.txt </attachment>"), ["a b%20.txt"]);
    assert_eq!(paths("[a][ref]\n\n[ref]: notes/n.md"), ["notes/n.md"]);
}

#[test]
fn what_leads_elsewhere_is_refused() {
    let all = |refusal: Refusal, targets: &[&str]| {
        for target in targets {
            assert_eq!(refusals(&format!("[a]({target})")), [((*target).to_owned(), refusal)]);
        }
    };
    all(Refusal::FileAddress, &["file:///etc/passwd", "FILE:x"]);
    all(Refusal::Outside, &["/etc/passwd", "/workspace", "/workspaces/x", "%2fetc/passwd"]);
    all(Refusal::Parent, &["../x", "a/../b", "/workspace/../etc/passwd", "%2e%2e/x", "a/%2E%2E/b", ".."]);
    all(Refusal::NoPath, &["%00", "a%0Ab", "%ff", ".", "/workspace/"]);
    let tagged = refusals("<attachment>file:x</attachment> <attachment>/etc/passwd</attachment> <attachment></attachment>");
    assert_eq!(tagged.iter().map(|(_, refusal)| *refusal).collect::<Vec<_>>(), [Refusal::FileAddress, Refusal::Outside, Refusal::NoPath]);
}

#[test]
fn there_are_only_so_many() {
    let links: String = (0..25).map(|file| format!("[{file}](f{file}) [{file}](f{file})\n")).collect();
    let found = find(&links);
    assert_eq!(found.files.len(), limits::ATTACHMENTS);
    assert_eq!(found.refused.len(), 10);
    assert!(found.refused.iter().all(|(_, refusal)| *refusal == Refusal::TooMany));
    assert!(
        found
            .markdown(|_| true)
            .ends_with("19 19\n[20](f20) [20](f20)\n[21](f21) [21](f21)\n[22](f22) [22](f22)\n[23](f23) [23](f23)\n[24](f24) [24](f24)\n")
    );
}
