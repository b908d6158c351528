// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::control::NlmClients;
use crate::files::Directory;
use proptest::prelude::*;
use std::path::Path;

const LINE: &str =
    "0100007f 000186b5 00000003 00000010 00000000000000000000000000000000 10.0.0.1 10.0.0.50\n";

fn record(client: &str, server: &str) -> Record {
    Record {
        client: client.parse().unwrap(),
        server: server.parse().unwrap(),
    }
}

/// On a node that has its number there.
fn next_state(node: &Path, lists: &[List]) -> Result<State, crate::files::Error> {
    List::next_state(&Directory::open(node).unwrap(), lists)
}

#[test]
fn a_record_is_written_as_statd_writes_it() {
    let record = record("10.0.0.1", "10.0.0.50");
    assert_eq!(record.line(), LINE);
    assert_eq!(Record::parse(LINE.as_bytes()), [record]);
    // As statd pads it, with another cookie.
    let other = "0100007f 000186b5 00000003 00000010 c9c9fd5c010000000086b4088088ffff 10.0.0.1 10.0.0.50 \n";
    assert_eq!(Record::parse(other.as_bytes()), [record]);
}

#[test]
fn what_is_no_record_is_left_out() {
    for odd in [
        LINE.trim_end(),
        &LINE.replace("10.0.0.50", "10.0.0.50 more"),
        &LINE.replace("10.0.0.50", "name"),
        &LINE.replace("10.0.0.1", "../../x"),
        &LINE.replace("0100007f", "0100007"),
        &LINE.replace("0100007f", "0100007g"),
        "\n",
        "",
    ] {
        assert_eq!(Record::parse(odd.as_bytes()), [], "{odd:?}");
        let beside = format!(
            "{}{LINE}",
            if odd.ends_with('\n') {
                odd.into()
            } else {
                format!("{odd}\n")
            }
        );
        assert!(Record::parse(beside.as_bytes()).contains(&record("10.0.0.1", "10.0.0.50")));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read(bytes: Vec<u8>) {
        laws::records(&bytes);
        laws::state(&bytes);
        laws::report(&bytes);
    }

    #[test]
    fn nearly_records_are_read(line in "[0-9a-f]{7,9}( [0-9a-f]{8}){3} [0-9a-f]{31,33} [0-9a-f.:%]{1,20} \\PC{0,20}\n?") {
        laws::records(line.as_bytes());
    }

    #[test]
    fn what_is_written_is_read_back(pairs: Vec<(std::net::IpAddr, std::net::IpAddr)>) {
        let records: Vec<_> = pairs.into_iter()
            .map(|(client, server)| Record { client: client.to_canonical(), server: server.to_canonical() })
            .collect();
        let text: String = records.iter().map(Record::line).collect();
        prop_assert_eq!(Record::parse(text.as_bytes()), records);
    }

    #[test]
    fn a_state_is_read_back_and_grows(number in 1..i32::MAX) {
        let state = State::parse(&number.to_ne_bytes()).unwrap();
        prop_assert_eq!(State::parse(&state.bytes()), Some(state));
        prop_assert!(state.next() > state || number > i32::MAX - 3);
        prop_assert_eq!(state.next().get() % 2, 1);
    }
}

#[test]
fn a_state_begins_with_the_time() {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i32;
    assert!((now..=now + 2).contains(&State::first().get()));
    assert_eq!(State::parse(&[]), None);
    assert_eq!(State::parse(&0i32.to_ne_bytes()), None);
    assert_eq!(State::parse(&(-5i32).to_ne_bytes()), None);
}

/// The lines of nlm_clients, each `FSID SERVER CLIENT`.
fn clients(lines: &[&str]) -> Vec<crate::control::NlmClient> {
    let mut text = "sequence 1\n".to_owned();
    for line in lines {
        text += line;
        text += " 4 1 0 0 name 1\n";
    }
    NlmClients::parse(&text).unwrap().clients
}

fn list(base: &Path, scope: &str) -> List {
    List::open(Directory::open(base).unwrap().child(scope).unwrap()).unwrap()
}

#[test]
fn each_export_has_its_list() {
    let place = tempfile::tempdir().unwrap();
    let base = place.path().join("lists");
    let mut store = Store::new(&base);
    let there = clients(&[
        "1234 10.0.0.50 10.0.0.1",
        "dev:8:1 10.0.0.51 10.0.0.1",
        "1234 fe80::50 fd00::1",
        "1234 10.0.0.50 10.0.0.1",
    ]);
    assert!(store.record(&there).is_empty());
    assert_eq!(store.len(), 3);
    let wanted = [
        record("10.0.0.1", "10.0.0.50"),
        record("fd00::1", "fe80::50"),
    ];
    assert_eq!(list(&base, "1234").all().unwrap(), wanted);
    assert_eq!(
        list(&base, "dev:8:1").all().unwrap(),
        [record("10.0.0.1", "10.0.0.51")]
    );
    assert_eq!(
        std::fs::read_to_string(base.join("1234/sm/10.0.0.1")).unwrap(),
        LINE
    );
}

#[test]
fn nothing_is_written_twice_by_whomever() {
    use std::os::unix::fs::MetadataExt;
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("1234/sm/10.0.0.1");
    let there = clients(&["1234 10.0.0.50 10.0.0.1"]);
    let mut store = Store::new(place.path());
    store.record(&there);
    let first = file.metadata().unwrap().ino();
    store.record(&there);
    Store::new(place.path()).record(&there);
    assert_eq!(file.metadata().unwrap().ino(), first);
}

#[test]
fn a_client_has_a_line_for_each_address_of_the_server() {
    let place = tempfile::tempdir().unwrap();
    let mut store = Store::new(place.path());
    let servers = |store: &mut Store, servers: &[&str]| {
        let lines: Vec<_> = servers
            .iter()
            .map(|server| format!("1234 {server} 10.0.0.1"))
            .collect();
        assert!(store
            .record(&clients(
                &lines.iter().map(String::as_str).collect::<Vec<_>>()
            ))
            .is_empty());
    };
    servers(&mut store, &["10.0.0.50"]);
    servers(&mut store, &["10.0.0.52", "10.0.0.53"]);
    servers(&mut Store::new(place.path()), &["10.0.0.54"]);
    let all = list(place.path(), "1234").all().unwrap();
    let seen: Vec<_> = all.iter().map(|record| record.server.to_string()).collect();
    assert_eq!(seen, ["10.0.0.50", "10.0.0.52", "10.0.0.53", "10.0.0.54"]);
}

#[test]
fn what_somebody_was_interrupted_with_is_written_again() {
    let place = tempfile::tempdir().unwrap();
    let sm = place.path().join("1234/sm");
    let mut store = Store::new(place.path());
    store.record(&clients(&["1234 10.0.0.50 10.0.0.9"]));
    std::fs::write(sm.join("10.0.0.1"), &LINE[..20]).unwrap();
    std::fs::write(sm.join(".10.0.0.1.new"), &LINE[..30]).unwrap();
    assert!(store
        .record(&clients(&["1234 10.0.0.50 10.0.0.1"]))
        .is_empty());
    assert_eq!(std::fs::read_to_string(sm.join("10.0.0.1")).unwrap(), LINE);
    assert!(store
        .record(&clients(&["1234 10.0.0.51 10.0.0.1"]))
        .is_empty());
    assert_eq!(list(place.path(), "1234").all().unwrap().len(), 3);
}

#[test]
fn a_list_that_was_told_is_begun_anew() {
    let place = tempfile::tempdir().unwrap();
    let there = clients(&["1234 10.0.0.50 10.0.0.1", "1234 10.0.0.50 10.0.0.2"]);
    let mut store = Store::new(place.path());
    store.record(&there);
    assert!(!store.is_stale());

    let list = list(place.path(), "1234");
    let before = list.state().unwrap().unwrap();
    let told = list.retire().unwrap();
    assert_eq!(told.len(), 2);
    assert!(next_state(place.path(), std::slice::from_ref(&list)).unwrap() > before);
    assert!(store.is_stale());

    // They come back before they have confirmed.
    assert!(store.record(&there).is_empty());
    assert!(!store.is_stale());
    for record in &told {
        list.told(record).unwrap();
    }
    assert_eq!(list.being_told().unwrap(), []);
    assert_eq!(list.all().unwrap(), told);
}

#[test]
fn who_was_not_reached_is_told_the_next_time_too() {
    let place = tempfile::tempdir().unwrap();
    let mut store = Store::new(place.path());
    store.record(&clients(&[
        "1234 10.0.0.50 10.0.0.1",
        "1234 10.0.0.51 10.0.0.1",
    ]));
    let list = list(place.path(), "1234");
    let mut told = list.retire().unwrap();
    told.sort();
    list.told(&told[0]).unwrap();
    assert_eq!(list.being_told().unwrap(), told[1..]);
    store.record(&clients(&["1234 10.0.0.52 10.0.0.1"]));
    assert_eq!(
        list.all().unwrap(),
        [told[1], record("10.0.0.1", "10.0.0.52")]
    );
    let mut again = list.retire().unwrap();
    again.sort();
    assert_eq!(again, list.all().unwrap());
}

#[test]
fn who_is_on_record_elsewhere_is_told_now() {
    let place = tempfile::tempdir().unwrap();
    let all = Directory::open(place.path()).unwrap();
    let list = List::open(all.make_child("1234").unwrap()).unwrap();
    let [one, two, three] = [
        record("10.0.0.1", "10.0.0.50"),
        record("10.0.0.1", "10.0.0.51"),
        record("fd00::1", "fd00::50"),
    ];
    list.add(&[]).unwrap();
    assert_eq!(list.being_told().unwrap(), []);
    list.add(&[two]).unwrap();
    list.add(&[three, one, one]).unwrap();
    let told = |list: &List| {
        let mut told = list.being_told().unwrap();
        told.sort();
        told
    };
    assert_eq!(told(&list), [one, two, three]);
    // Beside those of this node's own.
    let own = record("10.0.0.9", "10.0.0.50");
    std::fs::write(place.path().join("1234/sm/10.0.0.9"), own.line()).unwrap();
    assert_eq!(list.retire().unwrap().len(), 4);
    list.told(&one).unwrap();
    assert_eq!(told(&list), [two, own, three]);
}

#[test]
fn a_disk_that_is_not_mounted_keeps_only_its_own_clients_waiting() {
    let place = tempfile::tempdir().unwrap();
    let base = Directory::make(place.path().join("lists")).unwrap();
    std::os::unix::fs::symlink(place.path().join("disk/nsm"), base.path().join("5678")).unwrap();
    let mut store = Store::new(base.path());
    let there = clients(&["1234 10.0.0.50 10.0.0.1", "5678 10.0.0.50 10.0.0.1"]);
    let unstored = store.record(&there);
    assert_eq!(unstored.len(), 1);
    assert_eq!(unstored[0].scope.to_string(), "5678");
    assert!(
        unstored[0].error.contains("is its file system mounted?"),
        "{}",
        unstored[0].error
    );
    assert_eq!(store.len(), 1);

    Directory::make(place.path().join("disk/nsm")).unwrap();
    assert!(store.record(&there).is_empty());
    assert!(place.path().join("disk/nsm/sm/10.0.0.1").exists());

    // It goes, with its export, and comes back: its records have gone with it.
    std::fs::rename(place.path().join("disk"), place.path().join("away")).unwrap();
    assert!(!store.is_stale());
    assert!(store.record(&there).is_empty());
    assert_eq!(
        store.record(&clients(&["5678 10.0.0.50 10.0.0.2"])).len(),
        1,
        "who is new there must wait"
    );
    std::fs::rename(place.path().join("away"), place.path().join("disk")).unwrap();
    assert!(!store.is_stale());
    std::fs::remove_file(place.path().join("disk/nsm/sm/10.0.0.1")).unwrap();
    assert!(store.is_stale());
    assert!(store.record(&there).is_empty());
    assert!(place.path().join("disk/nsm/sm/10.0.0.1").exists());
}

#[test]
fn what_a_stranger_could_have_made_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let there = clients(&["1234 10.0.0.50 10.0.0.1"]);
    for part in ["", "1234", "1234/sm", "1234/sm/10.0.0.1", "1234/lock"] {
        let base = place.path().join(part.replace('/', "-") + "x");
        assert!(Store::new(&base).record(&there).is_empty());
        std::os::unix::fs::chown(base.join(part), Some(65534), None).unwrap();
        let refused = Store::new(&base).record(&there);
        assert_eq!(refused.len(), 1, "{part}");
        assert!(
            refused[0].error.contains("belongs to user 65534"),
            "{}",
            refused[0].error
        );
    }
}

#[test]
fn a_strangers_state_number_is_refused() {
    let place = tempfile::tempdir().unwrap();
    Store::new(place.path()).record(&clients(&["1234 10.0.0.50 10.0.0.1"]));
    let state = place.path().join("1234/state");
    std::os::unix::fs::chown(&state, Some(65534), None).unwrap();
    assert!(next_state(place.path(), &[list(place.path(), "1234")]).is_err());
    std::fs::remove_file(&state).unwrap();
    std::os::unix::fs::symlink("sm/10.0.0.1", &state).unwrap();
    assert!(next_state(place.path(), &[list(place.path(), "1234")]).is_err());
}

#[test]
fn a_full_disk_costs_nobody_else_a_record() {
    let place = tempfile::tempdir().unwrap();
    let mut store = Store::new(place.path());
    store.record(&clients(&["1234 10.0.0.50 10.0.0.1"]));
    // A directory in the place of the file stands for it: it can neither be read nor replaced.
    std::fs::create_dir(place.path().join("1234/sm/10.0.0.2")).unwrap();
    let three = clients(&[
        "1234 10.0.0.50 10.0.0.2",
        "1234 10.0.0.50 10.0.0.3",
        "5678 10.0.0.50 10.0.0.2",
    ]);
    let unstored = store.record(&three);
    assert_eq!(unstored.len(), 1);
    assert_eq!(unstored[0].record, record("10.0.0.2", "10.0.0.50"));
    assert!(place.path().join("1234/sm/10.0.0.3").exists());
    std::fs::remove_dir(place.path().join("1234/sm/10.0.0.2")).unwrap();
    assert!(store.record(&three).is_empty());
}

#[test]
fn lists_that_come_together_have_one_number() {
    let place = tempfile::tempdir().unwrap();
    let all = Directory::open(place.path()).unwrap();
    let lists =
        ["1234", "5678", "9"].map(|scope| List::open(all.make_child(scope).unwrap()).unwrap());
    let far = State::parse(&i32::to_ne_bytes(i32::MAX - 10)).unwrap();
    std::fs::write(place.path().join("5678/state"), far.bytes()).unwrap();
    std::fs::write(place.path().join("9/state"), b"?").unwrap();
    let next = next_state(place.path(), &lists).unwrap();
    assert_eq!(next, far.next());
    assert!(lists.iter().all(|list| list.state().unwrap() == Some(next)));
}

#[test]
fn lists_that_are_told_one_after_the_other_have_growing_numbers() {
    let place = tempfile::tempdir().unwrap();
    let all = Directory::open(place.path()).unwrap();
    // Each of them is new, and has no number but the time, which is the same.
    let numbers: Vec<_> = (1..20)
        .map(|scope| {
            let list = List::open(all.make_child(&scope.to_string()).unwrap()).unwrap();
            next_state(place.path(), &[list]).unwrap()
        })
        .collect();
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    assert!(numbers.iter().all(|state| state.get() % 2 == 1));
    // Of an export that comes without a list.
    assert!(next_state(place.path(), &[]).unwrap() > numbers[18]);
}

#[test]
fn numbers_are_not_below_the_time() {
    let now = State::first();
    assert!(State::parse(&i32::to_ne_bytes(3)).unwrap().next() >= now);
    assert!(State::parse(&i32::to_ne_bytes(i32::MAX)).unwrap().next() >= now);
    assert_eq!(
        State::parse(&i32::to_ne_bytes(2_000_000_000))
            .unwrap()
            .next()
            .get(),
        2_000_000_003
    );
    assert_eq!(now.get() % 2, 1);
}
