// SPDX-License-Identifier: GPL-2.0
use super::*;
use nfsd_ha::owner::Owner;
use nfsd_ha::records::Client;

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
    let mut message = vec![0; 1067];
    message[..2].copy_from_slice(&[2, command]);
    message[8..10].copy_from_slice(&(name.len() as u16).to_ne_bytes());
    message[10..][..name.len()].copy_from_slice(name.as_bytes());
    message
}

/// Serves so that an error is an answer at once.
fn serve(store: &mut Store, messages: &[Vec<u8>], answers: &mut impl Answers) -> Result<(), Error> {
    serve_for(store, messages, answers, Duration::ZERO)
}

fn serve_for(
    store: &mut Store,
    messages: &[Vec<u8>],
    answers: &mut impl Answers,
    time: Duration,
) -> Result<(), Error> {
    let mut patience = Patience {
        until: Instant::now() + time,
        trouble: &mut Trouble::default(),
    };
    super::serve(store, messages, &Beside::default(), answers, &mut patience)
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

/// An upcall of version 3, with attributes.
fn upcall_3(command: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut message = vec![3, command, 0, 0, 1, 2, 3, 4];
    for (kind, value) in attributes {
        message.extend(kind.to_ne_bytes());
        message.extend((value.len() as u16).to_ne_bytes());
        message.extend(*value);
    }
    message
}

/// The answer to one of these that tells nothing.
fn header(upcall: &[u8], status: i16) -> Vec<u8> {
    [&upcall[..2], &status.to_ne_bytes(), &upcall[4..8]].concat()
}

/// Answers as they are, of which only so many are taken.
struct Raw(Vec<Vec<u8>>, usize);

impl Answers for Raw {
    fn answer(&mut self, answer: &[u8]) -> io::Result<()> {
        self.1 = self.1.checked_sub(1).ok_or(io::ErrorKind::BrokenPipe)?;
        self.0.push(answer.to_vec());
        Ok(())
    }
}

fn raw(store: &mut Store, messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut raw = Raw(Vec::new(), usize::MAX);
    serve(store, messages, &mut raw).unwrap();
    raw.0
}

fn all(store: &Store) -> Vec<Client> {
    let mut all = Vec::new();
    store
        .each(|client| {
            all.push(client);
            true
        })
        .unwrap();
    all.sort_by(|one, other| one.owner.cmp(&other.owner));
    all
}

fn start_3() -> Vec<u8> {
    upcall_3(4, &[])
}

/// The answer to it, in an epoch of which only its number is known.
fn is_started(answer: &[u8], epoch: u64) -> bool {
    answer == upcall_3(4, &[(5, &name(answer, epoch))])
}

/// The name of this epoch, which began when that one did at the end of an answer.
fn name(answer: &[u8], epoch: u64) -> [u8; 16] {
    let started = answer.last_chunk::<8>().unwrap();
    [epoch.to_ne_bytes(), *started].concat().try_into().unwrap()
}

fn done_3(epoch: [u8; 16]) -> Vec<u8> {
    upcall_3(3, &[(5, &epoch)])
}

#[test]
fn version_3_tells_more_of_a_client() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(&directory.path().join("records")).unwrap();
    let start = start_3();
    let minor = 2u32.to_ne_bytes();
    let attributes: [(u16, &[u8]); 4] =
        [(1, b"one"), (2, &[7; 32]), (3, &minor), (4, b"192.0.2.50")];
    let create = upcall_3(0, &attributes);
    let answers = raw(&mut store, &[start.clone(), create.clone()]);
    assert!(is_started(&answers[0], 1));
    assert_eq!(answers[1..], [header(&create, 0)]);
    let one = Client {
        owner: Owner::new("one").unwrap(),
        principal: Some([7; 32]),
        minor: Some(2),
        address: "192.0.2.50".parse().ok(),
    };
    assert_eq!(all(&store), [one.clone()]);
    // After the next start it is told as it was stored.
    let mut record = upcall_3(4, &attributes);
    record[2..4].copy_from_slice(&(-115i16).to_ne_bytes());
    let answers = raw(&mut store, &[start]);
    assert_eq!(answers[..1], [record]);
    assert!(is_started(&answers[1], 2) && answers.len() == 2);
    // A record is what was told last: who does not say where the client came to does not say that it came there again.
    raw(&mut store, &[upcall(0, "one")]);
    assert_eq!(all(&store), [Client::new(one.owner, None)]);
    let remove = upcall_3(1, &[(1, b"one")]);
    let answers = raw(&mut store, &[remove.clone(), remove.clone()]);
    assert_eq!(answers, [header(&remove, 0), header(&remove, 0)]);
    assert_eq!(all(&store), []);
}

#[test]
fn version_3_is_agreed_on_and_the_epoch_told() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(&directory.path().join("records")).unwrap();
    let mut question = upcall(5, "");
    question[9..17].copy_from_slice(b"nfsd-ha?");
    let epoch = |answer: &[u8]| {
        assert_eq!(answer[8..17], *b"\x03nfsd-ha!");
        assert!(answer[33..].iter().all(|byte| *byte == 0));
        <[u8; 16]>::try_from(&answer[17..33]).unwrap()
    };
    let asked = [question.clone(), start_3(), question.clone()];
    let answers = raw(&mut store, &asked);
    assert!(is_started(&answers[1], 1));
    let told = name(&answers[1], 1);
    assert_eq!((epoch(&answers[0]), epoch(&answers[2])), ([0; 16], told));
    // The daemon that comes in place of this one says the same, until a server starts.
    drop(store);
    let (mut store, _) = Store::open(&directory.path().join("records")).unwrap();
    let answers = raw(&mut store, &[question.clone(), start_3(), question]);
    assert_eq!(epoch(&answers[0]), told);
    assert_eq!(epoch(&answers[2]), name(&answers[1], 2));
    assert_eq!(raw(&mut store, &[upcall(5, "")])[0][8], 2);
}

#[test]
fn only_the_grace_period_of_the_last_epoch_ends() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(&directory.path().join("records")).unwrap();
    let create = |name: &'static [u8]| upcall_3(0, &[(1, name)]);
    let start = start_3();
    let messages = [
        start.clone(),
        create(b"one"),
        create(b"two"),
        start,
        create(b"two"),
    ];
    let answers = raw(&mut store, &messages);
    // The records of epoch 1 come before the end of the second start.
    let second = name(&answers[4], 2);
    // A file that was put back may have the same number.
    let mut later = second;
    later[8] ^= 1;
    let others = [0, 1, 3, i64::MAX as u64, u64::MAX].map(|epoch| name(&answers[4], epoch));
    for epoch in others.into_iter().chain([later, [0; 16]]) {
        let done = done_3(epoch);
        assert_eq!(raw(&mut store, &[done.clone()]), [header(&done, 0)]);
        assert_eq!(clients(&store), 2, "epoch {epoch:?}");
    }
    let done = done_3(second);
    let twice = raw(&mut store, &[done.clone(), done.clone()]);
    assert_eq!(twice, [header(&done, 0), header(&done, 0)]);
    assert_eq!(clients(&store), 1);
    assert_eq!(store.epoch(), 2);
}

#[test]
fn many_clients_come_in_few_answers_and_all_of_them() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(&directory.path().join("records")).unwrap();
    let start = start_3();
    raw(&mut store, &[start.clone()]);
    let creates: Vec<_> = (0..10_000)
        .map(|n| upcall_3(0, &[(1, format!("client-{n}").as_bytes())]))
        .collect();
    let answers = raw(&mut store, &creates);
    assert!(answers
        .iter()
        .all(|answer| *answer == header(&creates[0], 0)));
    let answers = raw(&mut store, &[start.clone()]);
    let (last, records) = answers.split_last().unwrap();
    assert!(is_started(last, 2));
    let bytes: usize = creates.iter().map(|create| create.len() - 8).sum();
    assert_eq!(records.len(), bytes.div_ceil(32768 - 8 - 16));
    assert!(records.iter().all(|record| record.len() <= 32768));
    let told: usize = records.iter().map(|record| record.len() - 8).sum();
    assert_eq!(told, bytes);
    // The kernel goes away in the midst of it, or before the last ones.
    for taken in [0, 1, records.len() - 1] {
        let mut raw = Raw(Vec::new(), taken);
        serve(&mut store, &[start.clone()], &mut raw).unwrap();
        assert_eq!(raw.0.len(), taken);
    }
}

#[test]
fn a_start_that_was_not_heard_is_told_so() {
    /// Has no memory for the first records, and for those behind them it has.
    struct Full(Vec<Vec<u8>>);
    impl Answers for Full {
        fn answer(&mut self, answer: &[u8]) -> io::Result<()> {
            self.0.push(answer.to_vec());
            match self.0.len() {
                1 => Err(io::ErrorKind::OutOfMemory.into()),
                _ => Ok(()),
            }
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(&directory.path().join("records")).unwrap();
    let start = start_3();
    // Of three downcalls, the last one is not full.
    let names: Vec<_> = (0..70).map(|n| [n; 1000]).collect();
    let mut messages = vec![start.clone()];
    messages.extend(names.iter().map(|name| upcall_3(0, &[(1, name)])));
    raw(&mut store, &messages);
    let mut full = Full(Vec::new());
    serve(&mut store, &[start.clone()], &mut full).unwrap();
    let (end, refused) = full.0.split_last().unwrap();
    assert_eq!((end, refused.len()), (&header(&start, -5), 1));
}

#[test]
fn nothing_of_version_3_is_acknowledged_that_is_not_stored() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("records");
    let (mut store, _) = Store::open(&file).unwrap();
    let start = start_3();
    raw(&mut store, &[start.clone()]);
    std::fs::rename(&file, directory.path().join("away")).unwrap();
    let messages = [
        upcall_3(0, &[(1, b"one")]),
        upcall_3(6, &[(1, b"one"), (6, b"1234")]),
        upcall_3(7, &[(6, b"1234")]),
        upcall_3(8, &[(5, &[1; 16]), (8, &[0xff; 8])]),
        done_3([1; 16]),
        start,
    ];
    let mut raw = Raw(Vec::new(), usize::MAX);
    assert!(serve(&mut store, &messages, &mut raw).is_err());
    assert_eq!(raw.0, messages.map(|message| header(&message, -116)));
}

#[test]
fn who_does_not_ask_again_is_answered_later() {
    let long = Duration::from_secs(60);
    let directory = tempfile::tempdir().unwrap();
    let (file, away) = (
        directory.path().join("records"),
        directory.path().join("away"),
    );
    let (mut store, _) = Store::open(&file).unwrap();
    assert!(said(&mut store, &[upcall(4, "")]).1);
    for (number, message) in [upcall(0, "one"), upcall(4, "")].into_iter().enumerate() {
        std::fs::rename(&file, &away).unwrap();
        let mut answers = Said::default();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(300));
                std::fs::rename(&away, &file).unwrap();
            });
            serve_for(&mut store, &[message], &mut answers, long).unwrap();
        });
        assert!(answers.0.iter().all(|(_, status, _)| *status != -116));
        assert_eq!(store.epoch(), 1 + number as i64);
    }
    assert_eq!(clients(&store), 1);
    // It is not waited for ever, nor for who asks again.
    std::fs::rename(&file, &away).unwrap();
    let began = Instant::now();
    for (message, time) in [
        (upcall(0, "two"), Duration::from_millis(500)),
        (upcall_3(0, &[(1, b"two")]), long),
    ] {
        let mut raw = Raw(Vec::new(), usize::MAX);
        assert!(serve_for(&mut store, &[message], &mut raw, time).is_err());
        assert_eq!(raw.0[0][2..4], (-116i16).to_ne_bytes());
    }
    let waited = began.elapsed();
    assert!(
        (Duration::from_millis(500)..long).contains(&waited),
        "{waited:?}"
    );
}

mod beside;
mod holds;
