// SPDX-License-Identifier: GPL-2.0
use super::*;
use nfsd_ha::cld;

/// Answers, as they come: command, status, and the name of a record.
#[derive(Default)]
struct Said(Vec<(u8, i16, String)>);

impl Answers for Said {
    fn answer(&mut self, answer: &[u8]) -> io::Result<()> {
        let length = usize::from(u16::from_ne_bytes([answer[8], answer[9]]));
        let name = answer[10..].get(..length).unwrap_or_default();
        let status = i16::from_ne_bytes([answer[2], answer[3]]);
        let name = if status == -115 {
            String::from_utf8_lossy(name).into()
        } else {
            String::new()
        };
        self.0.push((answer[1], status, name));
        Ok(())
    }
}

fn upcall(command: u8, name: &str) -> Vec<u8> {
    let mut message = vec![0; cld::MESSAGE_MAX];
    message[..2].copy_from_slice(&[2, command]);
    message[8..10].copy_from_slice(&(name.len() as u16).to_ne_bytes());
    message[10..][..name.len()].copy_from_slice(name.as_bytes());
    message
}

fn said(store: &mut Store, messages: &[Vec<u8>]) -> (Vec<(u8, i16, String)>, bool) {
    let mut said = Said::default();
    let result = serve(store, messages, &mut said);
    (said.0, result.is_ok())
}

fn clients(store: &Store) -> usize {
    let mut clients = 0;
    store
        .each(|_| {
            clients += 1;
            true
        })
        .unwrap();
    clients
}

#[test]
fn what_comes_together_is_stored_and_answered_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(&directory.path().join("records")).unwrap();
    let none = String::new();
    let start = [upcall(5, ""), upcall(4, "")];
    assert_eq!(
        said(&mut store, &start).0,
        [(5, 0, none.clone()), (4, 0, none.clone())]
    );
    let messages = [
        upcall(0, "one"),
        upcall(0, "two"),
        vec![1, 2, 3],
        upcall(77, "one"),
        upcall(1, "two"),
        upcall(1, "three"),
        // A server starts, with these on record.
        upcall(4, ""),
        upcall(2, "one"),
        upcall(2, "two"),
        upcall(3, ""),
    ];
    let answers = [
        (77, -95, ""),
        (0, 0, ""),
        (0, 0, ""),
        (1, 0, ""),
        (1, 0, ""),
        (4, -115, "one"),
        (4, 0, ""),
        (2, 0, ""),
        (2, -13, ""),
        (3, 0, ""),
    ];
    let answers = answers.map(|(command, status, name)| (command, status, name.to_owned()));
    assert_eq!(said(&mut store, &messages), (answers.into(), true));
    assert_eq!(clients(&store), 1);
    assert_eq!(store.epoch(), 2);
}

#[test]
fn nothing_is_acknowledged_that_is_not_stored() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("records");
    let (mut store, _) = Store::open(&file).unwrap();
    assert!(said(&mut store, &[upcall(4, ""), upcall(0, "one")]).1);
    std::fs::rename(&file, directory.path().join("away")).unwrap();
    let (answers, well) = said(
        &mut store,
        &[upcall(0, "two"), upcall(1, "one"), upcall(4, "")],
    );
    assert!(!well);
    let statuses: Vec<_> = answers
        .iter()
        .map(|(command, status, _)| (*command, *status))
        .collect();
    assert_eq!(statuses, [(0, -116), (1, -116), (4, -116)]);
    std::fs::rename(directory.path().join("away"), &file).unwrap();
    assert_eq!(clients(&store), 1);
    assert_eq!(store.epoch(), 1);
    assert!(said(&mut store, &[upcall(0, "two")]).1);
    assert_eq!(clients(&store), 2);
}
