// SPDX-License-Identifier: GPL-2.0
//! `nfsd-ha notify`: tell NLM clients that their server has moved or restarted.

use crate::failure::{Failure, Status};
use crate::output;
use crate::Common;
use anyhow::{Context, Result};
use indicatif::ProgressBar;
use nfsd_ha::files::Directory;
use nfsd_ha::nsm::{self, Event, Told};
use nfsd_ha::scope::Fsid;
use nfsd_ha::statd::{self, List};
use serde_json::json;
use std::collections::HashMap;
use std::net::IpAddr;
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
  nfsd-ha notify --name 192.0.2.50=nfs-ha.example 1234
                                   clients that do not run Linux may want the name that they mount from")]
pub struct Args {
    /// An export (an fsid number, a UUID or dev:MAJOR:MINOR), or the directory of a list, with a slash.
    #[arg(required = true, value_name = "SCOPE|DIRECTORY")]
    lists: Vec<String>,
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
        let lists = self
            .lists
            .iter()
            .map(|list| open(list))
            .collect::<Result<Vec<_>>>()?;
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
}

/// Opens the list of an export, or that in a directory. Nothing is made where there is none.
fn open(name: &str) -> Result<List> {
    let directory = if name.contains('/') {
        Directory::open(name)?
    } else {
        let scope: Fsid = name
            .parse()
            .map_err(|e| Failure::new(Status::Usage, format!("{e}")))?;
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
