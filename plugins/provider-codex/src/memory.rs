//! What is remembered between calls beside the socket: whether WebSockets work here, and the token of the turn.

use serde::{Deserialize, Serialize};

use crate::world::{Place, World};

/// So many failures in a row, and another way is taken for [`PAUSE_MS`].
const FAILURES: u32 = 3;
const PAUSE_MS: u64 = 60 * 60 * 1000;

/// How WebSockets do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sockets {
    /// Whose: a conversation may be served by more than one server.
    peer: String,
    /// Connections in a row that broke or could not be made.
    failures: u32,
    /// None is tried before this moment.
    off_until: u64,
}

impl Sockets {
    /// What is remembered of this server.
    pub fn recall<W: World>(world: &mut W, peer: &str) -> Self {
        let kept = world.kept(Place::Sockets).and_then(|kept| serde_json::from_slice::<Self>(&kept).ok());
        kept.filter(|kept| kept.peer == peer).unwrap_or_else(|| Self::new(peer))
    }

    fn new(peer: &str) -> Self {
        Self { peer: peer.to_owned(), ..Self::default() }
    }

    /// Is another way to be taken? A clock that was set back does not make the pause longer.
    #[must_use]
    pub fn are_off(&self, now: u64) -> bool {
        now < self.off_until && self.off_until - now <= PAUSE_MS
    }

    /// One more failed. One alone means nothing: connections break.
    pub fn failed<W: World>(&mut self, world: &mut W) {
        self.failures += 1;
        if self.failures >= FAILURES {
            self.unsupported(world);
        } else {
            self.keep(world);
        }
    }

    /// The server, or what is between, has none.
    pub fn unsupported<W: World>(&mut self, world: &mut W) {
        (self.failures, self.off_until) = (0, world.now().saturating_add(PAUSE_MS));
        self.keep(world);
    }

    /// One did its work.
    pub fn worked<W: World>(&mut self, world: &mut W) {
        if (self.failures, self.off_until) != (0, 0) {
            *self = Self::new(&self.peer);
            self.keep(world);
        }
    }

    fn keep<W: World>(&self, world: &mut W) {
        world.keep(Place::Sockets, &serde_json::to_vec(self).unwrap_or_default());
    }
}

/// The token that keeps the requests of a turn on one server. It never goes to another turn, nor to another server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    peer: String,
    turn: String,
    state: String,
}

impl Turn {
    /// The token that `peer` gave for `turn`, if it has given one.
    pub fn recall<W: World>(world: &mut W, peer: &str, turn: &str) -> Option<String> {
        let kept: Self = serde_json::from_slice(&world.kept(Place::Turn)?).ok()?;
        (kept.peer == peer && kept.turn == turn).then_some(kept.state)
    }

    /// Remembers the token of `turn`, in place of the one before.
    pub fn keep<W: World>(world: &mut W, peer: &str, turn: &str, state: &str) {
        let kept = Self { peer: peer.to_owned(), turn: turn.to_owned(), state: state.to_owned() };
        world.keep(Place::Turn, &serde_json::to_vec(&kept).unwrap_or_default());
    }
}
