//! Tool calls in fresh sandboxes, beside subprocesses and native code.

use std::path::Path;
use std::process::{Command, Stdio};

use tokio::runtime::Runtime;

use crate::measure::{Candidate, interleave, ratio, report};
use crate::rig;

/// `plugin call`'s smallest tool: an argument error, answered by the guest, is the whole host path without work.
pub fn calls(runtime: &Runtime) {
    let folder = tempfile::tempdir().expect("a folder");
    let workspace = folder.path().join("workspace");
    std::fs::create_dir(&workspace).expect("a workspace");
    std::fs::write(workspace.join("ten.txt"), "0123456789abcde\n".repeat(640)).expect("10 KB");
    let plugins = runtime.block_on(rig::plugins(folder.path(), rig::config(MINIMAL)));
    let catalog = runtime.block_on(plugins.tools(&rig::info()));
    let (read, list) = (catalog.get("file_read").expect("file_read"), catalog.get("ls").expect("ls"));
    let empty = workspace.join("empty");
    std::fs::create_dir(&empty).expect("a directory");
    let context = rig::context(&workspace);

    let mut candidates = [
        Candidate::new("empty call (ls of an empty directory), fresh sandbox", || {
            runtime.block_on(rig::call(&plugins, list, context.clone(), r#"{"path":"empty"}"#));
        }),
        Candidate::new("spawning /bin/true", || run("/bin/true", &[])),
    ];
    interleave(&mut candidates, 200, 2000);
    report("empty tool call", &candidates);
    println!("  bar: ≤ 1/6; here 1/{:.1}", 1.0 / ratio(candidates[0].median(), candidates[1].median()));

    let file = workspace.join("ten.txt");
    let mut candidates = [
        Candidate::new("file_read of 10 KB, fresh sandbox", || {
            runtime.block_on(rig::call(&plugins, read, context.clone(), r#"{"file_path":"ten.txt"}"#));
        }),
        Candidate::new("native read", || {
            std::hint::black_box(std::fs::read_to_string(&file).expect("10 KB"));
        }),
        Candidate::new("spawning /bin/cat", || run("/bin/cat", &[file.to_str().expect("UTF-8")])),
    ];
    interleave(&mut candidates, 200, 2000);
    report("file_read", &candidates);
    println!("  bar: ≤ 1/5; here 1/{:.1}", 1.0 / ratio(candidates[0].median(), candidates[2].median()));
}

/// 20,000 files of 4 KB in 200 directories, every tenth ignored.
pub fn grep(runtime: &Runtime) {
    let folder = tempfile::tempdir().expect("a folder");
    let workspace = folder.path().join("workspace");
    plant(&workspace);
    let plugins = runtime.block_on(rig::plugins(folder.path(), rig::config(MINIMAL)));
    let catalog = runtime.block_on(plugins.tools(&rig::info()));
    let tool = catalog.get("grep").expect("grep");
    let context = rig::context(&workspace);
    let arguments = r#"{"pattern":"needle_in_haystack"}"#;
    let target = workspace.to_str().expect("UTF-8").to_owned();
    let mut candidates = [
        Candidate::new("grep in a component", || {
            runtime.block_on(rig::call(&plugins, tool, context.clone(), arguments));
        }),
        Candidate::new("rg -j1 -l", || run("rg", &["-j1", "-l", "--no-require-git", "needle_in_haystack", &target])),
    ];
    interleave(&mut candidates, 3, 15);
    report("grep over 20,000 files", &candidates);
    println!("  bar: ≤ 2 ×; here {:.2} ×", ratio(candidates[0].median(), candidates[1].median()));
}

fn plant(workspace: &Path) {
    let line = "the quick brown fox jumps over the lazy dog and goes on\n";
    for directory in 0..200 {
        let path = workspace.join(format!("d{directory:03}"));
        std::fs::create_dir_all(&path).expect("a directory");
        std::fs::write(path.join(".gitignore"), "*9.txt\n").expect("rules");
        for file in 0..100 {
            let mut text = line.repeat(72);
            if file == 50 {
                text.push_str("needle_in_haystack\n");
            }
            std::fs::write(path.join(format!("f{file:02}.txt")), text).expect("a file");
        }
    }
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().expect(program);
    assert!(status.success(), "{program}");
}

const MINIMAL: &str = r#"
version = "0.5"
default_model = "offline"
[models.offline]
provider = "provider-offline"
model = "offline"
"#;
