// SPDX-License-Identifier: GPL-2.0
//! What is stored beside what upcalls ask for.

use super::*;
use nfsd_ha::control::NlmClients;
use nfsd_ha::records::Reader;

#[test]
fn what_comes_beside_is_stored_together_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("records");
    let (mut store, _) = Store::open(&file).unwrap();
    let text = "sequence 1\n1234 192.0.2.50 192.0.2.17 4 - - - name -\n";
    let beside = |connection: &str| Beside {
        nlm: NlmClients::parse(text).unwrap().clients,
        gone: Some(Vec::new()),
        connections: Some((
            vec!["192.0.2.50".parse().unwrap()],
            vec![connection.parse().unwrap()],
        )),
    };
    let mut serve_with = |messages: &[Vec<u8>], beside: &Beside| {
        let mut said = Said::default();
        let mut patience = Patience {
            until: Instant::now(),
            trouble: &mut Trouble::default(),
        };
        let result = crate::serve::serve(&mut store, messages, beside, &mut said, &mut patience);
        let statuses: Vec<_> = said.0.into_iter().map(|(_, status, _)| status).collect();
        (statuses, result.is_ok())
    };
    let there = || {
        let reader = Reader::open(&file).unwrap();
        let mut clients = 0;
        reader.each(|_| clients += 1).unwrap();
        let connections = reader.connections().unwrap().len();
        (clients, reader.nlm().unwrap().len(), connections)
    };
    let one = beside("192.0.2.50:2049 192.0.2.17:878");
    // With the last batch of several.
    let messages = [upcall(0, "one"), upcall(4, ""), upcall(0, "two")];
    assert!(serve_with(&messages, &one).1);
    assert_eq!(there(), (2, 1, 1));
    // Without upcalls, or with one that changes nothing.
    let other = beside("192.0.2.50:2049 192.0.2.17:879");
    assert_eq!(serve_with(&[upcall(5, "")], &other), (vec![0], true));
    assert_eq!(there(), (2, 1, 1));
    let refuse =
        "CREATE TRIGGER t BEFORE INSERT ON connections BEGIN SELECT RAISE(ABORT, 'full'); END";
    let sqlite = rusqlite::Connection::open(&file).unwrap();
    sqlite.execute_batch(refuse).unwrap();
    let (statuses, well) = serve_with(&[upcall(0, "three")], &one);
    assert!(statuses[0] < 0 && !well);
    assert_eq!(there(), (2, 1, 1));
    sqlite.execute_batch("DROP TRIGGER t").unwrap();
    assert_eq!(serve_with(&[upcall(0, "three")], &one), (vec![0], true));
    assert_eq!(there(), (3, 1, 1));
}
