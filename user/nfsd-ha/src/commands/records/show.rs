// SPDX-License-Identifier: GPL-2.0
//! `nfsd-ha records show`: all that is known of one client.

use super::report::Shown;
use super::{clients, holds, nlm};
use crate::failure::{Failure, Status};
use crate::output::{self, or_dash, time};
use crate::Common;
use anyhow::Result;
use nfsd_ha::owner::Owner;
use nfsd_ha::records::Reader;
use std::net::IpAddr;
use std::path::Path;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  nfsd-ha records show 'Linux\\040NFSv4.2\\040client@192.0.2.50'
  nfsd-ha records show --nlm 192.0.2.17")]
pub struct Args {
    /// Its name, as list shows it
    #[arg(value_name = "NAME", required_unless_present = "nlm")]
    client: Option<Owner>,
    /// The address of a client of NLM, whose name is none: what it has used, and its connections
    #[arg(long, value_name = "ADDRESS", conflicts_with = "client")]
    nlm: Option<IpAddr>,
}

impl Args {
    pub fn run(&self, file: &Path, common: &Common) -> Result<()> {
        let reader = Reader::open(file)?;
        if let Some(address) = self.nlm {
            let shown = nlm::client(&reader, address)?;
            if common.json {
                return output::json(&shown);
            }
            let connections = nlm::connections_table(&shown.connections);
            return output::print(&format!("{}{connections}", nlm::table(&shown.nlm)));
        }
        let Some(wanted) = &self.client else {
            return Err(Failure::new(Status::Usage, "of which client?"));
        };
        let mut found = clients(&reader, |record| record.client.owner == *wanted)?;
        let Some(client) = found.pop() else {
            let text = format!("{wanted} is not on record: nfsd-ha records list --all says who is");
            return Err(Failure::new(Status::Failed, text));
        };
        let holds = holds(&reader, |record| {
            record.counts && record.hold.owner.as_ref() == Some(&client.client)
        })?;
        let shown = Shown { client, holds };
        if common.json {
            return output::json(&shown);
        }
        output::print(&lines(&shown))
    }
}

fn lines(shown: &Shown) -> String {
    let one = &shown.client;
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
        ("holds something on", or_dash(one.exports.map(exports))),
    ] {
        text += &format!("{name}: {value}\n");
    }
    for hold in shown.holds.iter().flatten() {
        let file_system = or_dash(hold.file_system.as_ref());
        let (export, since) = (&hold.export, time::utc(hold.since));
        text += &format!("  {export}, file system {file_system}, since {since}\n");
    }
    text
}

fn exports(number: u64) -> String {
    match number {
        0 => "no export".to_owned(),
        1 => "1 export".to_owned(),
        many => format!("{many} exports"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::records::report::{Client, Hold};
    use nfsd_ha::records::ExportName;

    fn known() -> Client {
        Client {
            client: "one@192.0.2.50".parse().unwrap(),
            address: "192.0.2.50".parse().ok(),
            minor: Some(2),
            principal: Some("07".repeat(32)),
            since: 0,
            epoch: 3,
            may_reclaim: true,
            exports: Some(2),
        }
    }

    fn has(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(text.lines().any(|one| one == *line), "{line}: {text}");
        }
    }

    #[test]
    fn all_that_the_kernel_has_told_is_shown() {
        let text = lines(&Shown {
            client: known(),
            holds: None,
        });
        has(
            &text,
            &[
                "floating address: 192.0.2.50",
                "address of the server: 192.0.2.50",
                "minor version: 2",
            ],
        );
        let unknown = Client {
            address: None,
            minor: None,
            exports: None,
            ..known()
        };
        let text = lines(&Shown {
            client: unknown,
            holds: None,
        });
        has(
            &text,
            &[
                "address of the server: -",
                "minor version: -",
                "holds something on: -",
            ],
        );
    }

    #[test]
    fn each_export_that_it_holds_something_on_has_a_line() {
        let hold = |export: &str, file_system: Option<&str>| Hold {
            client: None,
            export: ExportName::new(export.as_bytes()).unwrap(),
            file_system: file_system.map(str::to_owned),
            since: 0,
            epoch: 3,
            counts: true,
        };
        let uuid = "0d7bb6e8-0c1e-4e6a-9d61-3f9a1f6c1b1d";
        let holds = vec![hold("1234", Some(uuid)), hold("dev:8:1", None)];
        let text = lines(&Shown {
            client: known(),
            holds: Some(holds),
        });
        has(
            &text,
            &[
                "holds something on: 2 exports",
                &format!("  1234, file system {uuid}, since 1970-01-01T00:00:00Z"),
                "  dev:8:1, file system -, since 1970-01-01T00:00:00Z",
            ],
        );
    }
}
