// SPDX-License-Identifier: GPL-2.0
//! What a list carries to the other node besides who may reclaim: notes that older readers pass over.
//!
//! ```text
//! # export *:/srv/ha(rw,fsid=1234)                      for each export, as one word
//! # connection 192.0.2.50:2049 198.51.100.7:878         for each client that was connected
//! ```

use nfsd_ha::exports::{self, Export};
use nfsd_ha::list::List;
use nfsd_ha::net::connections::{Connection, MOST};

/// Notes what moves with a list, in place of what was noted before.
pub fn note(list: &mut List, exports: &[Export], connections: &[Connection]) {
    list.notes
        .retain(|(name, _)| !matches!(name.as_str(), "export" | "connection"));
    let exports = exports
        .iter()
        .map(|export| ("export".to_owned(), exports::word(export)));
    let connections = connections
        .iter()
        .map(|one| ("connection".to_owned(), one.to_string()));
    list.notes.extend(exports.chain(connections));
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
}
