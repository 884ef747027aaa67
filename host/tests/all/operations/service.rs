//! `service`: a unit is written, and systemd told; a fake `systemctl` stands in its place.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use crate::support::host::Work;

/// A machine whose `systemctl` writes down what it is told and ends with `code`.
fn machine(code: i32) -> Work {
    let mut work = Work::new();
    let bin = work.folder().join("bin");
    fs::create_dir(&bin).unwrap();
    let said = "UnitFileState=enabled\\nActiveState=active\\nSubState=running\\nStatusText=serving it\\n";
    let log = work.folder().join("systemctl.log");
    let script = format!(
        "#!/bin/sh\necho \"$@\" >>'{}'\ncase \"$2\" in show) printf '{said}';; esac\necho 'Failed to connect to bus: no bus' >&2\nexit {code}\n",
        log.display()
    );
    fs::write(bin.join("systemctl"), script).unwrap();
    fs::set_permissions(bin.join("systemctl"), fs::Permissions::from_mode(0o700)).unwrap();
    work.set("PATH", &format!("{}:/usr/bin:/bin", bin.display()));
    work
}

fn unit(work: &Work, name: &str) -> PathBuf {
    work.folder().join(".config/systemd/user").join(format!("{name}.service"))
}

/// What systemd was told.
fn told(work: &Work) -> Vec<String> {
    let log = fs::read_to_string(work.folder().join("systemctl.log")).unwrap_or_default();
    log.lines().filter(|line| *line != "--version").map(str::to_owned).collect()
}

#[tokio::test]
async fn a_unit_is_written_started_shown_and_removed() {
    let work = machine(0);
    work.configure("");
    let run = async |arguments: &[&str]| work.run(&[&["service"], arguments].concat(), "").await;
    assert_eq!(run(&["status"]).await.code, Some(7));
    let installed = run(&["install", "--now"]).await;
    assert_eq!(installed.code, Some(0), "{installed:?}");
    assert!(installed.output.contains("loginctl enable-linger"), "{installed:?}");
    assert_eq!(told(&work), ["--user daemon-reload", "--user enable stellaclaw", "--user restart stellaclaw"]);
    let path = unit(&work, "stellaclaw");
    let text = fs::read_to_string(&path).unwrap();
    for needed in [
        format!("--config \"{}\"", work.folder().join("config.toml").display()),
        format!("--workdir \"{}\" run\n", work.workdir().display()),
        format!("ReadWritePaths=\"{}\" %t\n", work.workdir().display()),
    ] {
        assert!(text.contains(&needed), "{needed}: {text}");
    }
    assert!(!text.contains("EnvironmentFile"), "there are no secrets");
    // A machine with systemd knows better than this test.
    if Command::new("systemd-analyze").arg("--version").output().is_ok() {
        let verified = Command::new("systemd-analyze").args(["--user", "verify"]).arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&verified.stderr).into_owned();
        assert!(!said.contains("stellaclaw.service:"), "{said}");
    }
    let status = run(&["status"]).await;
    assert!(
        status.code == Some(0) && status.output.contains("active   active (running)") && status.output.contains("serving it"),
        "{status:?}"
    );
    assert_eq!(run(&["install"]).await.code, Some(0), "again");
    let removed = run(&["uninstall"]).await;
    assert_eq!(removed.code, Some(0), "{removed:?}");
    assert!(!path.exists() && told(&work).contains(&"--user disable --now stellaclaw".to_owned()));
    assert_eq!(run(&["uninstall"]).await.code, Some(7));
}

#[tokio::test]
async fn values_of_secrets_are_asked_for_and_never_written() {
    let mut work = machine(0);
    work.set("MAIN_KEY", "sk-0123456789abcdef");
    work.configure("[models.main]\nprovider = \"provider-openrouter\"\nmodel = \"a/b\"\napi_key = { env = \"MAIN_KEY\" }\n");
    let install = async || work.run(&["service", "install", "--name", "second", "--now"], "").await;
    let file = work.folder().join(".config/stellaclaw/environment");
    let asked = install().await;
    assert!(asked.code == Some(4) && asked.output.contains("  MAIN_KEY=…\n"), "{asked:?}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(unit(&work, "second")).unwrap();
    assert!(text.contains(&format!("EnvironmentFile={}\n", file.display())) && !text.contains("sk-0123"), "{text}");
    assert!(!fs::read_to_string(&file).unwrap().contains("sk-0123"));
    assert!(!told(&work).contains(&"--user restart second".to_owned()), "it would only end again");
    fs::write(&file, "# mine\nMAIN_KEY=sk-0123456789abcdef\n").unwrap();
    let started = install().await;
    assert_eq!(started.code, Some(0), "{started:?}");
    assert!(fs::read_to_string(&file).unwrap().starts_with("# mine\n"), "it stays as it is");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let open = install().await;
    assert!(open.code == Some(1) && open.errors.contains("can be read by others"), "{open:?}");
}

#[tokio::test]
async fn what_somebody_else_wrote_stays_and_a_systemd_that_fails_is_told() {
    let work = machine(1);
    let path = unit(&work, "stellaclaw");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "[Service]\nExecStart=/mine\n").unwrap();
    for verb in ["install", "uninstall"] {
        let refused = work.run(&["service", verb], "").await;
        assert!(refused.code == Some(8) && refused.errors.contains("--force"), "{refused:?}");
    }
    assert!(fs::read_to_string(&path).unwrap().contains("/mine"));
    let failed = work.run(&["service", "install", "--force"], "").await;
    assert!(
        failed.code == Some(1)
            && failed.errors.contains("no bus; this user has no systemd")
            && failed.errors.contains("systemctl --user enable stellaclaw"),
        "{failed:?}"
    );
    assert!(fs::read_to_string(&path).unwrap().contains("Type=notify"), "the file is there all the same");
    let kept = work.run(&["service", "uninstall"], "").await;
    assert!(kept.code == Some(1) && path.exists(), "{kept:?}");
    assert_eq!(work.run(&["service", "install", "--name", "../x"], "").await.code, Some(2));
    // Without systemd.
    let mut bare = Work::new();
    bare.set("PATH", "/nonexistent");
    let absent = bare.run(&["service", "install"], "").await;
    assert!(absent.code == Some(1) && absent.errors.contains("there is no systemctl"), "{absent:?}");
    assert!(unit(&bare, "stellaclaw").exists());
    assert_eq!(bare.run(&["service", "uninstall"], "").await.code, Some(0));
    // What is wrong is found before anything is written.
    bare.configure("nonsense = 1\n");
    assert_eq!(bare.run(&["service", "install"], "").await.code, Some(3));
    assert!(!unit(&bare, "stellaclaw").exists());
}

#[tokio::test]
async fn who_is_set_up_can_have_the_unit_at_once() {
    let work = machine(0);
    let init = async |more: &[&str]| {
        work.run(&[&["init", "--yes", "--provider", "offline", "--untested", "--no-telegram", "--force"], more].concat(), "").await
    };
    let without = init(&[]).await;
    assert!(without.code == Some(0) && told(&work).is_empty(), "{without:?}");
    let with = init(&["--service"]).await;
    assert_eq!(with.code, Some(0), "{with:?}");
    assert_eq!(told(&work), ["--user daemon-reload", "--user enable stellaclaw", "--user restart stellaclaw"]);
    let text = fs::read_to_string(unit(&work, "stellaclaw")).unwrap();
    assert!(text.contains(".config/stellaclaw/config.toml"), "{text}");
}
