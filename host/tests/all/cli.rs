//! What the verbs say, and the code they end with.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

/// A fresh user of this machine: a home without anything in it.
struct User(TempDir);

/// How a run ended.
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl User {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn run(&self, args: &[&str]) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stellaclaw"));
        command.env_clear().env("HOME", self.0.path()).env("PATH", "/usr/bin:/bin").current_dir(self.0.path()).args(args);
        let done = command.output().unwrap();
        let home = self.0.path().to_str().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(home, "~");
        Ended { code: done.status.code().unwrap(), out: text(done.stdout), err: text(done.stderr) }
    }

    fn json(&self, args: &[&str], code: i32) -> Value {
        let ended = self.run(args);
        assert_eq!(ended.code, code, "{} {}", ended.out, ended.err);
        serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {}", ended.out))
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

#[test]
fn help_names_the_verbs_and_the_exit_codes() {
    let user = User::new();
    let help = user.run(&["--help"]);
    assert_eq!(help.code, 0);
    insta::assert_snapshot!(help.out);
    insta::assert_snapshot!(user.run(&["plugin", "call", "--help"]).out);
}

#[test]
fn shells_complete_verbs_and_options() {
    let user = User::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = user.run(&["completions", shell]);
        assert!(script.code == 0 && script.out.contains("backup") && script.out.contains("workdir"), "{shell}: {}", script.err);
    }
    assert_eq!(user.run(&["completions", "cobol"]).code, 2);
    user.write("script", &user.run(&["completions", "bash"]).out);
    let complete = |words: &str, last: usize| {
        let ask = format!(
            "source ./script; COMP_WORDS=({words}); COMP_CWORD={last}; _stellaclaw stellaclaw \"${{COMP_WORDS[{last}]}}\" \"${{COMP_WORDS[{last}-1]}}\"; echo ${{COMPREPLY[@]}}"
        );
        let done = Command::new("bash").args(["-c", &ask]).current_dir(user.0.path()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    assert_eq!(complete("stellaclaw bac", 1), "backup\n");
    assert_eq!(complete("stellaclaw backup ver", 2), "verify\n");
    assert_eq!(complete("stellaclaw status --js", 2), "--json\n");
}

#[test]
fn wrong_arguments_end_with_2() {
    let user = User::new();
    for args in [&["sing"][..], &["-v", "-q", "status"], &["plugin", "call"], &["status", "--color", "blue"]] {
        let ended = user.run(args);
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{args:?}");
        assert!(ended.err.starts_with("error: "), "{}", ended.err);
    }
    let grant = user.run(&["plugin", "call", "tools-fs", "ls", "{}", "--grant", "everything"]);
    assert_eq!(grant.code, 2, "{}", grant.err);
    assert_eq!(grant.err, "stellaclaw: --grant everything: write fs=…, http=… or private=…\n");
}

#[test]
fn a_wrong_config_is_a_result_of_check_and_an_error_of_everything_else() {
    let user = User::new();
    user.write("bad.toml", "version = \"0.5\"\n[limits]\nturn_stepps = 3\n");
    let says = "bad.toml:3: limits.turn_stepps: unknown key `turn_stepps`; did you mean `turn_steps`?\n";
    let check = user.run(&["--config", "bad.toml", "config", "check"]);
    assert_eq!((check.code, check.out.as_str(), check.err.as_str()), (3, says, ""));
    let json = user.json(&["--config", "bad.toml", "config", "check", "--json"], 3);
    assert_eq!((&json["ok"], &json["problems"][0]["line"]), (&Value::Bool(false), &Value::from(3)));
    let status = user.run(&["--config", "bad.toml", "status"]);
    assert_eq!((status.code, status.out.as_str(), status.err), (3, "", format!("stellaclaw: {says}")));
}

#[test]
fn a_config_that_was_named_must_exist() {
    let ended = User::new().run(&["--config", "none.toml", "config", "check"]);
    assert_eq!(ended.code, 3);
    assert_eq!(ended.err, "stellaclaw: failed to read the configuration none.toml: No such file or directory (os error 2)\n");
}

#[test]
fn the_config_of_the_home_is_found() {
    let user = User::new();
    user.write(".config/stellaclaw/config.toml", "version = \"0.5\"\n");
    let ended = user.run(&["config", "check"]);
    assert_eq!((ended.code, ended.out.as_str()), (0, "~/.config/stellaclaw/config.toml: right; default model offline\n"));
    let ended = User::new().run(&["config", "check"]);
    assert_eq!((ended.code, ended.out.as_str()), (0, "no configuration, the embedded default: right; default model offline\n"));
}

#[test]
fn what_needs_a_work_directory_says_that_there_is_none_and_how_it_comes() {
    let user = User::new();
    let says = "there is no work directory ~/.local/share/stellaclaw; `stellaclaw run` or `stellaclaw chat` makes it, --workdir names another one\n";
    for verb in [&["logs"][..], &["conv", "list"], &["conversation", "show", "c1"], &["conv", "stop", "c1"], &["stop-all"], &["resume"]] {
        let ended = user.run(verb);
        assert_eq!((ended.code, ended.out.as_str(), ended.err), (7, "", format!("stellaclaw: {says}")), "{verb:?}");
    }
    assert_eq!(user.run(&["status", "--exit-code"]).out, format!("no host runs: {says}"));
    assert!(!user.0.path().join(".local").exists());
    user.write("work/.keep", "");
    let logs = user.run(&["--workdir", "work", "logs"]);
    assert_eq!(
        (logs.code, logs.out.as_str(), logs.err.as_str()),
        (0, "", "there is no log in ~/work/logs yet; `stellaclaw run` writes it\n")
    );
    let long = "x".repeat(120);
    let run = user.run(&["--workdir", &long, "run"]);
    assert!(run.code == 3 && run.err.contains("choose another work directory with --workdir"), "{}", run.err);
}

#[test]
fn a_status_before_the_first_start_makes_nothing() {
    let user = User::new();
    let status = user.json(&["status", "--json"], 0);
    assert_eq!((&status["running"], &status["store"]), (&Value::Bool(false), &Value::Null));
    assert_eq!(status["workdir"], "~/.local/share/stellaclaw");
    assert!(!user.0.path().join(".local").exists());
}

#[test]
fn a_name_of_a_file_steers_no_terminal() {
    let user = User::new();
    let name = "work/plugins/red\u{1b}[31m.wasm";
    user.write(name, "not a component");
    for verb in [&["status"][..], &["doctor"], &["plugin", "list"], &["plugin", "inspect", name], &["plugin", "check", name]] {
        let args: Vec<_> = ["--workdir", "work"].iter().chain(verb).copied().collect();
        let ended = user.run(&args);
        let told = ended.out + &ended.err;
        assert!(told.contains("red␛[31m") && !told.contains('\u{1b}'), "{verb:?}: {told:?}");
    }
}

#[test]
fn doctor_finds_a_fresh_machine_healthy_and_changes_nothing() {
    let user = User::new();
    let report = user.json(&["doctor", "--json"], 0);
    let checks: Vec<_> = report.as_array().unwrap().iter().map(|check| (&check["name"], &check["level"])).collect();
    for name in ["configuration", "work directory", "disk", "component provider-offline", "component tools-fs"] {
        assert!(checks.contains(&(&name.into(), &"ok".into())), "{name}: {checks:?}");
    }
    assert!(!user.0.path().join(".local").exists());
}

#[test]
fn doctor_says_what_is_wrong_and_how_to_repair_it() {
    let user = User::new();
    let model = "provider = \"provider-openrouter\"\nmodel = \"m\"\n";
    let wrong = "[models.main.options]\nno_such_option = 1\n[plugins.tools-sf]\nfs = []\n";
    user.write("config.toml", &format!("version = \"0.5\"\n[models.main]\n{model}api_key = {{ env = \"NO_SUCH_KEY\" }}\n{wrong}"));
    fs::set_permissions(user.0.path().join("config.toml"), fs::Permissions::from_mode(0o666)).unwrap();
    user.write("work/plugins/broken.wasm", "not a component");
    fs::set_permissions(user.0.path().join("work"), fs::Permissions::from_mode(0o755)).unwrap();
    let report = user.json(&["--config", "config.toml", "--workdir", "work", "doctor", "--json"], 1);
    let level = |name: &str| {
        let check = report.as_array().unwrap().iter().find(|check| check["name"] == name);
        let check = check.unwrap_or_else(|| panic!("no {name} in {report}"));
        assert!(check["level"] == "ok" || check["repair"].is_string(), "{check}");
        check["level"].as_str().unwrap().to_owned()
    };
    assert_eq!(level("configuration"), "warn");
    assert_eq!(level("models.main.api_key"), "fail");
    assert_eq!(level("component broken"), "fail");
    assert_eq!(level("component tools-fs"), "ok");
    assert_eq!(level("models.main"), "fail", "the component refuses its options");
    assert_eq!(level("plugins.tools-sf"), "warn", "a slip of the pen");
}

#[test]
fn a_tool_is_called_without_a_model_and_without_a_work_directory() {
    let user = User::new();
    user.write("note.txt", "hello\n");
    let answer = user.json(&["plugin", "call", "tools-fs", "file_read", "{\"path\": \"note.txt\"}"], 0);
    assert!(answer["ok"] == true && answer["parts"].to_string().contains("hello"), "{answer}");
    assert!(!user.0.path().join(".local").exists());
}

#[test]
fn a_call_ends_with_the_code_of_its_outcome() {
    let user = User::new();
    user.write("space/note.txt", "hello\n");
    // With a cache only the first call compiles.
    user.write("work/cache/.keep", "");
    let call = |tool: &str, arguments: &str, grants: &[&str]| {
        let mut args = vec!["plugin", "call", "tools-fs", tool, arguments, "--workspace", "space", "--workdir", "work"];
        args.extend(grants);
        user.run(&args)
    };
    let missing = call("file_read", "{\"path\": \"none.txt\"}", &[]);
    assert_eq!(missing.code, 1, "{}", missing.out);
    assert_eq!(call("file_read", "{\"path\": 3}", &[]).code, 1);
    assert_eq!(call("file_sing", "{}", &[]).code, 7);
    let write = "{\"path\": \"new.txt\", \"content\": \"x\"}";
    let refused = call("file_write", write, &["--grant", "fs=workspace:ro"]);
    assert_eq!(refused.code, 8, "{} {}", refused.out, refused.err);
    assert!(!user.0.path().join("space/new.txt").exists());
    // Nothing at all granted is a refusal, too, and names the line.
    let nothing = call("file_read", "{\"path\": \"note.txt\"}", &["--grant", "http=https://x.example"]);
    assert!(nothing.code == 8 && nothing.out.contains("[plugins.tools-fs] fs = "), "{} {}", nothing.out, nothing.err);
    assert_eq!(call("file_write", write, &[]).code, 0);
    let diff = |old: &str| {
        let rename = "diff --git a/note.txt b/d/note.md\nrename from note.txt\nrename to d/note.md";
        let rest = "--- a/new.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n\\ No newline at end of file";
        let diff = format!(
            "{rename}\n--- a/note.txt\n+++ b/d/note.md\n@@ -1 +1 @@\n-{old}\n+bye\n{rest}\n--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+n\n"
        );
        call("apply_patch", &serde_json::json!({ "patch": diff }).to_string(), &[])
    };
    let space = || crate::support::files(&user.0.path().join("space")).into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>();
    assert!(diff("hallo").code == 1 && space().contains(&b"hello\n".to_vec()) && space().contains(&b"x".to_vec()), "all or nothing");
    let patched = diff("hello");
    assert_eq!((patched.code, space().len()), (0, 2), "{} {}", patched.out, patched.err);
    assert!(space().contains(&b"bye\n".to_vec()) && space().contains(&b"n\n".to_vec()));
    assert_eq!(user.run(&["plugin", "call", "no-such-plugin", "x", "--workdir", "work"]).code, 7);
    assert_eq!(user.run(&["plugin", "call", "./none.wasm", "x", "--workdir", "work"]).code, 7);
}

#[test]
fn an_inspection_shows_what_a_component_is_could_do_and_may_do() {
    let user = User::new();
    let found = user.json(&["plugin", "inspect", "tools-fs", "--json"], 0);
    assert_eq!(found["name"], "tools-fs");
    assert!(!found["exports"].as_array().unwrap().is_empty() && !found["grants"].as_array().unwrap().is_empty());
    assert_eq!(user.run(&["plugin", "inspect", "no-such-plugin"]).code, 7);
    // Everything but the digest, which follows the compiler.
    let shown = user.run(&["plugin", "inspect", "tools-fs"]).out;
    let (head, rest) = shown.split_once('\n').unwrap();
    assert!(head.starts_with("tools-fs 0.1.0 (contract 0.1.0, sha256 "), "{head}");
    let (rest, offers) = rest.split_once("offers (what a model reads)\n").unwrap();
    insta::assert_snapshot!("plugin_inspect_tools_fs", rest);
    assert!(offers.starts_with("  file_read: Reads a text file.") && offers.contains("\n  grep: "), "{offers}");
    let list = user.json(&["plugin", "list", "--json"], 0);
    let names: Vec<_> = list.as_array().unwrap().iter().map(|plugin| plugin["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "provider-brave-search",
            "provider-claude",
            "provider-codex",
            "provider-offline",
            "provider-openai-image",
            "provider-openrouter",
            "tools-fs"
        ]
    );
}
