//! What goes wrong, when, and how often. Pure: who serves does the harm.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::check::Refusal;

/// A call that a fault may be for.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// `sendMessage` and so on; `download` for the contents of a file.
    pub method: &'a str,
    pub chat: Option<i64>,
    /// The parameters; files by name, size and digest.
    pub params: &'a Value,
}

type When = Arc<dyn Fn(Seen<'_>) -> bool + Send + Sync>;

/// One thing that goes wrong: for the next call that names a chat, once, unless told otherwise.
#[derive(Clone)]
pub struct Fault {
    harm: Harm,
    on: On,
    chat: Option<i64>,
    when: Option<When>,
    skip: u32,
    times: Option<u32>,
    lasting: Option<Duration>,
}

#[derive(Debug, Clone)]
enum On {
    /// Every call that names a chat.
    Chats,
    Method(String),
    Everything,
}

/// What is done to a call. `processed`: the call does what it asks for, only its answer suffers.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Harm {
    /// Answered with this instead.
    Refuse(Refusal),
    /// 429, with what is left of so many seconds, for as long.
    Flood(u64),
    /// Another body than the Bot API has.
    Page { status: u16, processed: bool },
    /// Done, and answered with something else than that method's result.
    Odd,
    /// Accepted, and never answered.
    Hang { processed: bool },
    /// The connection ends without an answer.
    Lost { processed: bool },
    /// The connection ends in the middle of the answer.
    Cut,
    /// The answer comes later.
    Delay(Duration),
    /// The answer comes in so many bytes at a time, with a pause between them.
    Slow { bytes: usize, pause: Duration },
    /// Everything waits until the test releases the name.
    Hold { name: String, processed: bool },
}

impl Fault {
    fn new(harm: Harm) -> Self {
        Self { harm, on: On::Chats, chat: None, when: None, skip: 0, times: Some(1), lasting: None }
    }

    /// 429 for this call alone.
    #[must_use]
    pub fn too_many(retry_after: u64) -> Self {
        Self::new(Harm::Refuse(Refusal::too_many(retry_after)))
    }

    /// 429 from the next call on, for as long as it says; for all chats unless one is named.
    #[must_use]
    pub fn flood(seconds: u64) -> Self {
        Self { times: None, lasting: Some(Duration::from_secs(seconds)), ..Self::new(Harm::Flood(seconds)) }
    }

    /// Refused with this code and description.
    #[must_use]
    pub fn refuse(code: u16, description: &str) -> Self {
        Self::new(Harm::Refuse(Refusal::new(code, description)))
    }

    /// 400 to a call that has entities.
    #[must_use]
    pub fn bad_entities() -> Self {
        let has_entities = |seen: Seen<'_>| ["entities", "caption_entities"].iter().any(|name| !seen.params[*name].is_null());
        Self::refuse(400, "Bad Request: can't parse entities: no reason").when(has_entities)
    }

    /// 401: the token is no good, to every method.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::refuse(401, "Unauthorized").everywhere()
    }

    /// 409 to `getUpdates`: somebody else asks.
    #[must_use]
    pub fn conflict() -> Self {
        let said = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running";
        Self::refuse(409, said).on("getUpdates")
    }

    /// A 5xx with a page for people, as a proxy sends it. The call was not processed.
    #[must_use]
    pub fn page(status: u16) -> Self {
        Self::new(Harm::Page { status, processed: false })
    }

    /// Processed, and then a page for people with status 200.
    #[must_use]
    pub fn not_json() -> Self {
        Self::new(Harm::Page { status: 200, processed: true })
    }

    /// Processed, and then an answer that is none of this method.
    #[must_use]
    pub fn odd_answer() -> Self {
        Self::new(Harm::Odd)
    }

    /// Not processed, never answered.
    #[must_use]
    pub fn hang() -> Self {
        Self::new(Harm::Hang { processed: false })
    }

    /// Processed, never answered.
    #[must_use]
    pub fn hang_after() -> Self {
        Self::new(Harm::Hang { processed: true })
    }

    /// The connection is closed, and nothing was done.
    #[must_use]
    pub fn lost_before() -> Self {
        Self::new(Harm::Lost { processed: false })
    }

    /// The connection is closed after all was done.
    #[must_use]
    pub fn lost_after() -> Self {
        Self::new(Harm::Lost { processed: true })
    }

    /// Half of the answer arrives.
    #[must_use]
    pub fn cut() -> Self {
        Self::new(Harm::Cut)
    }

    /// Processed at once, answered after a while.
    #[must_use]
    pub fn delay(time: Duration) -> Self {
        Self::new(Harm::Delay(time))
    }

    /// The answer, or the file, comes in pieces of so many bytes with a pause between them.
    #[must_use]
    pub fn slow(bytes: usize, pause: Duration) -> Self {
        Self::new(Harm::Slow { bytes: bytes.max(1), pause })
    }

    /// Nothing is done before the name is released.
    #[must_use]
    pub fn hold(name: &str) -> Self {
        Self::new(Harm::Hold { name: name.to_owned(), processed: false })
    }

    /// Processed at once; the answer waits until the name is released.
    #[must_use]
    pub fn hold_answer(name: &str) -> Self {
        Self::new(Harm::Hold { name: name.to_owned(), processed: true })
    }

    /// For this method only; `download` are the contents of files.
    #[must_use]
    pub fn on(self, method: &str) -> Self {
        Self { on: On::Method(method.to_owned()), ..self }
    }

    /// Also for calls that name no chat, such as `getUpdates`.
    #[must_use]
    pub fn everywhere(self) -> Self {
        Self { on: On::Everything, ..self }
    }

    #[must_use]
    pub fn in_chat(self, chat: i64) -> Self {
        Self { chat: Some(chat), ..self }
    }

    /// Only for calls of which this is so.
    #[must_use]
    pub fn when(self, when: impl Fn(Seen<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self { when: Some(Arc::new(when)), ..self }
    }

    /// The first so many calls go well.
    #[must_use]
    pub fn after(self, calls: u32) -> Self {
        Self { skip: calls, ..self }
    }

    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// For this long from the first call that it strikes, as often as there are calls.
    #[must_use]
    pub fn lasting(self, time: Duration) -> Self {
        Self { times: None, lasting: Some(time), ..self }
    }

    /// Until it is taken back.
    #[must_use]
    pub fn always(self) -> Self {
        Self { times: None, lasting: None, ..self }
    }

    fn is_for(&self, seen: Seen<'_>) -> bool {
        let on = match &self.on {
            On::Chats => seen.chat.is_some(),
            On::Method(method) => method == seen.method,
            On::Everything => true,
        };
        on && self.chat.is_none_or(|chat| seen.chat == Some(chat)) && self.when.as_ref().is_none_or(|when| when(seen))
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} on {:?}", self.harm, self.on)
    }
}

/// How likely each harm is, from 0 to 1, for every call; the rest goes well.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Odds {
    /// 429 with 1 to 3 seconds; not for `getUpdates`.
    pub too_many: f64,
    /// A 502 with a page; nothing was done.
    pub page: f64,
    pub lost_before: f64,
    pub lost_after: f64,
    pub cut: f64,
    /// Answered after up to two seconds.
    pub delay: f64,
    /// Never answered; not for `getUpdates`, which nobody would wait out.
    pub hang: f64,
}

/// All that may go wrong.
#[derive(Debug, Default)]
pub(super) struct Faults {
    armed: Vec<Armed>,
    last: u64,
    random: Option<(u64, Odds)>,
}

#[derive(Debug)]
struct Armed {
    id: u64,
    fault: Fault,
    matched: u32,
    used: u32,
    since: Option<i64>,
}

impl Armed {
    fn is_over(&self, now: i64) -> bool {
        let out = self.fault.times.is_some_and(|times| self.used >= times);
        let late = self.fault.lasting.zip(self.since).is_some_and(|(time, since)| now - since >= millis(time));
        out || late
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

impl Faults {
    /// Adds one; the number takes it back.
    pub(super) fn add(&mut self, fault: Fault) -> u64 {
        self.last += 1;
        self.armed.push(Armed { id: self.last, fault, matched: 0, used: 0, since: None });
        self.last
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.armed.retain(|armed| armed.id != id);
    }

    /// Takes everything back.
    pub(super) fn clear(&mut self) {
        self.armed.clear();
        self.random = None;
    }

    pub(super) fn randomly(&mut self, seed: u64, odds: Odds) {
        self.random = Some((seed, odds));
    }

    /// What strikes this call: the oldest fault that is for it.
    pub(super) fn strike(&mut self, now: i64, seen: Seen<'_>) -> Option<Harm> {
        self.armed.retain(|armed| !armed.is_over(now));
        for armed in self.armed.iter_mut().filter(|armed| armed.fault.is_for(seen)) {
            armed.matched += 1;
            if armed.matched <= armed.fault.skip {
                continue;
            }
            armed.used += 1;
            let since = *armed.since.get_or_insert(now);
            return Some(match &armed.fault.harm {
                Harm::Flood(seconds) => {
                    let left = millis(Duration::from_secs(*seconds)) - (now - since);
                    Harm::Refuse(Refusal::too_many(u64::try_from(left.div_euclid(1000) + i64::from(left % 1000 > 0)).unwrap_or(0).max(1)))
                }
                harm => harm.clone(),
            });
        }
        let (seed, odds) = self.random.as_mut()?;
        chance(seed, odds, seen.method == "getUpdates")
    }
}

/// Draws once for a call.
fn chance(seed: &mut u64, odds: &Odds, poll: bool) -> Option<Harm> {
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    let mut drawn = (next(seed) >> 11) as f64 / (1_u64 << 53) as f64;
    let extra = next(seed);
    let harms = [
        (if poll { 0.0 } else { odds.too_many }, Harm::Refuse(Refusal::too_many(1 + extra % 3))),
        (odds.page, Harm::Page { status: 502, processed: false }),
        (odds.lost_before, Harm::Lost { processed: false }),
        (odds.lost_after, Harm::Lost { processed: true }),
        (odds.cut, Harm::Cut),
        (odds.delay, Harm::Delay(Duration::from_millis(extra % 2000))),
        (if poll { 0.0 } else { odds.hang }, Harm::Hang { processed: extra.is_multiple_of(2) }),
    ];
    for (likely, harm) in harms {
        if drawn < likely {
            return Some(harm);
        }
        drawn -= likely;
    }
    None
}

/// The next number of a sequence that the seed decides (splitmix64).
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn struck(faults: &mut Faults, now: i64, method: &str, chat: Option<i64>) -> Option<Harm> {
        faults.strike(now, Seen { method, chat, params: &json!({"text": "hi"}) })
    }

    #[test]
    fn a_fault_strikes_what_it_is_for_as_often_as_it_says() {
        let mut faults = Faults::default();
        faults.add(Fault::lost_after().on("sendMessage").in_chat(7).after(1).times(2));
        let mut send = |chat| struck(&mut faults, 0, "sendMessage", Some(chat)).is_some();
        assert_eq!([send(8), send(7), send(7), send(8), send(7), send(7)], [false, false, true, false, true, false]);
        let id = faults.add(Fault::hang().always());
        assert!(struck(&mut faults, 0, "getUpdates", None).is_none());
        assert!(struck(&mut faults, 0, "sendPhoto", Some(1)).is_some());
        faults.remove(id);
        assert!(struck(&mut faults, 0, "sendPhoto", Some(1)).is_none());
        faults.add(Fault::cut().when(|seen| seen.params["text"] == "ho"));
        assert!(struck(&mut faults, 0, "sendMessage", Some(1)).is_none());
    }

    #[test]
    fn a_flood_counts_down_and_ends() {
        let mut faults = Faults::default();
        faults.add(Fault::flood(37).in_chat(7));
        let mut left = |now, chat| match struck(&mut faults, now, "editMessageText", Some(chat)) {
            Some(Harm::Refuse(refusal)) => refusal.retry_after,
            _ => None,
        };
        assert_eq!(left(1000, 7), Some(37));
        assert_eq!(left(1000, 8), None);
        assert_eq!(left(1001, 7), Some(37));
        assert_eq!(left(37_500, 7), Some(1));
        assert_eq!(left(38_000, 7), None);
    }

    #[test]
    fn a_seed_decides_what_goes_wrong() {
        let odds = Odds { too_many: 0.1, lost_after: 0.1, hang: 0.1, ..Odds::default() };
        let drawn = |seed, method: &str| {
            let mut faults = Faults::default();
            faults.randomly(seed, odds);
            (0..1000).map(|_| struck(&mut faults, 0, method, None)).collect::<Vec<_>>()
        };
        assert_eq!(drawn(5, "sendMessage"), drawn(5, "sendMessage"));
        assert_ne!(drawn(5, "sendMessage"), drawn(6, "sendMessage"));
        let harmed = drawn(5, "sendMessage").iter().flatten().count();
        assert!((200..400).contains(&harmed), "{harmed}");
        assert!(drawn(5, "getUpdates").iter().flatten().all(|harm| *harm == Harm::Lost { processed: true }));
    }
}
