// SPDX-License-Identifier: GPL-2.0
//! `nfsd-ha record`: record the NLM clients of each export, until SIGTERM.

use crate::failure::{Failure, Status};
use crate::output;
use crate::Common;
use anyhow::{Context, Result};
use nfsd_ha::config;
use nfsd_ha::control::{Control, NlmClients, Recorder};
use nfsd_ha::files::Directory;
use nfsd_ha::scope::Fsid;
use nfsd_ha::statd::{self, Record, Report, Store, Waiting};
use nfsd_ha::systemd;
use nix::sys::signalfd::SignalFd;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

/// How long after a failure it tries again.
const AGAIN: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};
/// How often it looks for lists that somebody else has changed, as with `nfsd-ha notify`.
const LOOK: Timespec = Timespec {
    tv_sec: 5,
    tv_nsec: 0,
};

#[derive(clap::Args)]
#[command(after_help = "Example: nfsd-ha record")]
pub struct Args {
    /// Where the lists are: a directory for each export, or a link to it [default: NFSD_HA_DIR, or
    /// /var/lib/nfsd-ha]
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
}

impl Args {
    pub fn run(&self, _common: &Common) -> Result<()> {
        // Before anything is begun: who says SIGTERM early means it, too.
        let signals = systemd::end_signals().context("cannot wait for signals")?;
        let run = Report::directory()?;
        let Some(_only) = Report::only_one(&run)? else {
            let message = format!(
                "another recorder is running, an nfsd-had or an nfsd-ha record: there is nothing to do. If it is nfsd-had and \
                 should not be, say nlm = false in [records] of {}, and start that again",
                config::FILE
            );
            return Err(Failure::new(Status::Busy, message));
        };
        let directory = self.directory.clone().unwrap_or_else(statd::directory);
        let mut service = Service {
            control: Control::open()?,
            store: Store::new(directory),
            unstored: BTreeMap::new(),
            said: Report::default(),
        };
        let result = service.run(&signals, &run);
        Report::remove(&run)?;
        result
    }
}

struct Service {
    control: Control,
    store: Store,
    /// Who is not on the disk: since when, and why.
    unstored: BTreeMap<(Fsid, Record), Waiting>,
    /// What others were told last.
    said: Report,
}

impl Service {
    fn run(&mut self, signals: &SignalFd, run: &Directory) -> Result<()> {
        let mut recorder = Recorder::open(&self.control)?;
        let mut came = self.control.nlm_clients()?;
        let mut ready = false;
        loop {
            self.record(&came);
            let stored = came.sequence;
            let except: BTreeSet<_> = self.unstored.keys().map(|(scope, _)| *scope).collect();
            came = recorder.stored(stored, &except)?;
            if !ready {
                ready = true;
                systemd::notify("READY=1")
                    .context("cannot tell the service manager that it is ready")?;
            }
            let news = came.sequence != stored;
            came = match self.wait(news, &recorder, signals, run)? {
                News::End => return Ok(()),
                News::Came if news => came,
                News::Came => recorder.stored(stored, &except)?,
                News::All => self.all()?,
            };
        }
    }

    /// Stores who has come, and notes who could not be.
    fn record(&mut self, came: &NlmClients) {
        let now = UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        let mut before = BTreeMap::new();
        for client in &came.clients {
            let key = (client.fsid, Record::of(client));
            before.extend(self.unstored.remove(&key).map(|waiting| (key, waiting)));
        }
        for failed in self.store.record(&came.clients) {
            let key = (failed.scope, failed.record);
            let since = before.get(&key).map_or(now, |waiting| waiting.since);
            self.unstored.insert(key, Waiting::new(failed, since));
        }
    }

    /// All who are there now; of those who were to be stored, some may have gone.
    fn all(&mut self) -> Result<NlmClients> {
        let all = self.control.nlm_clients()?;
        let there: HashSet<_> = all
            .clients
            .iter()
            .map(|client| (client.fsid, Record::of(client)))
            .collect();
        self.unstored.retain(|key, _| there.contains(key));
        Ok(all)
    }

    /// Waits until somebody comes, unless there are news, or something is to be tried again.
    fn wait(
        &mut self,
        news: bool,
        recorder: &Recorder,
        signals: &SignalFd,
        run: &Directory,
    ) -> Result<News> {
        if !news {
            self.report(run)?;
        }
        loop {
            let timeout = match () {
                () if news => Timespec::default(),
                () if self.unstored.is_empty() => LOOK,
                () => AGAIN,
            };
            let mut files = [
                PollFd::new(signals, PollFlags::IN),
                PollFd::new(recorder, PollFlags::IN),
            ];
            poll(&mut files, Some(&timeout))?;
            let [signal, came] = files.map(|file| !file.revents().is_empty());
            if signal {
                return Ok(News::End);
            } else if news || came {
                return Ok(News::Came);
            } else if !self.unstored.is_empty() || self.store.is_stale() {
                return Ok(News::All);
            }
        }
    }

    /// Tells others who is not stored, if that has changed.
    fn report(&mut self, run: &Directory) -> Result<()> {
        let report = Report {
            pid: std::process::id(),
            recorded: self.store.len(),
            unstored: self.unstored.values().cloned().collect(),
        };
        if report == self.said {
            return Ok(());
        }
        for waiting in &report.unstored {
            let Waiting {
                scope,
                client,
                server,
                error,
                ..
            } = waiting;
            let told = self
                .said
                .unstored
                .iter()
                .any(|said| said.scope == *scope && said.error == *error);
            if !told {
                output::note(&format!("nfsd-ha: {scope}: no record of {client} at {server}, and no new locks for it: {error}"));
            }
        }
        report.write(run)?;
        self.said = report;
        Ok(())
    }
}

/// What has happened.
enum News {
    /// Somebody came, or went.
    Came,
    /// All are to be looked at again.
    All,
    /// We were told to end.
    End,
}
