// SPDX-License-Identifier: GPL-2.0
//! What a list carries to the other node besides who may reclaim: notes that older readers pass over.
//!
//! ```text
//! # export *:/srv/ha(rw,fsid=1234)                      for each export, as one word
//! # connection 192.0.2.50:2049 198.51.100.7:878         for each client that was connected
//! # recorded 1234 nlm 192.0.2.50 198.51.100.7 4         for each client of NLM on record of a server that has crashed
//! ```

use nfsd_ha::control::{NlmPeer, Reclaimer, Who};
use nfsd_ha::exports::{self, Export};
use nfsd_ha::list::List;
use nfsd_ha::net::connections::{Connection, MOST};
use nfsd_ha::records::NlmRecord;
use nfsd_ha::scope::Fsid;

/// Notes what moves with a list, in place of what was noted before.
pub fn note(list: &mut List, exports: &[Export], connections: &[Connection]) {
    list.notes
        .retain(|(name, _)| !matches!(name.as_str(), "export" | "connection"));
    let exports = exports
        .iter()
        .map(|export| ("export".to_owned(), exports::word(export)));
    list.notes.extend(exports);
    note_connections(list, connections);
}

/// Notes who was connected, beside those that are noted.
pub fn note_connections<'a>(
    list: &mut List,
    connections: impl IntoIterator<Item = &'a Connection>,
) {
    let connections = connections
        .into_iter()
        .map(|one| ("connection".to_owned(), one.to_string()));
    list.notes.extend(connections);
}

/// Notes clients of NLM that are on record. Which of the exports come is known when they are exported.
pub fn note_recorded<'a>(list: &mut List, clients: impl IntoIterator<Item = &'a NlmRecord>) {
    list.notes.extend(clients.into_iter().map(|one| {
        let who = Reclaimer {
            who: Who::Nlm(one.peer),
            holds: None,
        };
        ("recorded".to_owned(), format!("{} {who}", one.fsid))
    }));
}

/// The clients of NLM on record, each with its export.
pub fn recorded(list: &List) -> Vec<(Fsid, NlmPeer)> {
    let recorded = |text: &str| {
        let (fsid, who) = text.split_once(' ')?;
        match who.parse::<Reclaimer>().ok()?.who {
            Who::Nlm(peer) => Some((fsid.parse().ok()?, peer)),
            Who::Nfs4 { .. } => None,
        }
    };
    notes(list, "recorded").filter_map(recorded).collect()
}

/// What was exported. What this program does not understand is left out.
pub fn exports(list: &List) -> Vec<Export> {
    notes(list, "export")
        .filter_map(|word| exports::from_word(word).ok())
        .collect()
}

/// Who was connected.
pub fn connections(list: &List) -> Vec<Connection> {
    notes(list, "connection")
        .filter_map(|line| line.parse().ok())
        .take(MOST)
        .collect()
}

fn notes<'a>(list: &'a List, name: &'a str) -> impl Iterator<Item = &'a str> {
    list.notes
        .iter()
        .filter(move |(other, _)| other == name)
        .map(|(_, text)| text.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read_back() {
        let mut list = List::new("1234".parse().unwrap());
        let exported: Vec<Export> = vec![
            "*:/srv/ha(rw,fsid=1234)".parse().unwrap(),
            "[fd77::]/64:/srv/h a".parse().unwrap(),
        ];
        let connected: Vec<Connection> = vec!["192.0.2.50:2049 198.51.100.7:878".parse().unwrap()];
        note(&mut list, &exported, &connected);
        note(&mut list, &exported, &connected);
        let read = List::parse(list.to_string().as_bytes()).unwrap();
        assert_eq!((exports(&read), connections(&read)), (exported, connected));
        list.notes.push(("export".into(), "-u:/srv".into()));
        list.notes.push(("connection".into(), "nobody".into()));
        assert_eq!((exports(&list).len(), connections(&list).len()), (2, 1));
    }

    #[test]
    fn clients_of_nlm_are_noted_with_their_export() {
        let mut list = List::new("1234".parse().unwrap());
        let record = |fsid: &str| NlmRecord {
            fsid: fsid.parse().unwrap(),
            peer: NlmPeer {
                server: "192.0.2.50".parse().unwrap(),
                client: "192.0.2.17".parse().unwrap(),
                version: 4,
            },
            caller: "name".into(),
            since: 0,
            gone: None,
        };
        let records = [record("1234"), record("uuid8:0123456789abcdef")];
        note_recorded(&mut list, &records);
        let text = "recorded 1234 nlm 192.0.2.50 192.0.2.17 4\n";
        assert!(list.to_string().contains(text));
        let read = List::parse(list.to_string().as_bytes()).unwrap();
        let expected = records.map(|record| (record.fsid, record.peer));
        assert_eq!(recorded(&read), expected);
        for odd in [
            "1234 one",
            "1234",
            "1234 nlm 192.0.2.50 192.0.2.17 2",
            "x nlm 192.0.2.50 192.0.2.17 4",
        ] {
            list.notes.push(("recorded".into(), odd.into()));
        }
        assert_eq!(recorded(&list).len(), 2);
    }
}
