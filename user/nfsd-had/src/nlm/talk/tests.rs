// SPDX-License-Identifier: GPL-2.0
use super::*;
use nfsd_ha::records::Reader;
use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

/// What the module knows, and was told.
#[derive(Default)]
struct Lockd {
    /// Clients in the order in which they came, as lines; one that is gone is empty.
    lines: Vec<String>,
    /// What it was told, with the exports as words.
    told: Vec<(u64, String)>,
}

/// The module, which numbers clients from 1.
#[derive(Clone, Default)]
struct Fake(Rc<RefCell<Lockd>>);

impl Fake {
    fn comes(&self, export: &str, client: &str) {
        let line = format!("{export} 192.0.2.50 {client} 4 - - - name -\n");
        self.0.borrow_mut().lines.push(line);
    }

    fn since(&self, change: u64) -> NlmClients {
        let lockd = self.0.borrow();
        let lines = lockd.lines[change as usize..].concat();
        NlmClients::parse(&format!("sequence {}\n{lines}", lockd.lines.len())).unwrap()
    }

    /// What it was told since somebody has asked.
    fn told(&self) -> Vec<(u64, String)> {
        std::mem::take(&mut self.0.borrow_mut().told)
    }
}

impl Kernel for Fake {
    fn all(&mut self) -> Result<NlmClients, Error> {
        Ok(self.since(0))
    }

    fn stored(&mut self, change: u64, except: &BTreeSet<Fsid>) -> Result<NlmClients, Error> {
        let words: Vec<_> = except.iter().map(Fsid::to_string).collect();
        let told = (change, words.join(" "));
        self.0.borrow_mut().told.push(told);
        Ok(self.since(change))
    }
}

struct Fixture {
    fake: Fake,
    talk: Talk<Fake>,
    store: Store,
    file: PathBuf,
    _directory: tempfile::TempDir,
}

impl Fixture {
    fn new(fake: Fake) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("records");
        let store = Store::open(&file).unwrap().0;
        Self {
            talk: Talk::begin(fake.clone(), Some(&store)).unwrap(),
            fake,
            store,
            file,
            _directory: directory,
        }
    }

    /// Stores those whose turn it is: how many.
    fn store(&mut self) -> usize {
        let part = self.talk.part(Some(&self.store)).unwrap().to_vec();
        let beside = crate::beside::Beside {
            nlm: part,
            ..Default::default()
        };
        beside.store(&mut self.store).unwrap();
        self.talk.stored(beside.nlm.len());
        beside.nlm.len()
    }

    fn fails(&mut self) {
        assert!(!self.talk.part(Some(&self.store)).unwrap().is_empty());
        self.talk.failed("full");
    }

    fn settle(&mut self) -> Vec<(u64, String)> {
        while self.talk.to_say().is_some() {
            self.talk.settle(Some(&self.store)).unwrap();
        }
        self.fake.told()
    }

    fn ask(&mut self) {
        self.talk.ask(Some(&self.store)).unwrap();
        self.fake.told();
    }

    /// The second is over.
    fn again(&mut self) {
        self.talk.failed.as_mut().unwrap().again = Some(Instant::now());
    }

    fn on_record(&self) -> usize {
        Reader::open(&self.file).unwrap().nlm().unwrap().len()
    }
}

fn told(change: u64, except: &str) -> Vec<(u64, String)> {
    vec![(change, except.to_owned())]
}

#[test]
fn who_is_there_and_who_comes_is_acknowledged_when_it_is_stored() {
    let fake = Fake::default();
    fake.comes("1234", "192.0.2.17");
    let mut one = Fixture::new(fake.clone());
    assert_eq!(one.settle(), []);
    assert!(!one.talk.is_listening() && one.talk.next().is_some());
    assert_eq!(one.store(), 1);
    assert_eq!(one.settle(), told(1, ""));
    assert!(one.talk.is_listening());
    assert_eq!((one.talk.next(), one.store()), (None, 0));
    fake.comes("5678", "192.0.2.17");
    fake.comes("1234", "192.0.2.18");
    one.ask();
    // Who waits is not asked for again.
    one.ask();
    assert_eq!(one.settle(), []);
    assert_eq!((one.store(), one.on_record()), (2, 3));
    assert_eq!(one.settle(), told(3, ""));
    // The same one with another transport: it need not be stored, and somebody waits for it.
    fake.comes("1234", "192.0.2.18");
    one.ask();
    assert_eq!((one.settle(), one.store()), (told(4, ""), 0));
    // Somebody comes while we say something.
    fake.comes("1234", "192.0.2.19");
    one.ask();
    one.store();
    fake.comes("1234", "192.0.2.20");
    assert_eq!(one.settle(), told(5, ""));
    assert_eq!((one.store(), one.settle()), (1, told(6, "")));
}

#[test]
fn a_recorder_that_comes_first_says_so() {
    let mut one = Fixture::new(Fake::default());
    assert!(!one.talk.is_listening());
    assert_eq!(one.settle(), told(0, ""));
    assert_eq!(one.settle(), []);
}

#[test]
fn what_cannot_be_stored_is_not_acknowledged() {
    let fake = Fake::default();
    let mut one = Fixture::new(fake.clone());
    one.settle();
    fake.comes("1234", "192.0.2.17");
    one.ask();
    one.fails();
    // Nobody waits in vain: the export is excepted at once.
    assert_eq!(one.settle(), told(1, "1234"));
    assert!(one.talk.has_failed() && one.talk.is_listening());
    let unstored = one.talk.unstored();
    assert_eq!((&*unstored[0].scope, &*unstored[0].error), ("1234", "full"));
    assert!(unstored[0].since > 0 && unstored.len() == 1);
    assert_eq!(one.store(), 0, "not before a second is over");
    fake.comes("5678", "192.0.2.17");
    one.ask();
    assert_eq!(one.settle(), told(2, "1234 5678"));
    one.again();
    one.fails();
    assert_eq!((one.settle(), one.talk.unstored().len()), (vec![], 2));
    // There is room again. One of them has gone meanwhile.
    fake.0.borrow_mut().lines[0].clear();
    one.again();
    assert_eq!((one.store(), one.on_record()), (1, 1));
    assert_eq!(one.settle(), told(2, ""));
    assert!(!one.talk.has_failed() && one.talk.unstored().is_empty());
}

#[test]
fn a_failure_is_over_when_all_have_gone() {
    let fake = Fake::default();
    fake.comes("1234", "192.0.2.17");
    let mut one = Fixture::new(fake.clone());
    one.fails();
    assert_eq!(one.settle(), told(1, "1234"));
    fake.0.borrow_mut().lines[0].clear();
    one.again();
    assert_eq!((one.store(), one.settle()), (0, told(1, "")));
    assert!(!one.talk.has_failed());
}

#[test]
fn we_are_silent_while_more_exports_fail_than_can_be_named() {
    let fake = Fake::default();
    let mut one = Fixture::new(fake.clone());
    one.settle();
    for export in 10_000..11_000 {
        fake.comes(&export.to_string(), "192.0.2.17");
    }
    one.ask();
    one.fails();
    assert_eq!(one.settle(), []);
    assert!(!one.talk.is_listening());
    assert!(one.talk.next().is_some_and(|next| next > Instant::now()));
    one.ask();
    assert_eq!(one.settle(), []);
    one.again();
    assert_eq!(one.store(), 1000);
    assert_eq!(one.settle(), told(1000, ""));
    assert!(one.talk.is_listening());
}

#[test]
fn many_are_stored_in_parts_and_acknowledged_in_the_end() {
    let fake = Fake::default();
    for client in 0..3000 {
        fake.comes("1234", &format!("198.18.{}.{}", client / 250, client % 250));
    }
    let mut one = Fixture::new(fake);
    for failed in [false, true] {
        if failed {
            one.talk.failed("full");
            assert_eq!(one.settle(), told(3000, "1234"));
            one.again();
        }
        assert_eq!(one.store(), PART);
        assert!(one.talk.next().is_some_and(|next| next <= Instant::now()));
        assert_eq!(one.settle(), []);
    }
    while one.store() > 0 {}
    assert_eq!(one.settle(), told(3000, ""));
    assert_eq!(one.on_record(), 3000);
}

#[test]
fn without_records_nobody_is_on_them() {
    let fake = Fake::default();
    fake.comes("1234", "192.0.2.17");
    let mut talk = Talk::begin(fake.clone(), None).unwrap();
    assert_eq!(talk.part(None).unwrap().len(), 1);
    talk.failed("not open");
    talk.settle(None).unwrap();
    assert_eq!(fake.told(), told(1, "1234"));
}
