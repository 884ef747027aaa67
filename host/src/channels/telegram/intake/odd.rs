//! Updates that are not taken: passed by, and kept for the operator as they came.
//!
//! What is known to be a stranger's is counted, like everything of theirs. Everything else is kept within a bound, and shown by
//! `doctor --updates`.

use sha2::{Digest as _, Sha256};

use super::{Taken, Telegram};
use crate::channels::telegram::update::{self, Malformed};
use crate::store::{Oddity, StoreError};

/// The name of updates among the parts of the host: apart from polling, which is well when one of them is not.
const PART: &str = "telegram updates";
/// Why an update is kept at which the host panicked.
const PANICKED: &str = "a defect of this program: it panicked at it";

impl Telegram {
    /// Passes an update by that the store will never take: everybody else's come after it.
    pub(in crate::channels::telegram) async fn put_aside(&self, raw: &str, why: &StoreError) -> Result<bool, StoreError> {
        let mut taken = Taken::default();
        let is_kept = self.pass_by(raw, format!("it could not be taken: {why}"), &mut taken);
        let moves = self.keep(taken).await?;
        tracing::error!(id = shown(raw), error = %why, "an update could not be taken; the others go on");
        if is_kept {
            self.warn(raw, &format!("could not be taken ({why})"));
        }
        Ok(moves)
    }

    /// Passes an update by that made something panic.
    pub(super) fn panicked(&self, raw: &str, taken: &mut Taken) {
        tracing::error!(id = shown(raw), "an update made the host panic; the others go on");
        if self.pass_by(raw, PANICKED.to_owned(), taken) {
            self.warn(raw, "made the host panic");
        }
    }

    /// Passes by what is no update.
    pub(super) fn malformed(&self, malformed: &Malformed, raw: &str, taken: &mut Taken) {
        if self.pass_by(raw, malformed.reason.clone(), taken) {
            tracing::warn!(id = shown(raw), reason = malformed.reason, "an update could not be understood; it is kept for the operator");
        }
    }

    /// Keeps an update for the operator, if it is not known to be a stranger's. False: it is counted.
    pub(super) fn keep_odd(&self, external_id: String, reason: String, raw: &str, taken: &mut Taken) -> bool {
        let may_talk = |who: i64| {
            let state = self.state();
            state.access.is_known(who) || state.access.is_our_group(who)
        };
        if let Some(stranger) = update::sender(raw).filter(|who| !may_talk(*who)) {
            taken.count(stranger);
            return false;
        }
        taken.batch.oddities.push(Oddity { channel: self.0.name.clone(), external_id, reason, body: raw.to_owned() });
        true
    }

    /// Goes past an update. Without a number it can come again, and is kept once. False: it is not kept now.
    fn pass_by(&self, raw: &str, reason: String, taken: &mut Taken) -> bool {
        if let Some(id) = update::number(raw) {
            taken.next = Some(id.saturating_add(1));
        } else {
            let digest = Sha256::digest(raw).into();
            if self.state().unnumbered.contains(&digest) || taken.unnumbered.contains(&digest) {
                return false;
            }
            taken.unnumbered.push(digest);
        }
        self.keep_odd(shown(raw), reason, raw, taken)
    }

    /// It serves, and a restart would not help.
    fn warn(&self, raw: &str, what: &str) {
        let id = shown(raw);
        let reason = format!("update {id} {what}; `stellaclaw doctor --updates` shows it, and whoever sent it should send it again");
        self.host().supervisor.health().warned(PART, &reason);
    }
}

/// The number of an update, for people.
fn shown(raw: &str) -> String {
    update::number(raw).map_or_else(|| "?".to_owned(), |id| id.to_string())
}
