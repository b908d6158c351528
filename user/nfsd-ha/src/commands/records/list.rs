// SPDX-License-Identifier: GPL-2.0
//! `nfsd-ha records list`: who may reclaim after a restart.

use super::clients;
use super::report::Client;
use crate::output::{self, or_dash, time, Table};
use crate::Common;
use anyhow::Result;
use nfsd_ha::records::Reader;
use std::path::Path;

/// How much of a principal's SHA-256 is enough to tell it from others, in digits.
const PRINCIPAL: usize = 8;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  nfsd-ha records list\n  nfsd-ha --json records list | jq '.[].client'"
)]
pub struct Args {
    /// Also show those that did not reclaim in time, and are not removed yet
    #[arg(long)]
    all: bool,
}

impl Args {
    pub fn run(&self, file: &Path, common: &Common) -> Result<()> {
        let clients = clients(&Reader::open(file)?, |record| {
            self.all || record.may_reclaim
        })?;
        if common.json {
            return output::json(&clients);
        }
        output::print(&self.table(clients).to_string())
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
        let table = Args { all: true }.table(vec![known, unknown()]).to_string();
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
