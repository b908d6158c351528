// SPDX-License-Identifier: GPL-2.0
use super::*;
use crate::control::Control;
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const LIST: &str = "# nfsd-ha clients 2\n# server-scope a\n# nlm-clients 1\n# held 1 0 2 2 9\n\
                    1234 o\"d\\134d\\040two\n1234 one holds=8\n\
                    1234 nlm 192.0.2.50 192.0.2.17 4 holds=1\n# end 3\n";
const OLD: &str = "# nfsd-ha clients 1\n# server-scope -\n# nlm-clients 0\n1234 one\n# end 1\n";

fn parse(text: &str) -> Result<List, ListError> {
    List::parse(text.as_bytes())
}

#[test]
fn a_list_is_read_as_it_is_written() {
    let list = parse(LIST).unwrap();
    assert_eq!(
        (list.server_scope.as_deref(), list.nlm_clients),
        (Some("a"), Some(1))
    );
    assert_eq!(list.held.unwrap().amount, Some(9));
    assert_eq!((list.nfs4().count(), list.nlm().count()), (2, 1));
    assert_eq!(list.to_string(), LIST);
    let confirmed = LIST.replacen('\n', "\n# released\n", 1);
    assert!(parse(&confirmed).unwrap().released);
    assert_eq!(parse(&confirmed).unwrap().to_string(), confirmed);
}

#[test]
fn an_older_list_is_read_and_a_newer_one_is_not() {
    let old = parse(OLD).unwrap();
    assert_eq!(
        (old.server_scope, old.nlm_clients, old.held),
        (None, Some(0), None)
    );
    assert_eq!(old.clients.len(), 1);
    assert_eq!(
        parse(&LIST.replace("clients 2", "clients 3")),
        Err(ListError::Newer("3".into()))
    );
}

#[test]
fn what_is_not_known_is_kept() {
    let text = LIST.replace("# held", "# path /srv/ha\n# empty\n# held");
    let list = parse(&text).unwrap();
    let notes = [("path", "/srv/ha"), ("empty", "")];
    assert_eq!(
        list.notes,
        notes.map(|(name, text)| (name.to_owned(), text.to_owned()))
    );
    assert_eq!(parse(&list.to_string()), Ok(list));
}

#[test]
fn a_list_that_is_cut_anywhere_is_refused() {
    // Without the last newline it is all there.
    for end in 0..LIST.len() - 1 {
        assert!(parse(&LIST[..end]).is_err(), "{:?}", &LIST[..end]);
    }
    assert!(parse(&LIST[..LIST.len() - 1]).is_ok());
}

#[test]
fn what_is_no_list_is_refused() {
    for text in [
        "",
        "\n",
        "1234 one\n",
        "# nfsd-ha clients\n# end 0\n",
        "# nfsd-ha clients 2x\n# end 0\n",
        &format!("{LIST}{LIST}"),
        &format!("{LIST}\n"),
        &format!("{LIST}1234 three\n"),
        &LIST.replace("# end 3", "# end 2"),
        &LIST.replace("# end 3", "# end 3 4"),
        &LIST.replace("one", "o ne x y"),
        &LIST.replace("one", "o\\ne"),
        &LIST.replace("one", "o\x1b[2Jne"),
        &LIST.replace("one", "\u{e9}ne"),
        &LIST.replace("one", "one\r"),
        &LIST.replace("1234 one", "5678 one"),
        &LIST.replace("1234 one", "one"),
        &LIST.replace("holds=8", "holds=x"),
        &LIST.replace("17 4", "17 2"),
        &LIST.replace("# held 1", "# held"),
        &LIST.replace("# nlm-clients 1", "# nlm-clients x"),
        &LIST.replace("# nlm-clients 1", "# nlm-clients 1\n# nlm-clients 0"),
        &LIST.replace("# held", "# released\n# released\n# held"),
        &LIST.replace("1234 one", "\n1234 one"),
    ] {
        assert!(parse(text).is_err(), "{text:?}");
    }
    assert!(List::parse(&LIST.replace("one", "o\0ne").into_bytes()).is_err());
    let error = parse(&LIST.replace("17 4", "17 2")).unwrap_err();
    assert!(
        error.to_string().starts_with("line 7 of the list is wrong"),
        "{error}"
    );
}

fn released(text: &str) -> crate::control::Released {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("reclaim_clients"), "").unwrap();
    // A plain file says what it has behind the command.
    let scope: Scope = "1234".parse().unwrap();
    fs::write(directory.path().join("nlm_unlock"), format!("1234\n{text}")).unwrap();
    Control::at(directory.path())
        .unwrap()
        .release(&scope)
        .unwrap()
}

const RELEASED: &str = "scope 1234\nlocks 1\nshares 0\nnfs4_opens 2\nnfs4_locks 2\nholds 9\n";

#[test]
fn a_list_is_confirmed_if_that_was_released() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("clients");
    let confirm = |list: &str, answer: &str| {
        fs::write(&path, list).unwrap();
        let confirmed = ListFile::open(&path)
            .unwrap()
            .confirm(&released(answer))
            .unwrap();
        (confirmed, fs::read_to_string(&path).unwrap())
    };
    let confirmed = LIST.replacen('\n', "\n# released\n", 1);
    assert_eq!(confirm(LIST, RELEASED), (true, confirmed.clone()));
    assert_eq!(confirm(&confirmed, RELEASED), (true, confirmed));
    for other in [
        &RELEASED.replace("holds 9", "holds a"),
        &RELEASED.replace("holds 9", "holds -"),
        &RELEASED.replace("nfs4_locks 2", "nfs4_locks -"),
        &RELEASED.replace("locks 1", "locks 2"),
        &format!("{RELEASED}left a lock\n"),
    ] {
        assert_eq!(confirm(LIST, other), (false, LIST.to_owned()), "{other}");
    }
    // What could not be counted is never the same.
    let uncounted = LIST.replace("# held 1 0 2 2 9", "# held 1 0 2 - -");
    let answer = RELEASED
        .replace("nfs4_locks 2", "nfs4_locks -")
        .replace("holds 9", "holds -");
    assert_eq!(confirm(&uncounted, &answer), (false, uncounted.clone()));
    assert_eq!(confirm(OLD, RELEASED), (false, OLD.to_owned()));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn no_link_is_followed_and_nothing_left_behind() {
    let directory = tempfile::tempdir().unwrap();
    let (list, link) = (
        directory.path().join("clients"),
        directory.path().join("link"),
    );
    fs::write(&list, LIST).unwrap();
    symlink(&list, &link).unwrap();
    assert!(matches!(
        ListFile::open(&link),
        Err(FileError::NotPlain { .. })
    ));
    assert!(matches!(
        ListFile::open(directory.path()),
        Err(FileError::File { .. })
    ));
    assert!(matches!(
        ListFile::open(Path::new("/")),
        Err(FileError::NotPlain { .. })
    ));
    assert!(matches!(
        ListFile::open(Path::new("/nowhere/list")),
        Err(FileError::File { .. })
    ));
    // Somebody has put a link where the new content will be.
    let victim = directory.path().join("victim");
    fs::write(&victim, "keep").unwrap();
    symlink(&victim, directory.path().join("clients.new")).unwrap();
    assert!(ListFile::open(&list)
        .unwrap()
        .confirm(&released(RELEASED))
        .unwrap());
    assert_eq!(fs::read_to_string(victim).unwrap(), "keep");
    assert!(fs::symlink_metadata(&list).unwrap().is_file());
}

/// A server's control files.
fn server(files: &[(&str, &str)]) -> (tempfile::TempDir, Control) {
    let directory = tempfile::tempdir().unwrap();
    let usual = [
        ("reclaim_clients", ""),
        ("client_tracking", "state active\nserver_scope a\n"),
        ("floating_addresses", "192.0.2.50\n"),
        ("fsid_grace", ""),
        ("nlm_clients", "sequence 0\n"),
        ("nfs4_clients", "# fsid ...\n"),
        ("v4_end_grace", "Y\n"),
    ];
    for (name, text) in usual.iter().chain(files) {
        fs::write(directory.path().join(name), text).unwrap();
    }
    let control = Control::at(directory.path()).unwrap();
    (directory, control)
}

fn collected(scope: &str, files: &[(&str, &str)]) -> String {
    let (_directory, control) = server(files);
    of_server(&control, Path::new("/nowhere"), &scope.parse().unwrap())
        .unwrap()
        .to_string()
}

#[test]
fn who_holds_something_is_listed() {
    let hash = "AB".repeat(32);
    let nfs4 = format!(
        "# fsid ...\n1234 four 1 1 0 0 0 192.0.2.50 {hash} 8\n1234 delegated 1 0 1 0 0 - - 2\n\
         1234 one 1 1 0 0 2 192.0.2.9 - 3\n5678 other 1 1 0 0 2 192.0.2.50 - 4\n"
    );
    let nlm = "sequence 3\n1234 192.0.2.50 192.0.2.17 4 1 0 1 three 7fffffffffffff9f\n\
               1234 192.0.2.50 192.0.2.18 4 0 0 0  0\n5678 192.0.2.9 192.0.2.18 3 1 0 0 x 1\n";
    let files = [("nfs4_clients", nfs4.as_str()), ("nlm_clients", nlm)];
    assert_eq!(
        collected("1234", &files),
        format!(
            "# nfsd-ha clients 2\n# server-scope a\n# nlm-clients 2\n# held 1 1 3 2 {}\n1234 delegated\n\
             1234 four {} holds=8\n1234 one\n1234 nlm 192.0.2.50 192.0.2.17 4 holds=7fffffffffffff9f\n\
             1234 nlm 192.0.2.50 192.0.2.18 4 holds=0\n# end 5\n",
            (0x7fff_ffff_ffff_ff9f_u64 + 8 + 2 + 3) % (1 << 48),
            "ab".repeat(32),
        )
    );
    // Of an address, nobody is counted.
    assert_eq!(
        collected("ip:192.0.2.50", &files)
            .lines()
            .skip(2)
            .collect::<Vec<_>>(),
        [
            "# nlm-clients 2",
            &format!(
                "# held 1 1 2 2 {}",
                (0x7fff_ffff_ffff_ff9f_u64 + 8 + 4) % (1 << 48)
            ),
            &format!("ip:192.0.2.50 four {}", "ab".repeat(32)),
            "ip:192.0.2.50 other",
            "ip:192.0.2.50 nlm 192.0.2.50 192.0.2.17 4",
            "ip:192.0.2.50 nlm 192.0.2.50 192.0.2.18 4",
            "# end 4",
        ]
    );
}

#[test]
fn who_held_something_on_a_server_that_crashed_is_listed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("records.sqlite");
    drop(crate::records::Store::open(&file).unwrap());
    let sql = "INSERT INTO epochs VALUES (1, 1, 1, 10, 20);
        INSERT INTO clients (name, principal, since, epoch) VALUES (x'6f6e65', zeroblob(32), 0, 1), (x'74776f', NULL, 0, 1);
        INSERT INTO holds VALUES (x'6f6e65', '1234', x'', 1, 0)";
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.execute_batch(sql).unwrap();
    let scope: Scope = "1234".parse().unwrap();
    let listed = |now| {
        of_database(&file, &scope, &(&scope).into(), now)
            .unwrap()
            .nfs4
    };
    let head = "# nfsd-ha clients 2\n# server-scope -\n# nlm-clients -\n# held -\n";
    let one = format!("1234 one {}\n", "00".repeat(32));
    assert_eq!(listed(15).to_string(), format!("{head}{one}# end 1\n"));
    // Nobody knows what was held after that.
    assert_eq!(
        listed(21).to_string(),
        format!("{head}{one}1234 two\n# end 2\n")
    );
}

#[test]
fn who_has_come_to_an_address_is_listed_by_its_name() {
    let nfs4 = "# fsid ...\n1 one@192.0.2.50 1 0 0 0 0 - - 2\n2 one@192.0.2.50 1 0 0 0 0 - - 2\n\
                1 two@192.0.2.5 1 0 0 0 0 - - 2\n";
    let list = collected("ip:192.0.2.50", &[("nfs4_clients", nfs4)]);
    assert_eq!(list.lines().nth(4), Some("ip:192.0.2.50 one@192.0.2.50"));
    assert_eq!(list.lines().nth(5), Some("# end 1"));
}

#[test]
fn who_may_still_reclaim_is_listed_without_an_amount() {
    let files = [
        ("nfs4_clients", "# fsid ...\n1234 back 1 1 0 0 0 - - 8\n"),
        (
            "reclaim_clients",
            "1234 back # reclaimed\n1234 away # waiting\n1234 gone # complete\n5 x # waiting\n\
                             1234 nlm 192.0.2.50 192.0.2.17 4 holds=1 # waiting\n",
        ),
        ("fsid_grace", "1234 left 3 reclaims 1 refused 0\n"),
        (
            "nlm_clients",
            "sequence 3\n1234 192.0.2.50 192.0.2.17 4 1 0 1 three 5\n",
        ),
    ];
    let list = collected("1234", &files);
    assert_eq!(
        list.lines().skip(2).collect::<Vec<_>>(),
        [
            "# nlm-clients -",
            "# held 1 1 1 1 13",
            "1234 away",
            "1234 back",
            "# end 2"
        ]
    );
}

#[test]
fn what_could_not_be_counted_is_a_dash() {
    let files = [
        ("nfs4_clients", "# fsid ...\n1234 one 1 - 0 0 0 - - -\n"),
        (
            "nlm_clients",
            "sequence 3\n1234 192.0.2.50 192.0.2.17 4 - - - three -\n",
        ),
    ];
    let list = collected("1234", &files);
    assert_eq!(
        list.lines().skip(3).collect::<Vec<_>>(),
        [
            "# held - - 1 - -",
            "1234 one",
            "1234 nlm 192.0.2.50 192.0.2.17 4",
            "# end 2"
        ]
    );
}

#[test]
fn an_address_that_is_not_floating_is_not_known() {
    let (_directory, control) = server(&[]);
    let scope: Scope = "ip:2001:db8::1".parse().unwrap();
    let error = of_server(&control, Path::new("/nowhere"), &scope).unwrap_err();
    assert!(error.to_string().contains("echo 2001:db8::1 >"), "{error}");
}

#[test]
fn a_hundred_thousand_clients_take_a_moment() {
    let many: String = (0..100_000).fold("# fsid ...\n".to_owned(), |mut text, n| {
        text.push_str(&format!("1234 client-{n} 1 1 0 0 0 192.0.2.50 - 8\n"));
        text
    });
    let began = std::time::Instant::now();
    let list = collected("1234", &[("nfs4_clients", &many)]);
    assert_eq!(parse(&list).unwrap().clients.len(), 100_000);
    // It is half a second, not optimised; were it quadratic, minutes.
    assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
}

proptest! {
    #[test]
    fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        laws::list(&bytes);
        laws::list(&[b"# nfsd-ha clients 2\n", &bytes[..], b"\n# end 0\n"].concat());
    }

    #[test]
    fn lines_with_some_sense_too(text in "(# (held|end|released|nlm-clients|x)?|1 (nlm )?)?[ -~]{0,30}(\n[ -~]{0,30}){0,3}") {
        laws::list(format!("# nfsd-ha clients 2\n{text}\n# end 1\n").as_bytes());
    }
}
