// SPDX-License-Identifier: GPL-2.0
//! `nfsd-ha notify`: tell NLM clients that their server has moved or restarted.

use crate::failure::{Failure, Status};
use crate::output;
use crate::Common;
use anyhow::{Context, Result};
use indicatif::ProgressBar;
use nfsd_ha::database::Database;
use nfsd_ha::files::Directory;
use nfsd_ha::nsm::{self, Event, Told};
use nfsd_ha::scope::Fsid;
use nfsd_ha::statd::{self, List, Record};
use serde_json::json;
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Tell the clients on the lists of some exports to reclaim their NLM locks here.
///
/// Each client is told from and about the server address that it used, which must be on this node: clients of
/// an address that is not wait until it is. So this may begin before the address is added. The grace periods of
/// all exports should have begun by then, as clients reclaim what they have on any of them.
///
/// Who has confirmed it is taken off the list; who has not stays there, for a repeat or for sm-notify -P.
/// The exit status is 1 if somebody was not told.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  nfsd-ha notify 1234              the clients on the list of the export with fsid=1234
  nfsd-ha notify 1234 5678         exports that have come here together
  nfsd-ha notify /srv/ha/nsm       a list in another directory
  nfsd-ha notify --database /srv/a/nfsd-had --address 192.0.2.50 1234
                                   also those on record of a server that has crashed
  nfsd-ha notify --name 192.0.2.50=nfs-ha.example 1234
                                   clients that do not run Linux may want the name that they mount from")]
pub struct Args {
    /// An export (an fsid number, a UUID or dev:MAJOR:MINOR), or the directory of a list, with a slash.
    #[arg(required = true, value_name = "SCOPE|DIRECTORY")]
    lists: Vec<String>,
    /// Also those who have used these exports by the database of an nfsd-had: of a server that has crashed, or of this one
    /// before it has booted. It is the file, or the directory that it is in, and is only read; they are put on the lists.
    #[arg(long, value_name = "DIR|FILE")]
    database: Option<PathBuf>,
    /// Of the database, only those who have used one of these addresses of the server.
    #[arg(long = "address", value_name = "ADDRESS", requires = "database")]
    addresses: Vec<IpAddr>,
    /// Give up after so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86400))]
    limit: u32,
    /// Tell the clients of a server address about a name instead.
    #[arg(long = "name", value_name = "ADDRESS=NAME", value_parser = name)]
    names: Vec<(IpAddr, String)>,
}

/// Reads ADDRESS=NAME.
fn name(text: &str) -> Result<(IpAddr, String), String> {
    let (address, name) = text.split_once('=').ok_or("that is not ADDRESS=NAME")?;
    if name.is_empty()
        || name.len() > nsm::MAX_NAME
        || !name.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Err(format!("'{name}' is no host name"));
    }
    let address = address
        .parse::<IpAddr>()
        .map_err(|e| format!("'{address}': {e}"))?;
    Ok((address.to_canonical(), name.into()))
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let began = Instant::now();
        let lists = match &self.database {
            Some(database) => self.recorded(database, &Directory::make(statd::directory())?)?,
            None => {
                let lists = self.lists.iter().map(|list| open(list));
                lists.collect::<Result<Vec<_>>>()?
            }
        };
        let names = self.names.iter().cloned().collect::<HashMap<_, _>>();
        let deadline = began + Duration::from_secs(self.limit.into());
        let progress = if common.json {
            ProgressBar::hidden()
        } else {
            ProgressBar::no_length()
        };
        let node = Directory::make(statd::directory())?;
        let told = nsm::tell(&node, &lists, &names, deadline, &mut |event| {
            show(&event, &progress)
        });
        progress.finish_and_clear();
        let told = told.map_err(|error| match error {
            nsm::Error::Busy(_) => Failure::new(Status::Busy, error.to_string()),
            nsm::Error::File(error) => error.into(),
        })?;
        if common.json {
            output::json(&report(&told, began.elapsed()))?;
        } else {
            output::print(&text(&told, began.elapsed()))?;
        }
        match what_is_left(&told) {
            None => Ok(()),
            Some(_) if common.json => Err(Failure::said(Status::Failed)),
            Some(left) => Err(Failure::new(Status::Failed, left)),
        }
    }

    /// Opens the lists, and puts those on them who are on record.
    fn recorded(&self, database: &Path, node: &Directory) -> Result<Vec<List>> {
        let nlm = Database::of_crashed(database)?.nlm()?;
        let addresses: Vec<_> = self.addresses.iter().map(IpAddr::to_canonical).collect();
        let is_wanted = |server| addresses.is_empty() || addresses.contains(&server);
        let mut lists = Vec::new();
        for name in &self.lists {
            let scope = export(name)?;
            let of_scope = nlm
                .iter()
                .filter(|one| one.fsid == scope && is_wanted(one.peer.server));
            let records = of_scope.map(|one| Record {
                client: one.peer.client,
                server: one.peer.server,
            });
            let list = List::open(node.make_child(&scope.to_string())?)?;
            list.add(&Vec::from_iter(records))?;
            lists.push(list);
        }
        Ok(lists)
    }
}

/// The export that a scope is.
fn export(name: &str) -> Result<Fsid> {
    let scope = name.parse();
    scope.map_err(|e| Failure::new(Status::Usage, format!("{e}")))
}

/// Opens the list of an export, or that in a directory. Nothing is made where there is none.
fn open(name: &str) -> Result<List> {
    let directory = if name.contains('/') {
        Directory::open(name)?
    } else {
        let scope = export(name)?;
        Directory::open(statd::directory()).and_then(|all| all.child(&scope.to_string())).with_context(|| {
            format!("nobody has recorded the clients of {scope} on this node, or moved their list to here")
        })?
    };
    directory
        .child("sm")
        .context("that is no list of clients")?;
    Ok(List::open(directory)?)
}

/// Shows what happens: a bar on a terminal, and what makes one wait.
fn show(event: &Event, progress: &ProgressBar) {
    match event {
        Event::Begin(clients) => progress.set_length(*clients as u64),
        Event::Confirmed(_) => progress.inc(1),
        Event::Absent(address) => {
            progress.suspend(|| {
                output::note(&format!(
                    "{address} is not on this node: its clients are told when it is"
                ))
            });
        }
        Event::Here(address) => progress.suspend(|| output::note(&format!("{address} is here"))),
    }
}

fn text(told: &Told, time: Duration) -> String {
    let (confirmed, failed) = (&told.report.confirmed, &told.report.failed);
    if confirmed.is_empty() && failed.is_empty() {
        return "nobody is on the list\n".into();
    }
    let all = confirmed.len() + failed.len();
    let mut text = format!(
        "{} of {all} told in {:.1} s (state {})\n",
        confirmed.len(),
        time.as_secs_f32(),
        told.state
    );
    for (notice, why) in failed {
        text += &format!(
            "not told: {} about {}: {why}\n",
            notice.client, notice.about
        );
    }
    text
}

fn report(told: &Told, time: Duration) -> serde_json::Value {
    let confirmed = told.report.confirmed.iter().map(|confirmed| {
        json!({
            "client": confirmed.notice.client,
            "server": confirmed.notice.server,
            "about": confirmed.notice.about,
            "seconds": confirmed.after.as_secs_f64(),
            "transport": confirmed.transport,
        })
    });
    let failed = told.report.failed.iter().map(|(notice, why)| {
        json!({
            "client": notice.client,
            "server": notice.server,
            "about": notice.about,
            "why": why.to_string(),
        })
    });
    json!({
        "state": told.state,
        "seconds": time.as_secs_f64(),
        "told": confirmed.collect::<Vec<_>>(),
        "not_told": failed.collect::<Vec<_>>(),
        "error": what_is_left(told),
    })
}

/// What is not done, and what to do about it.
fn what_is_left(told: &Told) -> Option<String> {
    if let Some(error) = told.unwritten.first() {
        let errors = told.unwritten.len();
        return Some(format!(
            "clients that were told are still on the list ({errors} errors): {error}"
        ));
    }
    let failed = told.report.failed.len();
    (failed > 0).then(|| {
        format!("{failed} clients were not told, and stay on the list: repeat this while there is a grace period")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Command;
    use clap::Parser;
    use nfsd_ha::control::NlmClients;
    use nfsd_ha::records::Store;

    #[test]
    fn those_on_record_are_put_on_the_lists_of_their_exports() {
        let place = tempfile::tempdir().unwrap();
        let node = Directory::open(place.path()).unwrap();
        let file = place.path().join("records.sqlite");
        let mut store = Store::open(&file).unwrap().0;
        let mut batch = store.begin().unwrap();
        let lines = "sequence 3\n1234 192.0.2.50 192.0.2.17 4 - - - a -\n1234 192.0.2.50 192.0.2.17 1 - - - a -\n\
            1234 192.0.2.2 192.0.2.18 4 - - - b -\n5678 192.0.2.50 192.0.2.19 4 - - - c -\n";
        for one in NlmClients::parse(lines).unwrap().clients {
            batch.store_nlm(&one).unwrap();
        }
        batch.commit().unwrap();
        drop(store);
        let told = |words: &[&str]| -> Result<Vec<Vec<String>>> {
            let words = ["nfsd-ha", "notify", "--database", file.to_str().unwrap()]
                .into_iter()
                .chain(words.iter().copied());
            let Command::Notify(args) = crate::Cli::parse_from(words).command else {
                panic!("it is notify");
            };
            let lists = args.recorded(args.database.as_deref().unwrap(), &node)?;
            let clients = |list: &List| {
                let told = list.being_told().unwrap().into_iter();
                let mut clients: Vec<_> = told.map(|record| record.client.to_string()).collect();
                clients.sort();
                clients
            };
            Ok(lists.iter().map(clients).collect())
        };
        let first = told(&["--address", "192.0.2.50", "1234"]).unwrap();
        assert_eq!(first, [["192.0.2.17"]]);
        let both = told(&["1234", "9"]).unwrap();
        assert_eq!(both, [vec!["192.0.2.17", "192.0.2.18"], vec![]]);
        assert!(told(&["./1234"]).is_err());
    }

    #[test]
    fn names_of_addresses() {
        assert_eq!(
            name("192.0.2.50=nfs-ha"),
            Ok(("192.0.2.50".parse().unwrap(), "nfs-ha".into()))
        );
        assert_eq!(
            name("::ffff:192.0.2.50=a").unwrap().0.to_string(),
            "192.0.2.50"
        );
        let long = format!("192.0.2.50={}", "x".repeat(nsm::MAX_NAME + 1));
        for wrong in [
            "192.0.2.50",
            "192.0.2.50=",
            "nfs-ha=192.0.2.50",
            "192.0.2.50=a b",
            "=",
            &long,
        ] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }
}
