//! What tests can do to a host through its environment. Nothing in release builds.
//!
//! `CRASH_AT=<name>` kills at the first firing of that name, `CRASH_AT=<name>#<n>` at the n-th. `CRASH_LIST=<file>` appends the
//! name of every firing to a file, one per line, before anything else happens. What is random in a name, 32 hexadecimal digits, is
//! `*` there and here. `STELLACLAW_TEST_LATE_INTENT` makes sessions break their own rule, so that a test can see whether anybody
//! would notice.
//!
//! `FAULT_AT=<name>` or `<name>#<n>` makes a step fail, once, as the machine or a defect can make it fail; `<name>#<n>+` from the
//! n-th time on. `TEST_CLOCK=<file>`: the milliseconds in that file are added to the wall clock. `TEST_HOSTS="NAME=ANSWER[;ANSWER…] …"`: where those names lead, an
//! answer being addresses with commas between them; each look-up takes the next one, and in the end the last one again.
//! `TEST_MAINTENANCE=<milliseconds>`: the first maintenance comes so long after the start. `TEST_POLL=<milliseconds>`: a poll
//! for updates waits so long for some, and as long again for its answer. `TEST_CALL=<milliseconds>`: a message to a chat waits so
//! long for its answer. `TEST_AUTH=<address>`: the server of logins.

/// Can a point do anything in this process? Where it cannot, names need not be made.
#[cfg(not(debug_assertions))]
#[inline(always)]
#[must_use]
pub fn armed() -> bool {
    false
}

/// Fires the point of this name.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn point(_name: impl FnOnce() -> String) {}

/// Are calls to be started before it is committed that they are?
#[cfg(not(debug_assertions))]
#[inline(always)]
#[must_use]
pub fn late_intent() -> bool {
    false
}

/// Does the step of this name fail now?
#[cfg(not(debug_assertions))]
#[inline(always)]
#[must_use]
pub fn fault(_name: &str) -> bool {
    false
}

/// Panics at the step of this name if it is to fail now, as a defect in it would.
pub fn defect(name: &str) {
    assert!(!fault(name), "a test wants {name} to panic");
}

/// How wrong the wall clock is, in milliseconds.
#[cfg(not(debug_assertions))]
#[inline(always)]
#[must_use]
pub fn clock_error() -> i64 {
    0
}

/// Where a name leads, if a test says so.
#[cfg(not(debug_assertions))]
#[inline(always)]
#[must_use]
pub fn lookup(_name: &str) -> Option<Vec<std::net::IpAddr>> {
    None
}

/// When the first maintenance comes after the start, if not when it otherwise would.
#[cfg(not(debug_assertions))]
#[inline(always)]
#[must_use]
pub fn first_maintenance() -> Option<std::time::Duration> {
    None
}

/// How long a poll for updates waits for some, if not as long as it otherwise would.
#[cfg(not(debug_assertions))]
#[inline(always)]
#[must_use]
pub fn poll_time() -> Option<std::time::Duration> {
    None
}

/// How long a message to a chat waits for its answer, if not as long as it otherwise would.
#[cfg(not(debug_assertions))]
#[inline(always)]
#[must_use]
pub fn call_time() -> Option<std::time::Duration> {
    None
}

/// Where the server of logins is, if not where it otherwise would be.
#[cfg(not(debug_assertions))]
#[inline(always)]
#[must_use]
pub fn auth_server() -> Option<String> {
    None
}

#[cfg(debug_assertions)]
pub use points::{armed, auth_server, call_time, clock_error, fault, first_maintenance, late_intent, lookup, point, poll_time};

#[cfg(debug_assertions)]
mod points {
    use std::fs::{File, OpenOptions};
    use std::io::Write;
    use std::net::IpAddr;
    use std::path::PathBuf;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    use std::time::Duration;

    /// What the environment asks for.
    struct Plan {
        at: Option<At>,
        list: Option<File>,
        fault: Option<At>,
        clock: Option<PathBuf>,
        maintenance: Option<Duration>,
        poll: Option<Duration>,
        call: Option<Duration>,
        auth: Option<String>,
        late_intent: bool,
        hosts: Vec<Answers>,
    }

    /// What the look-ups of a name are answered.
    #[derive(Debug)]
    struct Answers {
        name: String,
        all: Vec<Vec<IpAddr>>,
        given: AtomicUsize,
    }

    impl Answers {
        fn parse(text: &str) -> Option<Self> {
            let (name, answers) = text.split_once('=')?;
            let answer = |text: &str| text.split(',').map(str::parse).collect::<Result<Vec<IpAddr>, _>>().ok();
            let all = answers.split(';').map(answer).collect::<Option<_>>()?;
            Some(Self { name: name.to_owned(), all, given: AtomicUsize::new(0) })
        }

        fn next(&self) -> Option<Vec<IpAddr>> {
            let at = self.given.fetch_add(1, Ordering::Relaxed);
            self.all.get(at).or(self.all.last()).cloned()
        }
    }

    /// The firing that kills, or fails.
    #[derive(Debug)]
    struct At {
        name: String,
        firing: u64,
        /// Those after it, too.
        lasts: bool,
        fired: AtomicU64,
    }

    impl At {
        fn parse(text: &str) -> Self {
            let (text, lasts) = text.strip_suffix('+').map_or((text, false), |text| (text, true));
            let counted = text.rsplit_once('#').and_then(|(name, n)| Some((name, n.parse().ok()?)));
            let (name, firing) = counted.unwrap_or((text, 1));
            Self { name: name.to_owned(), firing, lasts, fired: AtomicU64::new(0) }
        }

        /// Counts a firing; true at the one that counts.
        fn hit(&self, name: &str) -> bool {
            if self.name != name {
                return false;
            }
            let firing = self.fired.fetch_add(1, Ordering::Relaxed) + 1;
            firing == self.firing || (self.lasts && firing > self.firing)
        }
    }

    fn plan() -> &'static Plan {
        static PLAN: OnceLock<Plan> = OnceLock::new();
        PLAN.get_or_init(|| Plan {
            at: std::env::var("CRASH_AT").ok().map(|text| At::parse(&text)),
            list: std::env::var_os("CRASH_LIST").and_then(|path| OpenOptions::new().create(true).append(true).open(path).ok()),
            fault: std::env::var("FAULT_AT").ok().map(|text| At::parse(&text)),
            clock: std::env::var_os("TEST_CLOCK").map(PathBuf::from),
            maintenance: milliseconds("TEST_MAINTENANCE"),
            poll: milliseconds("TEST_POLL"),
            call: milliseconds("TEST_CALL"),
            auth: std::env::var("TEST_AUTH").ok(),
            late_intent: std::env::var_os("STELLACLAW_TEST_LATE_INTENT").is_some(),
            hosts: std::env::var("TEST_HOSTS").iter().flat_map(|all| all.split_whitespace()).filter_map(Answers::parse).collect(),
        })
    }

    fn milliseconds(variable: &str) -> Option<Duration> {
        std::env::var(variable).ok().and_then(|text| text.parse().ok()).map(Duration::from_millis)
    }

    /// Can a point do anything in this process? Where it cannot, names need not be made.
    #[must_use]
    pub fn armed() -> bool {
        plan().at.is_some() || plan().list.is_some()
    }

    /// Are calls to be started before it is committed that they are?
    #[must_use]
    pub fn late_intent() -> bool {
        plan().late_intent
    }

    /// Does the step of this name fail now?
    #[must_use]
    pub fn fault(name: &str) -> bool {
        let fails = plan().fault.as_ref().is_some_and(|at| at.hit(name));
        if fails {
            tracing::warn!(name, "a step fails because a test wants it to");
        }
        fails
    }

    /// How wrong the wall clock is, in milliseconds.
    #[must_use]
    pub fn clock_error() -> i64 {
        let Some(path) = &plan().clock else { return 0 };
        std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    /// Where a name leads, if a test says so.
    #[must_use]
    pub fn lookup(name: &str) -> Option<Vec<IpAddr>> {
        plan().hosts.iter().find(|answers| answers.name == name)?.next()
    }

    /// When the first maintenance comes after the start, if not when it otherwise would.
    #[must_use]
    pub fn first_maintenance() -> Option<Duration> {
        plan().maintenance
    }

    /// How long a poll for updates waits for some, if not as long as it otherwise would.
    #[must_use]
    pub fn poll_time() -> Option<Duration> {
        plan().poll
    }

    /// How long a message to a chat waits for its answer, if not as long as it otherwise would.
    #[must_use]
    pub fn call_time() -> Option<Duration> {
        plan().call
    }

    /// Where the server of logins is, if not where it otherwise would be.
    #[must_use]
    pub fn auth_server() -> Option<String> {
        plan().auth.clone()
    }

    /// Fires the point of this name.
    pub fn point(name: impl FnOnce() -> String) {
        let plan = plan();
        if !armed() {
            return;
        }
        let name = without_chance(&name());
        if let Some(mut list) = plan.list.as_ref()
            && let Err(error) = list.write_all(format!("{name}\n").as_bytes())
        {
            tracing::warn!(%error, "cannot list a crash point");
        }
        if plan.at.as_ref().is_some_and(|at| at.hit(&name)) {
            die();
        }
    }

    /// The same name in every run.
    fn without_chance(name: &str) -> String {
        let is_random = |word: &str| word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let words = name.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
        words.fold(String::new(), |all, word| {
            let bare = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            all + &if is_random(bare) { word.replace(bare, "*") } else { word.to_owned() }
        })
    }

    /// Ends the process as `kill -9` does: no destructor, no flush.
    fn die() -> ! {
        let killed = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        tracing::error!(?killed, "a crash point did not kill the process");
        loop {
            std::thread::park();
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_point_kills_at_its_nth_firing_only() {
            let at = At::parse("answer.before@s1.t1.1#2");
            assert!(!at.hit("answer.before@s1.t1.1"));
            assert!(!at.hit("answer.after@s1.t1.1"));
            assert!(at.hit("answer.before@s1.t1.1"));
            assert!(!at.hit("answer.before@s1.t1.1"));
            assert!(At::parse("end.after@s1.t1").hit("end.after@s1.t1"));
            let full = At::parse("commit.full#2+");
            assert_eq!([1, 2, 3].map(|_| full.hit("commit.full")), [false, true, true]);
        }

        #[test]
        fn a_name_is_the_same_in_every_run() {
            assert_eq!(without_chance("tell.before@access:0123456789abcdef0123456789abcdef.77"), "tell.before@access:*.77");
            assert_eq!(without_chance("ask.after@s1.t2.3"), "ask.after@s1.t2.3");
        }

        #[test]
        fn a_name_leads_where_it_is_said_one_look_up_after_the_other() {
            let answers = Answers::parse("b.example=8.8.8.8,::1;10.0.0.1").unwrap();
            let (first, second): (Vec<IpAddr>, Vec<IpAddr>) =
                (vec![[8, 8, 8, 8].into(), "::1".parse().unwrap()], vec![[10, 0, 0, 1].into()]);
            assert_eq!([answers.next(), answers.next(), answers.next()], [Some(first), Some(second.clone()), Some(second)]);
            assert!(Answers::parse("b.example=nonsense").is_none());
        }
    }
}
