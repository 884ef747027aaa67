//! Who may talk: numbers against numbers. Pure.
//!
//! What a message says is never looked at here, so no text can widen access. Names are for people to read.

use std::collections::BTreeSet;

use crate::store::{Person, Role};

/// Everybody who was decided about: by the configuration, by pairing, or by an owner.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    owners: BTreeSet<i64>,
    members: BTreeSet<i64>,
    groups: BTreeSet<i64>,
    rejected: BTreeSet<i64>,
}

/// What decides about a message, a button or an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circumstances {
    pub chat: i64,
    pub is_private: bool,
    /// The writer; none: a channel, an anonymous administrator, or nobody that can be told.
    pub person: Option<i64>,
    pub is_bot: bool,
    /// In a group: it mentions the bot, replies to it, or is a command.
    pub is_addressed: bool,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is taken.
    Welcome,
    /// It is for others in the group.
    NotForUs,
    /// Counted, and nothing else.
    Counted(i64),
    /// A person whom nobody has decided about, in a private chat: may be told so once, and an owner asked.
    Stranger(i64),
    /// A person whom nobody has decided about spoke to the bot in a group of ours: an owner may be asked.
    StrangerInGroup(i64),
    /// Somebody who may talk speaks to the bot in a group that nobody has decided about: an owner may be asked.
    NewGroup(i64),
}

impl Access {
    /// What the configuration and the store say together. Being turned down counts only for those the configuration does not
    /// name.
    #[must_use]
    pub fn new(owners: &[i64], members: &[i64], groups: &[i64], decided: &[Person]) -> Self {
        let with = |role: Role| decided.iter().filter(move |person| person.role == role).filter_map(|person| person.id.parse().ok());
        let all = |configured: &[i64], role: Role| configured.iter().copied().chain(with(role)).collect();
        Self {
            owners: all(owners, Role::Owner),
            members: all(members, Role::Member),
            groups: all(groups, Role::Group),
            rejected: with(Role::Rejected).collect(),
        }
    }

    /// Owners, in order of their numbers.
    pub fn owners(&self) -> impl Iterator<Item = i64> {
        self.owners.iter().copied()
    }

    #[must_use]
    pub fn is_owner(&self, person: i64) -> bool {
        self.owners.contains(&person)
    }

    /// May this person talk?
    #[must_use]
    pub fn is_known(&self, person: i64) -> bool {
        self.owners.contains(&person) || self.members.contains(&person)
    }

    #[must_use]
    pub fn is_our_group(&self, chat: i64) -> bool {
        self.groups.contains(&chat)
    }

    /// Decides.
    #[must_use]
    pub fn judge(&self, what: &Circumstances) -> Verdict {
        let Some(person) = what.person.filter(|_| !what.is_bot) else { return Verdict::Counted(what.chat) };
        let is_known = self.is_known(person);
        if what.is_private {
            // A private chat has the number of its person.
            return match (person == what.chat, is_known) {
                (true, true) => Verdict::Welcome,
                (true, false) if !self.rejected.contains(&person) => Verdict::Stranger(person),
                _ => Verdict::Counted(person),
            };
        }
        match (self.is_our_group(what.chat), is_known, what.is_addressed) {
            (true, true, true) => Verdict::Welcome,
            (true, true, false) => Verdict::NotForUs,
            (true, false, true) if !self.rejected.contains(&person) => Verdict::StrangerInGroup(person),
            (false, true, true) if !self.rejected.contains(&what.chat) => Verdict::NewGroup(what.chat),
            (true, false, _) => Verdict::Counted(person),
            (false, ..) => Verdict::Counted(what.chat),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Moment;

    fn decided(id: i64, role: Role) -> Person {
        Person { id: id.to_string(), role, name: String::new(), since: Moment(0) }
    }

    fn access() -> Access {
        let store = [decided(2, Role::Member), decided(-20, Role::Group), decided(9, Role::Rejected), decided(-90, Role::Rejected)];
        Access::new(&[1], &[3], &[-30], &store)
    }

    fn private(person: i64) -> Circumstances {
        Circumstances { chat: person, is_private: true, person: Some(person), is_bot: false, is_addressed: true }
    }

    fn group(chat: i64, person: i64) -> Circumstances {
        Circumstances { chat, is_private: false, ..private(person) }
    }

    #[test]
    fn who_was_decided_about_talks_and_nobody_else() {
        let check = |what: Circumstances, verdict: Verdict| assert_eq!(access().judge(&what), verdict, "{what:?}");
        for person in [1, 2, 3] {
            check(private(person), Verdict::Welcome);
            check(group(-20, person), Verdict::Welcome);
            check(group(-30, person), Verdict::Welcome);
            check(Circumstances { is_addressed: false, ..group(-20, person) }, Verdict::NotForUs);
            check(group(-40, person), Verdict::NewGroup(-40));
            check(group(-90, person), Verdict::Counted(-90));
        }
        check(private(7), Verdict::Stranger(7));
        check(private(9), Verdict::Counted(9));
        check(group(-20, 7), Verdict::StrangerInGroup(7));
        check(group(-20, 9), Verdict::Counted(9));
        check(Circumstances { is_addressed: false, ..group(-20, 7) }, Verdict::Counted(7));
        check(group(-40, 7), Verdict::Counted(-40));
        // An anonymous administrator, a channel, a bot, and a private chat that is not its writer's.
        check(Circumstances { person: None, ..group(-20, 1) }, Verdict::Counted(-20));
        check(Circumstances { is_bot: true, ..group(-20, 1) }, Verdict::Counted(-20));
        check(Circumstances { chat: 5, ..private(1) }, Verdict::Counted(1));
    }

    #[test]
    fn without_anybody_nobody_talks() {
        assert_eq!(Access::default().judge(&private(1)), Verdict::Stranger(1));
        assert_eq!(Access::new(&[], &[], &[], &[decided(0, Role::Rejected)]).judge(&group(-1, 1)), Verdict::Counted(-1));
        let nonsense = Person { id: "@ada".into(), ..decided(0, Role::Owner) };
        assert_eq!(Access::new(&[], &[], &[], &[nonsense]), Access::default());
    }

    proptest! {
        /// Whatever the numbers are, only an equal one is welcome.
        #[test]
        fn a_number_is_itself(known: i64, other: i64, chat: i64) {
            let access = Access::new(&[known], &[], &[chat], &[]);
            let welcome = |what| access.judge(&what) == Verdict::Welcome;
            prop_assert_eq!(welcome(private(other)), other == known);
            prop_assert_eq!(welcome(group(chat, other)), other == known);
            prop_assert!(!welcome(group(chat.wrapping_add(1), known)));
        }
    }
}
