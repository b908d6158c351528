// SPDX-License-Identifier: GPL-2.0
//! docs/json.md has the fields that are printed, and no others.

use super::{check, drain, records, status};
use nfsd_ha::checks::{self, Node, Tree};
use nfsd_ha::control::{Control, NlmPeer};
use nfsd_ha::journal::Step;
use nfsd_ha::records::{ExportName, Fault, Imported, NlmRecord, Start};
use nfsd_ha::statd::{self, Waiting};
use nfsd_ha::takeover::TakenOver;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

const PAGE: &str = include_str!("../../../../docs/json.md");

/// The fields in the table under a heading.
fn documented(heading: &str) -> BTreeSet<String> {
    let lines = PAGE.lines().skip_while(|line| {
        line.trim_start_matches('#').trim() != heading || !line.starts_with("##")
    });
    let table = lines.skip(1).take_while(|line| !line.starts_with('#'));
    let field = |line: &str| {
        line.strip_prefix("| `")
            .and_then(|rest| rest.split_once('`'))
            .map(|(name, _)| name.to_owned())
    };
    table.filter_map(field).collect()
}

/// The fields of an object, or of all objects in an array.
fn fields(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(object) => object.keys().cloned().collect(),
        Value::Array(array) => array.iter().flat_map(fields).collect(),
        _ => BTreeSet::new(),
    }
}

/// Compares a value with its table, and what is in it with theirs.
fn compare(heading: &str, value: &impl serde::Serialize) {
    let value = serde_json::to_value(value).unwrap();
    assert_eq!(documented(heading), fields(&value), "{heading}");
    let objects = match &value {
        Value::Array(array) => array.iter().filter_map(Value::as_object).collect(),
        value => Vec::from_iter(value.as_object()),
    };
    for (name, inner) in objects.into_iter().flatten() {
        let heading = format!("{heading}.{name}");
        if !documented(&heading).is_empty() {
            compare(&heading, inner);
        }
    }
}

/// A directory of control files, as they are while there are clients and a grace period.
fn control() -> (tempfile::TempDir, Control) {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in [
        (
            "client_tracking",
            "state active\ndaemon present\ngrace ended\ncreate 1 failed 0\nserver_scope nfs-ha\n",
        ),
        ("v4_end_grace", "Y\n"),
        ("floating_addresses", "192.0.2.50\n"),
        (
            "drain",
            "192.0.2.50 draining connections 2 requests 1 left 9\n\
             192.0.2.51 drained closed 2 reset 0 refused 1 kept 3\n",
        ),
        ("fsid_grace", "1234 left 80 reclaims 1 refused 0\n"),
        (
            "reclaim_clients",
            "1234 one # waiting\n1234 nlm 192.0.2.50 192.0.2.17 4 # waiting\n",
        ),
        (
            "nfs4_clients",
            "# fsid\n1234 one 1 1 0 0 2 192.0.2.50 - 3\n",
        ),
        // Behind the command, which is written there.
        ("nlm_unlock", "....\nscope 1234\nlocks 1\n"),
        (
            "nlm_clients",
            "sequence 1\n1234 192.0.2.50 192.0.2.17 4 1 0 0 name 1\n",
        ),
    ] {
        fs::write(directory.path().join(name), text).unwrap();
    }
    let control = Control::at(directory.path()).unwrap();
    (directory, control)
}

#[test]
fn status() {
    let (_directory, control) = control();
    let mut report = status::report::Report::new(&control).unwrap();
    let waiting = Waiting {
        scope: "1234".to_owned(),
        client: "192.0.2.17".parse().unwrap(),
        server: "192.0.2.50".parse().unwrap(),
        error: String::new(),
        since: 0,
    };
    report.recorder = Some(statd::Report {
        unstored: vec![waiting],
        ..statd::Report::default()
    });
    compare("status", &report);
}

#[test]
fn release() {
    let (_directory, control) = control();
    compare(
        "release",
        &control.release(&"1234".parse().unwrap()).unwrap(),
    );
}

#[test]
fn drain() {
    compare("drain", &drain::Report::default());
}

#[test]
fn takeover() {
    let taken = TakenOver {
        scope: "1234".parse().unwrap(),
        seconds: 90,
        nfs4_clients: 0,
        nlm_clients: 0,
        nobody_else: true,
        also_clients_here: 0,
        other_scope: None,
    };
    compare("takeover", &taken);
}

#[test]
fn steps() {
    let (name, what) = (String::new(), String::new());
    let step = Step {
        name,
        what,
        seconds: 0.0,
    };
    compare("move-out.steps", &step);
}

#[test]
fn check() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node {
        tree: Tree::new(directory.path()),
        local: vec![],
        floating: vec![],
        moving: vec![],
        list: None,
    };
    let found = checks::all(&node);
    assert!(!found.is_empty());
    compare("check", &check::Report::of(found));
}

#[test]
fn records() {
    let client = || records::Client {
        client: "one".parse().unwrap(),
        address: None,
        minor: None,
        principal: None,
        since: 0,
        epoch: 1,
        may_reclaim: true,
        exports: Some(1),
    };
    compare("records list", &[client()]);
    let hold = || records::Hold {
        client: None,
        export: ExportName::new(b"1234").unwrap(),
        file_system: None,
        since: 0,
        epoch: 1,
        counts: true,
    };
    let shown = records::Shown {
        client: client(),
        holds: Some(vec![hold()]),
    };
    compare("records show", &shown);
    let nlm = || NlmRecord {
        fsid: "1234".parse().unwrap(),
        peer: NlmPeer {
            server: "192.0.2.50".parse().unwrap(),
            client: "192.0.2.17".parse().unwrap(),
            version: 4,
        },
        caller: "name".to_owned(),
        since: 0,
        gone: None,
    };
    let connected = || records::Connected {
        server: "192.0.2.50".parse().unwrap(),
        server_port: 2049,
        client: "192.0.2.17".parse().unwrap(),
        client_port: 878,
        since: 0,
    };
    compare("records list --nlm", &[nlm()]);
    compare("records list --connections", &[connected()]);
    let shown = records::ShownNlm {
        nlm: vec![nlm()],
        connections: vec![connected()],
    };
    compare("records show --nlm", &shown);
    let start = Start {
        epoch: 1,
        started: 0,
        ended: None,
        held_from: None,
        held_until: None,
    };
    let all = records::All {
        version: 1,
        epochs: vec![start],
        clients: vec![client()],
        holds: Some(vec![hold()]),
        nlm: Some(vec![nlm()]),
        connections: Some(vec![connected()]),
    };
    compare("records export", &all);
    let imported = Imported {
        clients: 0,
        waiting: 0,
        nlm: 0,
        changed: false,
    };
    compare("records import", &imported);
    let fault = Fault {
        what: String::new(),
        fix: String::new(),
    };
    let faults = vec![fault];
    compare("records check", &records::Checked { faults });
}

#[test]
fn what_is_not_there_has_no_fields() {
    assert!(documented("nothing").is_empty());
    assert_eq!(documented("end"), BTreeSet::from(["scope".to_owned()]));
}
