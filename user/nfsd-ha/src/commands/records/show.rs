// SPDX-License-Identifier: GPL-2.0
//! `nfsd-ha records show`: all that is known of one client.

use super::report::Client;
use super::sorted;
use crate::failure::{Failure, Status};
use crate::output::{self, or_dash, time};
use crate::Common;
use anyhow::Result;
use nfsd_ha::owner::Owner;
use nfsd_ha::records::Reader;
use std::path::Path;

#[derive(clap::Args)]
#[command(after_help = "Example: nfsd-ha records show 'Linux\\040NFSv4.2\\040client@192.0.2.50'")]
pub struct Args {
    /// Its name, as list shows it
    #[arg(value_name = "NAME")]
    client: Owner,
}

impl Args {
    pub fn run(&self, file: &Path, common: &Common) -> Result<()> {
        let mut found = sorted(&Reader::open(file)?, |record| {
            record.client.owner == self.client
        })?;
        let Some(record) = found.pop() else {
            let text = format!(
                "{} is not on record: nfsd-ha records list --all says who is",
                self.client
            );
            return Err(Failure::new(Status::Failed, text));
        };
        let client = Client::from(record);
        if common.json {
            return output::json(&client);
        }
        output::print(&lines(&client))
    }
}

fn lines(one: &Client) -> String {
    let split = one.client.split();
    let may = match one.may_reclaim {
        true => "yes".to_owned(),
        false => format!(
            "no, as it was not back when the grace period after epoch {} ended",
            one.epoch
        ),
    };
    let mut text = String::new();
    for (name, value) in [
        ("client", one.client.to_string()),
        (
            "floating address",
            or_dash(split.map(|(_, address)| address)),
        ),
        ("address of the server", or_dash(one.address)),
        ("minor version", or_dash(one.minor)),
        ("principal", or_dash(one.principal.as_ref())),
        ("since", time::utc(one.since)),
        ("epoch", one.epoch.to_string()),
        ("may reclaim", may),
    ] {
        text += &format!("{name}: {value}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_the_kernel_has_told_is_shown() {
        let known = Client {
            client: "one@192.0.2.50".parse().unwrap(),
            address: "192.0.2.50".parse().ok(),
            minor: Some(2),
            principal: Some("07".repeat(32)),
            since: 0,
            epoch: 3,
            may_reclaim: true,
        };
        let text = lines(&known);
        for line in [
            "floating address: 192.0.2.50",
            "address of the server: 192.0.2.50",
            "minor version: 2",
        ] {
            assert!(text.lines().any(|one| one == line), "{text}");
        }
        let unknown = Client {
            address: None,
            minor: None,
            ..known
        };
        let text = lines(&unknown);
        for line in ["address of the server: -", "minor version: -"] {
            assert!(text.lines().any(|one| one == line), "{text}");
        }
    }
}
