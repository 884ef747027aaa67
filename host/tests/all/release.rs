//! A version is released once: when VERSION changed and its tag is missing, with sums that match, and with a frozen contract.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::{read, root, sha256};

/// A repository with the script, and the bare one that it pushes to.
struct Project(TempDir);

impl Project {
    fn new(version: &str) -> Self {
        let project = Self(tempfile::tempdir().unwrap());
        project.git(&["init", "-q", "--bare", "origin.git"], ".");
        project.git(&["init", "-q", "-b", "main", "work"], ".");
        project.git(&["remote", "add", "origin", "../origin.git"], "work");
        fs::create_dir(project.path("scripts")).unwrap();
        fs::copy(root().join("scripts/release.sh"), project.path("scripts/release.sh")).unwrap();
        fs::write(project.path("example_config.toml"), "version = \"0.5\"\n").unwrap();
        project.write("wit/tools.wit", "package stellaclaw:plugin@0.1.0;\n");
        project.freeze();
        project.bump(version);
        project
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join("work").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    /// The contract as it is now, in the form that `freeze-contract.sh` gives it.
    fn freeze(&self) {
        let files = [("wit/frozen/0.1.0/tools.wit", "package stellaclaw:plugin@0.1.0;\n"), (FIXTURE, "a component")];
        let sums = files.map(|(name, text)| {
            self.write(name, text);
            format!("{}  {name}\n", sha256(text.as_bytes()))
        });
        self.write("wit/frozen/SHA256SUMS", &sums.concat());
    }

    /// A commit in which everything names `version`.
    fn bump(&self, version: &str) {
        fs::write(self.path("VERSION"), format!("{version}\n")).unwrap();
        fs::write(self.path("Cargo.toml"), format!("[workspace.package]\nversion = \"{version}\"\n")).unwrap();
        fs::write(self.path("CHANGELOG.md"), format!("# Changes\n\n## [{version}]\n\n- new in {version}\n\n## [0.0.1]\n\n- old\n"))
            .unwrap();
        self.commit();
    }

    fn commit(&self) {
        self.git(&["add", "-A"], "work");
        self.git(&["commit", "-q", "--allow-empty", "-m", "change"], "work");
    }

    fn git(&self, args: &[&str], folder: &str) {
        let done = self.command("git", folder).args(args).output().unwrap();
        assert!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn release(&self, args: &[&str]) -> Output {
        self.command("bash", "work").arg("scripts/release.sh").args(args).output().unwrap()
    }

    fn plan(&self) -> String {
        let done = self.release(&["plan"]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    /// A command that no configuration of this machine reaches.
    fn command(&self, program: &str, folder: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.0.path().join(folder));
        command.envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_SYSTEM", "/dev/null")]);
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "t").env(format!("GIT_{role}_EMAIL"), "t@example.org");
        }
        for inherited in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
            command.env_remove(inherited);
        }
        command
    }
}

const FIXTURE: &str = "host/tests/fixtures/frozen/0.1.0.wasm";

#[test]
fn nothing_is_released_before_its_contract_is_frozen() {
    let project = Project::new("0.1.0");
    let refused = |what: &str| {
        for verb in [&["plan"][..], &["pack", "scripts/release.sh", "dist"], &["tag"]] {
            let done = project.release(verb);
            let said = String::from_utf8(done.stderr).unwrap();
            assert!(!done.status.success() && said.contains(what), "{verb:?}: {said}");
        }
        assert!(!project.path("dist").exists());
        project.freeze();
    };
    fs::remove_file(project.path(FIXTURE)).unwrap();
    refused("release: the contract 0.1.0 is not frozen; run scripts/freeze-contract.sh 0.1.0 and commit what it makes\n");
    fs::remove_dir_all(project.path("wit/frozen")).unwrap();
    refused("the contract 0.1.0 is not frozen");
    fs::remove_file(project.path("wit/frozen/SHA256SUMS")).unwrap();
    refused("has no sum in wit/frozen/SHA256SUMS");
    project.write(FIXTURE, "another component");
    refused("release: what was frozen has changed; put it back\n");
    // After the freeze: in the file that is worked on, in another one, and in the version of one of them.
    project.write("wit/tools.wit", "package stellaclaw:plugin@0.1.0;\n\ninterface tools {}\n");
    refused("tools.wit is not as the contract 0.1.0 was frozen; give the contract in wit/ a new version");
    project.write("wit/tools.wit", "package stellaclaw:plugin@0.1.0;\n");
    project.write("wit/more.wit", "package stellaclaw:plugin@0.1.0;\n");
    refused("more.wit is not as the contract 0.1.0 was frozen");
    project.write("wit/more.wit", "package stellaclaw:plugin@0.2.0;\n");
    refused("the files of wit/ do not name one version of the contract");
    fs::remove_file(project.path("wit/more.wit")).unwrap();
    assert!(project.plan().starts_with("release=yes\n"));
}

/// As GitHub runs a step: the last program of a pipe decides, unless the workflow names the shell.
#[test]
fn a_refused_plan_fails_the_workflow() {
    let workflow = read(".github/workflows/release.yml");
    let line = workflow.lines().find_map(|line| line.trim().strip_prefix("run: scripts/release.sh plan")).unwrap();
    let options = if workflow.contains("\ndefaults:\n  run:\n    shell: bash\n") { "-eo" } else { "-e" };
    let project = Project::new("0.1.0");
    let run = || {
        let mut step = project.command("bash", "work");
        step.env("GITHUB_OUTPUT", project.path("output")).arg(options);
        if options == "-eo" {
            step.arg("pipefail");
        }
        step.args(["-c", &format!("scripts/release.sh plan{line}")]).output().unwrap()
    };
    assert!(run().status.success());
    assert!(fs::read_to_string(project.path("output")).unwrap().starts_with("release=yes\n"));
    fs::remove_file(project.path(FIXTURE)).unwrap();
    assert!(!run().status.success());
}

#[test]
fn a_version_is_released_once_and_the_next_one_again() {
    let project = Project::new("0.1.0");
    assert_eq!(project.plan(), "release=yes\ntag=v0.1.0\nreason=VERSION is 0.1.0\n");
    assert!(project.release(&["tag"]).status.success());
    assert_eq!(project.plan(), "release=no\nreason=v0.1.0 exists\n");
    project.commit();
    assert_eq!(project.plan(), "release=no\nreason=v0.1.0 exists\n");
    project.bump("0.2.0");
    assert_eq!(project.plan(), "release=yes\ntag=v0.2.0\nreason=VERSION is 0.2.0, the last release was v0.1.0\n");
}

#[test]
fn a_tag_that_only_the_origin_has_counts() {
    let project = Project::new("0.1.0");
    assert!(project.release(&["tag"]).status.success());
    project.git(&["tag", "-d", "v0.1.0"], "work");
    assert_eq!(project.plan(), "release=no\nreason=v0.1.0 exists\n");
    assert!(!project.release(&["tag"]).status.success());
}

#[test]
fn versions_that_disagree_are_not_released() {
    let project = Project::new("0.1.0");
    fs::write(project.path("VERSION"), "0.2.0\n").unwrap();
    project.commit();
    let done = project.release(&["plan"]);
    assert!(!done.status.success());
    assert_eq!(String::from_utf8_lossy(&done.stderr), "release: VERSION says 0.2.0, Cargo.toml something else\n");
}

#[test]
fn what_the_changelog_calls_unreleased_is_not_released() {
    let project = Project::new("0.1.0");
    fs::write(project.path("CHANGELOG.md"), "## [0.1.0] - unreleased\n\n- new in 0.1.0\n").unwrap();
    project.commit();
    assert_eq!(project.plan(), "release=no\nreason=CHANGELOG.md says that 0.1.0 is unreleased\n");
    assert!(!project.release(&["tag"]).status.success());
}

#[test]
fn the_files_of_a_release_match_their_sums() {
    let project = Project::new("0.1.0");
    let binary = project.path("program");
    fs::write(&binary, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(project.release(&["pack", "program", "dist"]).status.success());
    let dist = project.path("dist");
    let mut names: Vec<_> = fs::read_dir(&dist).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(&names[..3], ["SHA256SUMS", "VERSION", "example_config.toml"]);
    assert!(names[3].starts_with("stellaclaw-0.1.0-") && names.len() == 4, "{names:?}");
    let check = |folder: &Path| Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(folder).status().unwrap();
    assert!(check(&dist).success());
    fs::write(dist.join("VERSION"), "0.1.1\n").unwrap();
    assert!(!check(&dist).success());
}

#[test]
fn the_notes_are_the_section_of_the_version() {
    let project = Project::new("0.1.0");
    assert_eq!(String::from_utf8(project.release(&["notes"]).stdout).unwrap().trim(), "- new in 0.1.0");
}
