//! File systems that only one host sees, and that go away with it.

use std::process::Command;
use std::sync::OnceLock;

/// Root may mount where nobody else sees it. Who is not becomes root of a namespace of users first.
const WAYS: [&[&str]; 2] = [&["unshare", "-m"], &["unshare", "-Urm"]];

/// What a program is run under that mounts something before it becomes a host. A machine on which nobody may mount fails
/// the test: nothing that stands in for a disk is one.
pub fn namespace() -> &'static [&'static str] {
    static WAY: OnceLock<&[&str]> = OnceLock::new();
    WAY.get_or_init(|| {
        let mut said = String::new();
        for way in WAYS {
            let place = tempfile::tempdir().unwrap();
            let mut probe = Command::new(way[0]);
            probe.args(&way[1..]).args(["mount", "-t", "tmpfs", "none"]).arg(place.path());
            match probe.output() {
                Ok(output) if output.status.success() => return way,
                Ok(output) => said += &format!("{}: {}", way.join(" "), String::from_utf8_lossy(&output.stderr)),
                Err(error) => said += &format!("{}: {error}\n", way.join(" ")),
            }
        }
        panic!(
            "this user may not mount a file system, which this test needs. As root it may; a container needs CAP_SYS_ADMIN; \
             for a user: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or kernel.unprivileged_userns_clone=1\n{said}"
        )
    })
}

/// [`namespace`], with a shell that runs `script` in it; the words after it are `$0`, `$1` and so on.
pub fn script<'a>(script: &'a str, words: &[&'a str]) -> Vec<&'a str> {
    [namespace(), &["sh", "-c", script], words].concat()
}
