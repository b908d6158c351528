// SPDX-License-Identifier: GPL-2.0
//! `nfsd-ha records list`: who may reclaim after a restart.

use super::report::Client;
use super::{clients, nlm};
use crate::output::{self, or_dash, time, Table};
use crate::Common;
use anyhow::Result;
use nfsd_ha::records::Reader;
use serde::Serialize;
use std::path::Path;

/// How much of a principal's SHA-256 is enough to tell it from others, in digits.
const PRINCIPAL: usize = 8;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  nfsd-ha records list\n  nfsd-ha records list --nlm\n  nfsd-ha --json records list | jq '.[].client'"
)]
pub struct Args {
    /// Also show those that did not reclaim in time, and are not removed yet
    #[arg(long)]
    all: bool,
    /// Show the clients of NLM, who must be told if another server takes over after a crash
    #[arg(long)]
    nlm: bool,
    /// Show who is connected to floating addresses
    #[arg(long, conflicts_with_all = ["all", "nlm"])]
    connections: bool,
}

impl Args {
    pub fn run(&self, file: &Path, common: &Common) -> Result<()> {
        let reader = Reader::open(file)?;
        if self.nlm {
            return show(&reader.nlm()?, nlm::table, common);
        }
        if self.connections {
            return show(&nlm::connections(&reader)?, nlm::connections_table, common);
        }
        let clients = clients(&reader, |record| self.all || record.may_reclaim)?;
        if common.json {
            return output::json(&clients);
        }
        output::print(&(self.table(clients).to_string() + &others(&reader)?))
    }

    fn table(&self, clients: Vec<Client>) -> Table {
        let (title, last): (_, &[_]) = match self.all {
            true => ("on record", &["may reclaim"]),
            false => ("may reclaim after a restart", &[]),
        };
        let columns = [
            "client",
            "address",
            "#minor",
            "since",
            "#epoch",
            "#exports",
            "principal",
        ];
        let mut table = Table::new(title, &[&columns[..], last].concat());
        for one in clients {
            let may = if one.may_reclaim { "yes" } else { "no" };
            let principal = one
                .principal
                .map(|digits| digits[..PRINCIPAL].to_owned() + "...");
            let mut words = vec![
                one.client.to_string(),
                or_dash(one.address),
                or_dash(one.minor),
                time::utc(one.since),
                one.epoch.to_string(),
                or_dash(one.exports),
                or_dash(principal),
            ];
            words.extend(self.all.then(|| may.to_owned()));
            table.row(words);
        }
        table
    }
}

/// Prints rows.
fn show<T: Serialize>(rows: &[T], table: impl Fn(&[T]) -> Table, common: &Common) -> Result<()> {
    match common.json {
        true => output::json(&rows),
        false => output::print(&table(rows).to_string()),
    }
}

/// What is on record besides, if there is something.
fn others(reader: &Reader) -> Result<String> {
    let (nlm, connections) = (reader.nlm()?.len(), reader.connections()?.len());
    let line = |number, what, option| match number {
        0 => String::new(),
        _ => format!("{what} on record: {number} (nfsd-ha records list {option})\n"),
    };
    Ok(line(nlm, "clients of NLM", "--nlm") + &line(connections, "connections", "--connections"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_a_client_is_in_its_line() {
        let unknown = || Client {
            client: "one".parse().unwrap(),
            address: None,
            minor: None,
            principal: None,
            since: 0,
            epoch: 3,
            may_reclaim: true,
            exports: None,
        };
        let known = Client {
            address: "2001:db8::50".parse().ok(),
            minor: Some(0),
            principal: Some("07".repeat(32)),
            exports: Some(10),
            ..unknown()
        };
        let args = Args {
            all: true,
            nlm: false,
            connections: false,
        };
        let table = args.table(vec![known, unknown()]).to_string();
        let lines: Vec<Vec<_>> = table
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        let since = "1970-01-01T00:00:00Z";
        assert_eq!(
            lines[2..],
            [
                [
                    "one",
                    "2001:db8::50",
                    "0",
                    since,
                    "3",
                    "10",
                    "07070707...",
                    "yes"
                ],
                ["one", "-", "-", since, "3", "-", "-", "yes"],
            ]
        );
    }
}
