// SPDX-License-Identifier: GPL-2.0
//! `status` to be read by people.

use super::report::{InGrace, Report};
use crate::output::{or_dash, Table};
use nfsd_ha::control::{Drain, DrainState, Listed, Nfs4Client, NlmClient, Progress, Tracking, Who};
use nfsd_ha::statd;
use std::time::{SystemTime, UNIX_EPOCH};

/// All of it.
pub fn all(report: &Report) -> String {
    let mut text = String::new();
    for (name, value) in [
        (
            "server scope",
            report
                .server_scope
                .clone()
                .unwrap_or_else(|| "none: nfsd does not run".into()),
        ),
        ("grace period of the server", own_grace(report.own_grace)),
        ("client tracking", tracking(&report.tracking)),
        (
            "recorder of NLM clients",
            recorder(report.recorder.as_ref()),
        ),
        ("floating addresses", floating(report)),
    ] {
        text += &format!("{name}: {value}\n");
    }
    let mut tables = Vec::from_iter(report.drains.as_deref().map(drains));
    tables.extend([
        graces(&report.grace),
        listed(&report.listed),
        nfs4(&report.nfs4),
        nlm(&report.nlm),
    ]);
    let recorder = report.recorder.as_ref();
    let late = recorder.filter(|recorder| !recorder.unstored.is_empty());
    tables.extend(late.map(|recorder| unstored(&recorder.unstored)));
    tables
        .iter()
        .fold(text, |text, table| text + &table.to_string())
}

fn floating(report: &Report) -> String {
    let addresses: Vec<_> = report
        .floating_addresses
        .iter()
        .map(ToString::to_string)
        .collect();
    if addresses.is_empty() {
        "none".into()
    } else {
        addresses.join(" ")
    }
}

fn own_grace(active: Option<bool>) -> String {
    match active {
        Some(true) => "it is in one",
        Some(false) => "over",
        None => "none",
    }
    .into()
}

/// The state of client tracking, and what is not as it is to be.
fn tracking(tracking: &Tracking) -> String {
    let mut text = match tracking.state.as_str() {
        "stock" => {
            "stock: nfsd was started before the module; restart it to have its own".to_owned()
        }
        "failed" => "failed: no client can reclaim after a restart; restart nfsd".to_owned(),
        "waiting" => {
            "waiting for a daemon that sends its records: start nfsdcld, or nfsd-had".to_owned()
        }
        other => other.to_owned(),
    };
    match tracking.daemon {
        Some(true) => text += ", a daemon is there",
        Some(false) => text += ", no daemon is there: start nfsdcld, or nfsd-had",
        None => {}
    }
    let number = |name: &str| tracking.numbers.get(name).copied().unwrap_or(0);
    for (name, what) in [
        ("to_store", "clients whose record is to be stored"),
        ("to_remove", "clients whose record is to be removed"),
        ("lost", "changes that were lost, as there was no memory"),
        ("timed_out", "upcalls without an answer"),
    ] {
        if number(name) > 0 {
            text += &format!("; {} {what}", number(name));
        }
    }
    if number("grace_done_due") > 0 {
        text += "; the daemon is not told yet that the grace period is over";
    }
    text
}

fn recorder(recorder: Option<&statd::Report>) -> String {
    let Some(statd::Report {
        pid,
        recorded,
        unstored,
    }) = recorder
    else {
        return "does not run".into();
    };
    let mut text = format!("process {pid}, {recorded} records");
    if !unstored.is_empty() {
        text += &format!(
            "; {} clients are NOT recorded, and get no new locks",
            unstored.len()
        );
    }
    text
}

fn drains(drains: &[Drain]) -> Table {
    let columns = [
        "address",
        "state",
        "#connections",
        "#requests",
        "#left",
        "#closed",
        "#reset",
        "#refused",
        "#kept",
    ];
    let mut table = Table::new("addresses that drain", &columns);
    for Drain { address, state } in drains {
        let (name, numbers) = match *state {
            DrainState::Draining {
                connections,
                requests,
                left,
            } => {
                let here = [connections, requests, left].map(Some);
                ("draining", [here.to_vec(), vec![None; 4]])
            }
            DrainState::Drained {
                closed,
                reset,
                refused,
                kept,
            } => {
                let gone = [closed, reset, refused, kept].map(Some);
                ("drained", [vec![None; 3], gone.to_vec()])
            }
        };
        let words = [address.to_string(), name.to_owned()].into_iter();
        table.row(words.chain(numbers.concat().into_iter().map(or_dash)));
    }
    table
}

fn graces(graces: &[InGrace]) -> Table {
    let columns = [
        "scope",
        "#left",
        "#reclaims",
        "#refused",
        "#listed",
        "#reclaimed",
        "#complete",
        "local",
    ];
    let mut table = Table::new("in grace", &columns);
    for InGrace {
        grace,
        listed,
        reclaimed,
        complete,
    } in graces
    {
        table.row([
            grace.scope.to_string(),
            grace.left.to_string(),
            grace.reclaims.to_string(),
            grace.refused.to_string(),
            listed.to_string(),
            reclaimed.to_string(),
            complete.to_string(),
            if grace.local { "local" } else { "-" }.into(),
        ]);
    }
    table
}

fn listed(listed: &[Listed]) -> Table {
    let mut table = Table::new(
        "may reclaim",
        &["scope", "client", "server", "version", "#holds", "state"],
    );
    for one in listed {
        let (client, server, version) = match &one.reclaimer.who {
            Who::Nfs4 { client, .. } => (client.to_string(), "-".into(), "nfs4".into()),
            Who::Nlm(peer) => (
                peer.client.to_string(),
                peer.server.to_string(),
                format!("nlm{}", peer.version),
            ),
        };
        let state = match one.state {
            Progress::Waiting => "waiting",
            Progress::Reclaimed => "reclaimed",
            Progress::Complete => "complete",
        };
        let holds = or_dash(one.reclaimer.holds);
        table.row([
            one.scope.to_string(),
            client,
            server,
            version,
            holds,
            state.into(),
        ]);
    }
    table
}

fn nfs4(clients: &[Nfs4Client]) -> Table {
    let columns = [
        "fsid",
        "client",
        "#opens",
        "#locks",
        "#delegations",
        "#layouts",
        "minor",
        "address",
        "principal",
        "#holds",
    ];
    let mut table = Table::new("NFSv4 clients", &columns);
    for one in clients {
        table.row([
            one.fsid.to_string(),
            one.client.to_string(),
            or_dash(one.opens),
            or_dash(one.locks),
            or_dash(one.delegations),
            or_dash(one.layouts),
            one.minor.to_string(),
            or_dash(one.address),
            // All of it is in JSON.
            or_dash(
                one.principal
                    .as_ref()
                    .map(|hash| hash.chars().take(8).collect::<String>()),
            ),
            or_dash(one.holds),
        ]);
    }
    table
}

fn nlm(clients: &[NlmClient]) -> Table {
    let columns = [
        "fsid", "server", "client", "version", "#locks", "#blocks", "#shares", "caller", "#holds",
    ];
    let mut table = Table::new("NLM clients", &columns);
    for one in clients {
        table.row([
            one.fsid.to_string(),
            one.peer.server.to_string(),
            one.peer.client.to_string(),
            one.peer.version.to_string(),
            or_dash(one.locks),
            or_dash(one.blocks),
            or_dash(one.shares),
            if one.caller.is_empty() {
                "-"
            } else {
                &one.caller
            }
            .into(),
            or_dash(one.holds),
        ]);
    }
    table
}

fn unstored(clients: &[statd::Waiting]) -> Table {
    let mut table = Table::new(
        "not recorded",
        &["scope", "server", "client", "#for", "why"],
    );
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    for one in clients {
        table.row([
            one.scope.escape_default().to_string(),
            one.server.to_string(),
            one.client.to_string(),
            format!("{} s", now.saturating_sub(one.since)),
            one.error.escape_default().to_string(),
        ]);
    }
    table
}
