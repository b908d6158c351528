// SPDX-License-Identifier: GPL-2.0
use super::*;
use crate::amount::Amount;
use proptest::prelude::*;
use std::fs;

/// A directory with a file for each name, which says what is given.
fn directory(files: &[(&str, &str)]) -> (tempfile::TempDir, Control) {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in [("reclaim_clients", "")].iter().chain(files) {
        fs::write(directory.path().join(name), text).unwrap();
    }
    let control = Control::at(directory.path()).unwrap();
    (directory, control)
}

#[test]
fn without_the_module_it_says_what_to_do() {
    let empty = tempfile::tempdir().unwrap();
    for path in [empty.path().to_owned(), empty.path().join("nowhere")] {
        let error = Control::at(&path).unwrap_err();
        assert!(matches!(error, Error::Absent { .. }));
        assert!(error.to_string().contains("insmod nfsd_ha.ko"), "{error}");
    }
}

#[test]
fn graces() {
    let text =
        "1234 left 87 reclaims 50 refused 3\nip:2001:db8::1 left 0 reclaims 0 refused 0 local\n";
    let (_directory, control) = directory(&[("fsid_grace", text)]);
    let graces = control.graces().unwrap();
    assert_eq!(graces.len(), 2);
    assert_eq!(
        (
            graces[0].left,
            graces[0].reclaims,
            graces[0].refused,
            graces[0].local
        ),
        (87, 50, 3, false)
    );
    assert_eq!(
        (graces[1].scope.to_string().as_str(), graces[1].local),
        ("ip:2001:db8::1", true)
    );
    for wrong in [
        "1234 left",
        "1234 left x reclaims 0 refused 0",
        "x left 1 reclaims 0 refused 0",
        "",
    ] {
        assert_eq!(Grace::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn drains() {
    let text = "192.0.2.50 draining connections 12 requests 3 left 7\n\
                2001:db8::50 drained closed 11 reset 1 refused 4 kept 2\n";
    let (_directory, control) = directory(&[("drain", text)]);
    let drains = control.drains().unwrap().unwrap();
    assert_eq!(
        drains[0].state,
        DrainState::Draining {
            connections: 12,
            requests: 3,
            left: 7
        }
    );
    assert_eq!((drains[0].is_over(), drains[1].is_over()), (false, true));
    let wanted = [
        "2001:db8::50".parse().unwrap(),
        "192.0.2.9".parse().unwrap(),
    ];
    let drained = control.await_drained(&wanted, 0, &mut |_| ()).unwrap();
    assert_eq!(drained, drains[1..]);
    let kept = |end: &str| {
        let drain = Drain::parse(&format!("::1 drained closed 1 reset 2 refused 3{end}"));
        match drain.unwrap().state {
            DrainState::Drained { kept, .. } => kept,
            DrainState::Draining { .. } => panic!("it is drained"),
        }
    };
    assert_eq!((kept(""), kept(" kept 4")), (0, 4));
    for wrong in [
        "",
        "192.0.2.50",
        "192.0.2.50 drained",
        "192.0.2.50 drained closed 1 reset 2",
        "192.0.2.50 drained closed 1 reset 2 refused 3 kept x",
        "192.0.2.50 draining closed 1 reset 2 refused 3",
        "x drained closed 1 reset 2 refused 3",
    ] {
        assert_eq!(Drain::parse(wrong), None, "{wrong}");
    }
    let (_directory, older) = directory(&[]);
    assert_eq!(older.drains().unwrap(), None);
}

#[test]
fn clients_of_nfs4() {
    let hash = "ab".repeat(32);
    let text = format!(
        "# fsid client opens locks delegations layouts minor address principal holds\n\
         1234 a\\040b 1 2 0 0 2 192.0.2.50 - 1f\n\
         uuid4:00112233 \\x6f6e65 1 - 0 0 0 - {hash} -\n"
    );
    let (_directory, control) = directory(&[("nfs4_clients", &text)]);
    let clients = control.nfs4_clients().unwrap();
    assert_eq!(clients[0].client.bytes(), b"a b");
    assert_eq!((clients[0].locks, clients[0].minor), (Some(2), 2));
    assert_eq!(clients[0].holds, Some(Amount::from(0x1f)));
    assert_eq!(
        (clients[1].locks, clients[1].address, clients[1].holds),
        (None, None, None)
    );
    assert_eq!(clients[1].principal.as_deref(), Some(hash.as_str()));
}

#[test]
fn clients_of_nlm() {
    let text = "sequence 17\n\
                1234 192.0.2.50 192.0.2.17 4 50 0 1 client.example 32\n\
                dev:8:1 2001:db8::50 fe80::17 3 - - -  -\n";
    let (_directory, control) = directory(&[("nlm_clients", text)]);
    let NlmClients { sequence, clients } = control.nlm_clients().unwrap();
    assert_eq!((sequence, clients.len()), (17, 2));
    assert_eq!(
        (clients[0].caller.as_str(), clients[0].shares),
        ("client.example", Some(1))
    );
    assert_eq!(clients[0].holds, Some(Amount::from(0x32)));
    // A client that gives itself no name.
    assert_eq!(
        (
            clients[1].caller.as_str(),
            clients[1].locks,
            clients[1].holds
        ),
        ("", None, None)
    );
    for wrong in [
        "",
        "sequence",
        "sequence x",
        "sequence 1\n1234",
        "1234 192.0.2.50",
    ] {
        assert!(NlmClients::parse(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn who_is_listed() {
    let hash = "ab".repeat(32);
    let text = format!(
        "1234 one # waiting\n1234 # # reclaimed\n1234 holds=5 {hash} holds=6 # complete\n\
         1234 nlm # waiting\n1234 nlm 192.0.2.50 192.0.2.17 4 holds=7 # waiting\n"
    );
    let (_directory, control) = directory(&[("reclaim_clients", &text)]);
    let listed = control.listed().unwrap();
    let who = |n: usize| match &listed[n].reclaimer.who {
        Who::Nfs4 { client, .. } => client.to_string(),
        Who::Nlm(peer) => format!("nlm {peer}"),
    };
    assert_eq!(who(0), "one");
    assert_eq!(
        (who(1).as_str(), listed[1].state),
        ("#", Progress::Reclaimed)
    );
    assert_eq!(
        (who(2).as_str(), listed[2].reclaimer.holds),
        ("holds=5", Some(Amount::from(6)))
    );
    assert_eq!(who(3), "nlm");
    assert_eq!(who(4), "nlm 192.0.2.50 192.0.2.17 4");
    let again: Vec<_> = listed
        .iter()
        .map(|one| format!("1234 {}", one.reclaimer))
        .collect();
    let lines = text.lines().map(|line| line.rsplit_once(" # ").unwrap().0);
    assert_eq!(again, lines.collect::<Vec<_>>());
}

#[test]
fn what_was_released() {
    let text = "scope 1234\nlocks 1\nblocks 0\nshares 0\nfiles 1\nclients 1\nnfs4_opens 2\n\
                nfs4_locks -\nnfs4_delegations 0\nnfs4_layouts 0\nnfs4_clients 2\nholds -\n\
                below 5678\nleft a lock of 192.0.2.17\nnews 1\n";
    let released = Released::parse(text).unwrap();
    assert_eq!(
        (released.locks, released.nfs4_locks, released.holds),
        (Some(1), None, None)
    );
    assert_eq!(released.below, ["5678".parse().unwrap()]);
    assert_eq!(released.left, ["a lock of 192.0.2.17"]);
    for wrong in [
        "",
        "locks 1\n",
        "scope x\n",
        "scope 1\nlocks x\n",
        "scope 1\nlocks\n",
    ] {
        assert!(Released::parse(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn tracking() {
    let text = "state active\ndaemon present\nversion 2\ngrace ended\nto_store 0\n\
                create 17 failed 1\nserver_scope nfs-ha\n";
    let (_directory, control) = directory(&[("client_tracking", text)]);
    let tracking = control.tracking().unwrap();
    assert_eq!((tracking.daemon, tracking.grace), (Some(true), Some(false)));
    assert_eq!(tracking.server_scope.as_deref(), Some("nfs-ha"));
    assert_eq!(
        (
            tracking.upcalls["create"].failed,
            tracking.numbers["version"]
        ),
        (1, 2)
    );
    // Before nfsd runs there is no scope; a server may have an empty one.
    assert_eq!(Tracking::parse("state off\n").unwrap().server_scope, None);
    assert_eq!(
        Tracking::parse("state active\nserver_scope \n")
            .unwrap()
            .server_scope,
        None
    );
    assert!(Tracking::parse("").is_err());
}

#[test]
fn names_in_info() {
    let name = |info: &[u8]| name_of(info).map(|owner| owner.bytes().to_vec());
    fn name_of(info: &[u8]) -> Option<Owner> {
        nfs4_clients::name_of_info(info)
    }
    let info =
        b"clientid: 0x1\naddress: \"a\"\nname: \"Linux \\x22two\\x5cx\\x00\"\nminor version: 2\n";
    assert_eq!(name(info).as_deref(), Some(&b"Linux \"two\\x\0"[..]));
    for wrong in [
        &b""[..],
        b"name: ",
        b"name: \"",
        b"name: \"\"",
        b"name: \"\\xzz\"",
    ] {
        assert_eq!(name(wrong), None);
    }
}

#[test]
fn a_command_goes_in_pages_of_whole_lines() {
    // A plain file keeps what is written last, and before it what was longer.
    let (directory, control) = directory(&[]);
    let scope: Scope = "1234".parse().unwrap();
    let clients: Vec<Reclaimer> = (0..500)
        .map(|n| format!("client-{n}").parse().unwrap())
        .collect();
    control.list(&scope, &clients).unwrap();
    let last = fs::read_to_string(directory.path().join("reclaim_clients")).unwrap();
    assert!(last.len() <= COMMAND_MAX, "{}", last.len());
    assert!(last.contains("1234 client-499\n"));
}

proptest! {
    #[test]
    fn any_text_is_taken_or_refused(text in "[ -~é\n]*") {
        laws::graces(&text);
        laws::listed(&text);
        laws::nfs4_clients(&text);
        laws::nlm_clients(&format!("sequence 1\n{text}"));
        laws::released(&format!("scope 1\n{text}"));
        laws::tracking(&text);
        laws::reclaimer(&text);
    }

    #[test]
    fn what_looks_like_lines_too(
        scope in "[0-9]|ip:::[0-9]|dev:[0-9]:[0-9]|uuid4:[0-9a-f]{8}", name in "[a-z@.0-9]{1,9}|.x([0-9a-f]{2}){1,3}",
        numbers in "( ([0-9]{1,3}|-)){4} 1 (fd77::1|-) ([0-9a-f]{64}|-) ([0-9a-f]{1,4}|-)",
        nlm in "fd77::1 192.0.2.[1-9] [1-4] [-0-9] [-0-9] [-0-9] [a-z]{0,3} ([0-9a-f]{1,4}|-)", rest in "( # waiting| local)?",
    ) {
        laws::nfs4_clients(&format!("{scope} {name}{numbers}\n"));
        laws::nlm_clients(&format!("sequence 1\n{scope} {nlm}\n"));
        laws::listed(&format!("{scope} {name}{rest}\n"));
        laws::graces(&format!("{scope} left 1 reclaims 2 refused 3{rest}\n"));
        laws::released(&format!("scope {scope}\nlocks {numbers}\nholds 1\nbelow {scope}\n"));
        laws::tracking(&format!("state {name}\nserver_scope {name}\ncreate 1 failed{numbers}\n"));
    }

    #[test]
    fn any_info_is_taken_or_refused(info in prop::collection::vec(any::<u8>(), 0..200)) {
        laws::info(&[b"name: \"", &info[..], b"\""].concat());
    }

    #[test]
    fn a_reclaimer_is_read_as_it_is_written(
        name in prop::collection::vec(any::<u8>(), 1..1025),
        hash in prop::option::of("[0-9a-f]{64}"),
        holds in prop::option::of(any::<u128>()),
    ) {
        let client = Owner::new(name).unwrap();
        let holds = holds.map(Amount::from);
        let one = Reclaimer { who: Who::Nfs4 { client, principal: hash }, holds };
        let line = one.to_string();
        prop_assert!(line.len() < 2200);
        prop_assert_eq!(line.parse(), Ok(one));
    }
}
