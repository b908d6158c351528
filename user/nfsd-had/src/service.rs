// SPDX-License-Identifier: GPL-2.0
//! The daemon's loop: waits for the kernel, serves what has come, and waits again.
//!
//! There is one thread. What comes while it waits for the disk is queued in the pipe and in `nlm_clients`, and is the next
//! batch.

use crate::beside::Beside;
use crate::connected::Connected;
use crate::nlm::Nlm;
use crate::pipe::{Pipe, Place};
use crate::serve::{serve, Answers, Patience};
use crate::trouble::Trouble;
use anyhow::{Context, Result};
use nfsd_ha::config::Config;
use nfsd_ha::files;
use nfsd_ha::records::{Error, Store};
use nfsd_ha::systemd;
use nix::sys::signalfd::SignalFd;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long after a failure it tries again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long the records may fail before a stock kernel is told so, which makes it lose a record.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many upcalls are stored together, at most.
const BATCH: usize = 1024;

impl Answers for Pipe {
    fn answer(&mut self, answer: &[u8]) -> io::Result<()> {
        self.write(answer)
    }
}

/// Serves the kernel until it is told to end.
pub fn run(config: &Config) -> Result<()> {
    let signals = systemd::end_signals().context("cannot wait for signals")?;
    let mut service = Service {
        place: Place::new(&config.kernel.pipefs),
        pipe: None,
        file: config.records.file.clone(),
        store: None,
        trouble: Trouble::default(),
        unwatched: false,
        watchdog: systemd::watchdog(),
        nlm: config.records.nlm.then(Nlm::new),
        connected: Connected::new(),
    };
    // A server that starts waits for us a second only, and whether the records can be had may take longer.
    service.open()?;
    service.work(&News::default());
    systemd::notify("READY=1").context("cannot tell the service manager that it is ready")?;
    service.run(&signals)
}

struct Service {
    place: Place,
    pipe: Option<Pipe>,
    file: PathBuf,
    store: Option<Store>,
    trouble: Trouble,
    /// It was said that rpc_pipefs cannot be watched.
    unwatched: bool,
    /// How often the service manager wants to hear of us.
    watchdog: Option<Duration>,
    /// If it is to record clients of NLM.
    nlm: Option<Nlm>,
    connected: Connected,
}

impl Service {
    fn run(&mut self, signals: &SignalFd) -> Result<()> {
        // Twice as often as it wants to.
        let watchdog = self.watchdog.map(|time| time / 2);
        let mut told: Option<Instant> = None;
        loop {
            self.open()?;
            let due = |told: Instant| watchdog.is_some_and(|time| told.elapsed() >= time);
            if watchdog.is_some() && told.is_none_or(due) {
                told = Some(Instant::now());
                // If it does not hear this, it will hear the next one, or do what it is for.
                let _ = systemd::notify("WATCHDOG=1");
            }
            let idle = self.store.as_ref().is_none_or(|store| !store.is_stale());
            let pause = match self.pipe {
                _ if !idle => Some(Duration::ZERO),
                Some(_) if self.place.is_watched() => None,
                _ => Some(AGAIN),
            };
            let nexts = self.nlm.as_ref().map(Nlm::next).into_iter();
            let next = nexts.chain([self.connected.next]).min();
            let next = next.map(|next| next.saturating_duration_since(Instant::now()));
            let wait = pause.into_iter().chain(watchdog).chain(next).min();
            let news = self.wait(signals, wait)?;
            if news.end {
                return Ok(());
            }
            self.work(&news);
            if !idle && !news.upcalls {
                self.purge();
            }
        }
    }

    /// Opens what is not open and can be: first the records, then the pipe, as nobody could be answered before.
    fn open(&mut self) -> Result<()> {
        if self.store.is_none() {
            match Store::open(&self.file) {
                Ok((store, new)) => {
                    let file = store.file().display();
                    if new {
                        tracing::warn!("{file} is new: nobody is on record");
                    } else {
                        tracing::info!("{file}: epoch {}", store.epoch());
                    }
                    self.store = Some(store);
                    self.trouble.over();
                }
                // What the machine lacks may come.
                Err(
                    e @ (Error::Sqlite { .. }
                    | Error::File { .. }
                    | Error::Place(
                        files::Error::Io { .. }
                        | files::Error::Missing { .. }
                        | files::Error::LeadsNowhere { .. },
                    )),
                ) => self.trouble.is(&e),
                Err(e) => return Err(e.into()),
            }
        }
        if self.store.is_none() {
            return Ok(());
        }
        self.watch();
        if self.pipe.is_none() {
            match self.place.open() {
                Ok(pipe) => self.pipe = pipe,
                Err(e) => {
                    let error = anyhow::Error::new(e).context("the pipe of rpc_pipefs");
                    self.trouble.is(error.as_ref());
                }
            }
        }
        Ok(())
    }

    /// Sees to it that we hear of it when the pipe comes or goes. Without a watch, it is looked for each second.
    fn watch(&mut self) {
        if self.place.is_watched() {
            return;
        }
        match self.place.watch() {
            Err(e) if !self.unwatched => {
                self.unwatched = true;
                tracing::warn!(
                    "rpc_pipefs cannot be watched, and is looked at each second: {e}; sysctl fs.inotify has the limits"
                );
            }
            _ => {}
        }
        // It may have gone when nobody watched it.
        let place = &self.place;
        self.pipe = self.pipe.take().filter(|pipe| place.has(pipe));
    }

    fn wait(&mut self, signals: &SignalFd, time: Option<Duration>) -> Result<News> {
        let (news, pipe) = (self.place.news(), self.pipe.as_ref());
        let nlm = self.nlm.as_ref().and_then(Nlm::news);
        let mut files = vec![PollFd::new(signals, PollFlags::IN)];
        files.extend(nlm.map(|nlm| PollFd::from_borrowed_fd(nlm, PollFlags::IN)));
        files.extend(news.map(|news| PollFd::new(news, PollFlags::IN)));
        files.extend(pipe.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        let time = time.map(|time| Timespec {
            tv_sec: time.as_secs() as i64,
            tv_nsec: time.subsec_nanos().into(),
        });
        match poll(&mut files, time.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e).context("cannot wait"),
        }
        let mut events = files.iter().map(PollFd::revents);
        let is = |events: PollFlags| !events.is_empty();
        let end = events.next().is_some_and(is);
        let nlm = nlm.and_then(|_| events.next()).is_some_and(is);
        let changed = news.and_then(|_| events.next()).is_some_and(is);
        let pipe = pipe.and_then(|_| events.next());
        let pipe = pipe.unwrap_or(PollFlags::empty());
        if changed {
            self.place.seen().context("cannot watch rpc_pipefs")?;
        }
        let gone = pipe.intersects(PollFlags::HUP | PollFlags::ERR);
        if gone || changed {
            // The server has stopped; another one may run already.
            let place = &self.place;
            self.pipe = self.pipe.take().filter(|pipe| !gone && place.has(pipe));
        }
        let upcalls = !gone && !changed && pipe.contains(PollFlags::IN);
        Ok(News { end, upcalls, nlm })
    }

    /// Stores and answers what has come.
    fn work(&mut self, news: &News) {
        let mut beside = Beside::default();
        if let Some(nlm) = &mut self.nlm {
            nlm.listen(news.nlm, self.store.as_ref());
            (beside.nlm, beside.gone) = nlm.take(self.store.as_ref());
        }
        self.connected.look();
        // What cannot be stored keeps nothing else from the disk.
        let alone = self.nlm.as_ref().is_some_and(Nlm::has_failed);
        if self.store.is_some() && !alone {
            beside.connections = self.connected.take();
        }
        let upcalls = if news.upcalls {
            self.upcalls()
        } else {
            Vec::new()
        };
        let with = if alone { &Beside::default() } else { &beside };
        let served = !upcalls.is_empty() && self.serve(&upcalls, with);
        let result = match &mut self.store {
            _ if beside.is_empty() || served && !alone => Ok(()),
            Some(store) => beside
                .store(store)
                .map_err(Box::<dyn std::error::Error>::from),
            None => Err("the records cannot be opened".into()),
        };
        let result = result.as_ref().copied().map_err(|e| e.as_ref());
        if let Some(seen) = beside.connections {
            self.connected.done(seen, result);
        }
        if let Some(nlm) = &mut self.nlm {
            nlm.done(beside.nlm.len(), result);
            nlm.settle(self.store.as_ref());
        }
    }

    /// The upcalls that have come.
    fn upcalls(&mut self) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        while let Some(pipe) = self.pipe.as_mut().filter(|_| messages.len() < BATCH) {
            match pipe.read() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(e) => {
                    // What was read is answered in vain, and wanted again.
                    tracing::debug!("the pipe: {e}");
                    self.pipe = None;
                    return Vec::new();
                }
            }
        }
        messages
    }

    /// Serves upcalls. Returns whether all that is to be stored is.
    fn serve(&mut self, messages: &[Vec<u8>], beside: &Beside) -> bool {
        let (Some(pipe), Some(store)) = (&mut self.pipe, &mut self.store) else {
            return false;
        };
        // The service manager waits, too.
        let time = self
            .watchdog
            .map_or(PATIENCE, |time| PATIENCE.min(time / 4));
        let mut patience = Patience {
            until: Instant::now() + time,
            trouble: &mut self.trouble,
        };
        let served = serve(store, messages, beside, pipe, &mut patience);
        match &served {
            // While there is something to remove, that may be what fails.
            Ok(()) if store.is_stale() => {}
            Ok(()) => self.trouble.over(),
            Err(e) => self.trouble.is(e),
        }
        served.is_ok()
    }

    /// Removes a part of what nobody asks for any more.
    fn purge(&mut self) {
        let Some(store) = &mut self.store else {
            return;
        };
        let mut purge = || {
            let mut batch = store.begin()?;
            batch.purge()?;
            batch.commit()
        };
        match purge() {
            Ok(()) => self.trouble.over(),
            Err(e) => {
                self.trouble.is(&e);
                std::thread::sleep(AGAIN);
            }
        }
    }
}

/// What has happened.
#[derive(Default)]
struct News {
    /// We were told to end.
    end: bool,
    /// There are upcalls.
    upcalls: bool,
    /// Clients of NLM have come, or gone.
    nlm: bool,
}
