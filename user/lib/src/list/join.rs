// SPDX-License-Identifier: GPL-2.0
//! Lists of several exports that move together, and of one that is listed again.

use super::{Held, List};
use crate::amount::Amount;
use crate::control::Reclaimer;
use crate::scope::Scope;
use std::collections::HashMap;

impl List {
    /// One list for all that is on these, such as the exports of a file system. What a client held on
    /// several adds up (docs/moving.md, "What clients held").
    pub fn joined(scope: Scope, lists: impl IntoIterator<Item = List>) -> List {
        let mut lists = lists.into_iter();
        let mut all = List {
            scope: Some(scope),
            ..lists.next().unwrap_or_else(|| List::new(scope))
        };
        for list in lists {
            all.add(list.clients, |one, two| Some(one? + two?));
            all.server_scope = all.server_scope.take().or(list.server_scope);
            all.nlm_clients = all.nlm_clients.and(list.nlm_clients);
            all.held = all.held.zip(list.held).map(|(one, two)| one.plus(&two));
            all.released &= list.released;
            all.notes.extend(list.notes);
        }
        all.nlm_clients = all.nlm_clients.map(|_| all.nlm().count() as u64);
        all
    }

    /// Who was on record of a server that has crashed, and who may not have come to it yet from `before` it: nobody knows
    /// how much they hold.
    pub fn after_crash(self, before: List) -> List {
        let mut all = self;
        all.add(before.clients, |_, _| None);
        all.clients
            .iter_mut()
            .for_each(|client| client.holds = None);
        all.server_scope = all.server_scope.or(before.server_scope);
        all.notes.extend(before.notes);
        List {
            nlm_clients: None,
            held: None,
            released: false,
            ..all
        }
    }

    /// This list, made after another one of the same exports that nobody could come to meanwhile. If
    /// nothing is held any more, all was released, and the list before is the right one. Else nothing was,
    /// or a part: who was listed before may still reclaim.
    pub fn after(self, before: List) -> List {
        if self.held.is_some_and(|held| held.is(&Held::NOTHING)) {
            return before;
        }
        let mut all = self;
        all.add(before.clients, Ord::max);
        all.nlm_clients = all.nlm_clients.map(|_| all.nlm().count() as u64);
        all
    }

    /// Adds clients, each of whom is listed once, with an amount from both.
    fn add(
        &mut self,
        clients: Vec<Reclaimer>,
        sum: impl Fn(Option<Amount>, Option<Amount>) -> Option<Amount>,
    ) {
        let key = |client: &Reclaimer| {
            Reclaimer {
                holds: None,
                ..client.clone()
            }
            .to_string()
        };
        let mut known: HashMap<String, usize> = self
            .clients
            .iter()
            .enumerate()
            .map(|(at, client)| (key(client), at))
            .collect();
        for client in clients {
            match known.get(&key(&client)) {
                Some(at) => self.clients[*at].holds = sum(self.clients[*at].holds, client.holds),
                None => {
                    known.insert(key(&client), self.clients.len());
                    self.clients.push(client);
                }
            }
        }
    }
}

impl Held {
    /// Nobody holds anything.
    pub const NOTHING: Held = Held {
        locks: Some(0),
        shares: Some(0),
        nfs4_opens: Some(0),
        nfs4_locks: Some(0),
        amount: Some(0),
    };

    /// Both, where both are known.
    pub fn plus(&self, other: &Held) -> Held {
        let sum = |one: Option<u64>, two: Option<u64>| Some(one?.saturating_add(two?));
        Held {
            locks: sum(self.locks, other.locks),
            shares: sum(self.shares, other.shares),
            nfs4_opens: sum(self.nfs4_opens, other.nfs4_opens),
            nfs4_locks: sum(self.nfs4_locks, other.nfs4_locks),
            amount: sum(self.amount, other.amount).map(|amount| amount % (1 << 48)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(held: &str, clients: &[&str]) -> List {
        let scope: Scope = "1234".parse().unwrap();
        let clients: Vec<Reclaimer> = clients
            .iter()
            .map(|client| client.parse().unwrap())
            .collect();
        let mut list = List {
            held: held.parse().ok(),
            clients,
            ..List::new(scope)
        };
        list.nlm_clients = Some(list.nlm().count() as u64);
        list
    }

    fn clients(list: &List) -> Vec<String> {
        list.clients.iter().map(Reclaimer::to_string).collect()
    }

    const NLM: &str = "nlm 192.0.2.50 192.0.2.17 4";

    #[test]
    fn what_is_held_on_several_exports_adds_up() {
        let one = list(
            "1 0 2 2 9",
            &["a holds=3", "b", "c holds=1", &format!("{NLM} holds=5")],
        );
        let two = list(
            "2 1 0 1 ffff",
            &[&format!("{NLM} holds=a"), "a holds=e", "b holds=1"],
        );
        let all = List::joined("dev:8:16".parse().unwrap(), [one.clone(), two]);
        let expected = [
            "a holds=11".into(),
            "b".into(),
            "c holds=1".into(),
            format!("{NLM} holds=f"),
        ];
        assert_eq!(clients(&all), expected);
        assert_eq!(all.nlm_clients, Some(1));
        assert_eq!(all.held, None, "one was no number");
        assert!(all.to_string().contains("\ndev:8:16 b\n"));
        let more = List {
            nlm_clients: None,
            ..list("1 0 0 0 1", &["d"])
        };
        let all = List::joined("1".parse().unwrap(), [one, more]);
        assert_eq!(
            (all.held, all.nlm_clients),
            ("2 0 2 2 10".parse().ok(), None)
        );
    }

    #[test]
    fn a_list_after_a_crash_has_both_and_no_amounts() {
        let mut before = list("1 0 2 2 9", &["a holds=3", "b", &format!("{NLM} holds=5")]);
        before.released = true;
        before.server_scope = Some("nfs-ha".into());
        let database = List {
            held: None,
            nlm_clients: None,
            ..list("", &["b", "c"])
        };
        let all = database.after_crash(before);
        assert_eq!(clients(&all), ["b", "c", "a", NLM]);
        assert_eq!(
            (
                all.held,
                all.released,
                all.nlm_clients,
                all.server_scope.as_deref()
            ),
            (None, false, None, Some("nfs-ha"))
        );
    }

    #[test]
    fn a_list_after_a_release_is_the_one_before() {
        let mut before = list("1 0 2 2 9", &["a holds=3", &format!("{NLM} holds=5")]);
        before.released = true;
        let now = list("0 0 0 0 0", &[&format!("{NLM} holds=0")]);
        assert_eq!(now.after(before.clone()), before);
    }

    #[test]
    fn a_list_after_nothing_was_released_has_all_who_were_on_either() {
        let before = list(
            "1 0 2 2 9",
            &["a holds=3", "gone holds=2", &format!("{NLM} holds=5")],
        );
        let now = list(
            "1 0 1 1 6",
            &["a holds=1", "new", &format!("{NLM} holds=5")],
        );
        let all = now.after(before);
        let expected = [
            "a holds=3".into(),
            "new".into(),
            format!("{NLM} holds=5"),
            "gone holds=2".into(),
        ];
        assert_eq!(clients(&all), expected);
        assert_eq!(all.held, "1 0 1 1 6".parse().ok());
        assert!(!all.released);
    }
}
