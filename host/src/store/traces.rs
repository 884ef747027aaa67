//! What a channel has to remember beside its messages: chats that are frozen, the panel of a running turn, and updates that
//! nobody understood.

use rusqlite::Row;

use super::sql::{self, int};
use super::{Store, StoreError, Tx};
use crate::clock::Moment;
use crate::ids::{ConversationId, SessionId, TurnId};
use crate::limits;

/// The message that shows how a turn is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panel {
    pub conversation: ConversationId,
    pub session: SessionId,
    pub turn: TurnId,
    /// The channel's id of the message, in the channel's own form.
    pub remote_id: String,
}

/// Something that arrived and could not be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oddity {
    pub channel: String,
    pub external_id: String,
    pub reason: String,
    /// As it arrived, cut to [`limits::ODDITY_BYTES`].
    pub body: String,
}

impl Store {
    /// Until when nothing is sent to which addresses of a channel, in the channel's own JSON.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn frozen(&self, channel: &str) -> Result<String, StoreError> {
        let channel = channel.to_owned();
        let query = "SELECT frozen_until FROM channels WHERE channel = ?1";
        let text = self.read(move |conn| sql::one(conn, query, [channel], |row| row.get(0))).await?;
        Ok(text.unwrap_or_else(|| "{}".to_owned()))
    }

    /// Replaces what [`Store::frozen`] says. Rides with the next commit; nobody waits.
    pub fn freeze(&self, channel: &str, until: String) {
        let channel = channel.to_owned();
        self.ride(until.len(), move |tx| {
            let query =
                "INSERT INTO channels (channel, frozen_until) VALUES (?1, ?2) ON CONFLICT (channel) DO UPDATE SET frozen_until = ?2";
            sql::execute(tx.conn, query, (&channel, &until)).map(drop)
        });
    }

    /// The panels of a channel's conversations.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn panels(&self, channel: &str) -> Result<Vec<Panel>, StoreError> {
        let channel = channel.to_owned();
        let query = "SELECT panels.conversation, session, turn, remote_id FROM panels
            JOIN conversations ON conversations.id = panels.conversation WHERE channel = ?1 ORDER BY panels.conversation";
        self.read(move |conn| sql::all(conn, query, [channel], panel_row)).await
    }

    /// The panel of a conversation.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn panel(&self, conversation: ConversationId) -> Result<Option<Panel>, StoreError> {
        let query = "SELECT conversation, session, turn, remote_id FROM panels WHERE conversation = ?1";
        self.read(move |conn| sql::one(conn, query, [conversation.0], panel_row)).await
    }

    /// Remembers a conversation's panel in place of the one before.
    ///
    /// # Errors
    /// Those of any write.
    pub async fn note_panel(&self, panel: Panel) -> Result<(), StoreError> {
        self.write(128, move |tx| set_panel(tx, &panel)).await
    }

    /// The same, at once; nobody waits.
    pub fn keep_panel(&self, panel: Panel) {
        self.post(128, false, move |tx| set_panel(tx, &panel));
    }

    /// Forgets the panel of a turn, which has been finished, at once; nobody waits.
    pub fn forget_panel(&self, panel: Panel) {
        self.post(64, false, move |tx| {
            let query = "DELETE FROM panels WHERE conversation = ?1 AND session = ?2 AND turn = ?3";
            sql::execute(tx.conn, query, (panel.conversation.0, panel.session.0, panel.turn.0)).map(drop)
        });
    }

    /// What could not be understood or taken and when it came, the newest first.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn oddities(&self) -> Result<Vec<(Moment, Oddity)>, StoreError> {
        let query = "SELECT channel, external_id, reason, body, at FROM oddities ORDER BY id DESC";
        self.read(move |conn| {
            sql::all(conn, query, [], |row| {
                let odd = Oddity { channel: row.get(0)?, external_id: row.get(1)?, reason: row.get(2)?, body: row.get(3)? };
                Ok((Moment(row.get(4)?), odd))
            })
        })
        .await
    }
}

fn set_panel(tx: &mut Tx<'_>, panel: &Panel) -> Result<(), StoreError> {
    let Panel { conversation, session, turn, remote_id } = panel;
    let query = "INSERT OR REPLACE INTO panels (conversation, session, turn, remote_id) VALUES (?1, ?2, ?3, ?4)";
    sql::execute(tx.conn, query, (conversation.0, session.0, turn.0, remote_id)).map(drop)
}

fn panel_row(row: &Row<'_>) -> rusqlite::Result<Panel> {
    Ok(Panel {
        conversation: ConversationId(row.get(0)?),
        session: SessionId(row.get(1)?),
        turn: TurnId(row.get(2)?),
        remote_id: row.get(3)?,
    })
}

/// Keeps them, each cut, the newest [`limits::ODDITIES`] of all.
pub(super) fn keep_oddities(tx: &mut Tx<'_>, oddities: &[Oddity], at: Moment) -> Result<(), StoreError> {
    for Oddity { channel, external_id, reason, body } in oddities {
        let body = &body[..body.floor_char_boundary(limits::ODDITY_BYTES)];
        let query = "INSERT INTO oddities (channel, external_id, at, reason, body) VALUES (?1, ?2, ?3, ?4, ?5)";
        sql::execute(tx.conn, query, (channel, external_id, at.0, reason, body))?;
    }
    if !oddities.is_empty() {
        let query = "DELETE FROM oddities WHERE id <= (SELECT id FROM oddities ORDER BY id DESC LIMIT 1 OFFSET ?1)";
        sql::execute(tx.conn, query, [int(limits::ODDITIES)])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Accept;
    use crate::store::tests::{AT, Fixture};

    #[tokio::test]
    async fn what_is_frozen_stays_so_over_a_restart() {
        let mut fixture = Fixture::new().await;
        assert_eq!(fixture.store.frozen("tg:1").await.unwrap(), "{}");
        fixture.store.freeze("tg:1", r#"{"-100":5}"#.into());
        fixture.reopen().await;
        assert_eq!(fixture.store.frozen("tg:1").await.unwrap(), r#"{"-100":5}"#);
        assert_eq!(fixture.store.frozen("tg:2").await.unwrap(), "{}");
    }

    #[tokio::test]
    async fn a_conversation_has_the_panel_that_came_last() {
        let fixture = Fixture::new().await;
        let panel = |turn: i64, remote_id: &str| Panel {
            conversation: fixture.conversation,
            session: fixture.session.id,
            turn: TurnId(turn),
            remote_id: remote_id.into(),
        };
        fixture.store.note_panel(panel(3, "?")).await.unwrap();
        assert_eq!(fixture.store.panel(fixture.conversation).await.unwrap(), Some(panel(3, "?")));
        fixture.store.keep_panel(panel(3, "10"));
        fixture.store.keep_panel(panel(4, "11"));
        fixture.store.forget_panel(panel(3, "10"));
        fixture.accept("so that it is committed").await;
        assert_eq!(fixture.store.panels("terminal").await.unwrap(), [panel(4, "11")]);
        assert_eq!(fixture.store.panels("tg:1").await.unwrap(), []);
        // Whatever is known of its number.
        fixture.store.forget_panel(panel(4, "?"));
        fixture.accept("so that this is committed").await;
        assert_eq!(fixture.store.panel(fixture.conversation).await.unwrap(), None);
    }

    #[tokio::test]
    async fn oddities_are_cut_and_the_newest_are_kept() {
        let fixture = Fixture::new().await;
        let odd = |n: u64| Oddity {
            channel: "tg:1".into(),
            external_id: n.to_string(),
            reason: "no id".into(),
            body: "ü".repeat(limits::ODDITY_BYTES),
        };
        for from in [0, limits::ODDITIES] {
            let oddities = (from..from + limits::ODDITIES).map(odd).collect();
            fixture.store.accept(Accept { oddities, ..Accept::rows(Vec::new(), AT) }).await.unwrap();
        }
        let kept = fixture.store.oddities().await.unwrap();
        assert_eq!(kept.len() as u64, limits::ODDITIES);
        assert_eq!((kept[0].0, kept[0].1.external_id.clone()), (AT, (2 * limits::ODDITIES - 1).to_string()));
        assert!(kept.iter().all(|(_, odd)| odd.body.len() <= limits::ODDITY_BYTES));
    }
}
