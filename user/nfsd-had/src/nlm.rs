// SPDX-License-Identifier: GPL-2.0
//! Clients of NLM: the daemon is a recorder of `nlm_clients`, as `nfsd-ha record` is.
//!
//! The module may come and go, and another recorder may be there: it is looked for both now and then.

mod talk;

use crate::beside::PART;
use crate::trouble::Trouble;
use anyhow::{bail, Result};
use nfsd_ha::config;
use nfsd_ha::control::{self, Control, NlmClient, NlmClients, Recorder, Refusal};
use nfsd_ha::files::Directory;
use nfsd_ha::records::{NlmId, Store};
use nfsd_ha::scope::Fsid;
use nfsd_ha::statd::Report;
use std::collections::BTreeSet;
use std::error::Error;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};
use talk::{Kernel, Talk};

/// How often it is looked for the module, and whether it is still there: what has it open keeps it loaded.
const LOOK: Duration = Duration::from_secs(5);
/// How soon it is looked for after a failure.
const AGAIN: Duration = Duration::from_secs(1);
/// How often it is looked for clients that lockd has forgotten.
const ALL: Duration = Duration::from_secs(60 * 60);

/// The recorder, if there is something to record.
pub struct Nlm {
    open: Option<Open>,
    /// When to look next.
    next: Instant,
    trouble: Trouble,
}

/// As long as this is there, a client's first lock on an export waits until it is on record.
struct Open {
    talk: Talk<Module>,
    /// When to look for clients that are gone.
    all: Instant,
    /// What others were told last, and whether that may have changed.
    told: Report,
    stored: bool,
    run: Directory,
    _only: File,
}

impl Drop for Open {
    fn drop(&mut self) {
        // Without a recorder that runs, nobody reads it.
        let _ = Report::remove(&self.run);
    }
}

/// The module.
struct Module {
    control: Control,
    recorder: Recorder,
}

impl Kernel for Module {
    fn all(&mut self) -> Result<NlmClients, control::Error> {
        self.control.nlm_clients()
    }

    fn stored(
        &mut self,
        change: u64,
        except: &BTreeSet<Fsid>,
    ) -> Result<NlmClients, control::Error> {
        self.recorder.stored(change, except)
    }
}

impl Nlm {
    /// It is looked for at once.
    pub fn new() -> Self {
        Self {
            open: None,
            next: Instant::now(),
            trouble: Trouble::with("clients of NLM: ", "new ones may get no locks"),
        }
    }

    /// For poll(), if it is wanted: it is readable when somebody has come or gone.
    pub fn news(&self) -> Option<BorrowedFd<'_>> {
        let listening = self.open.as_ref().filter(|open| open.talk.is_listening());
        listening.map(|open| open.talk.kernel().recorder.as_fd())
    }

    /// When there is something to do without news.
    pub fn next(&self) -> Instant {
        let talk = self.open.as_ref().and_then(|open| open.talk.next());
        talk.map_or(self.next, |next| next.min(self.next))
    }

    /// Hears of who has come, if there are news; and now and then looks whether the module is there. Without records
    /// that are open, nobody is on them.
    pub fn listen(&mut self, news: bool, store: Option<&Store>) {
        let look = Instant::now() >= self.next;
        if look {
            self.next = Instant::now() + LOOK;
        }
        match &mut self.open {
            Some(open) => {
                let asked = match news || look {
                    true => open.talk.ask(store),
                    false => Ok(()),
                };
                if look {
                    open.tell(store);
                }
                self.went(asked);
            }
            None if look => match Open::new(store) {
                Ok(open) => self.open = open,
                Err(e) => self.trouble.is(e.as_ref()),
            },
            None => {}
        }
    }

    /// Who is to be stored now, and after a while, who is gone.
    pub fn take(&mut self, store: Option<&Store>) -> (Vec<NlmClient>, Option<Vec<NlmId>>) {
        let Some(open) = &mut self.open else {
            return (Vec::new(), None);
        };
        let gone = match store {
            Some(store) => open.gone(store),
            None => Ok(None),
        };
        let taken = gone.and_then(|gone| Ok((open.talk.part(store)?.to_vec(), gone)));
        match taken {
            Ok(taken) => taken,
            Err(e) => {
                self.went(Err(e));
                (Vec::new(), None)
            }
        }
    }

    /// So many of those who were taken first are stored, or why they are not.
    pub fn done(&mut self, number: usize, result: Result<(), &(dyn Error + 'static)>) {
        let Some(open) = &mut self.open else {
            return;
        };
        open.stored |= number > 0;
        match result {
            Ok(()) => open.talk.stored(number),
            Err(e) if number > 0 => {
                open.talk.failed(&e.to_string());
                self.trouble.is(e);
            }
            Err(_) => {}
        }
    }

    /// Says to the kernel what is stored, if that has not been said.
    pub fn settle(&mut self, store: Option<&Store>) {
        let Some(open) = &mut self.open else {
            return;
        };
        let settled = open.talk.settle(store);
        if open.told.pid == 0 || open.talk.unstored() != open.told.unstored {
            open.tell(store);
        }
        if settled.is_ok() && !open.talk.has_failed() {
            self.trouble.over();
        }
        self.went(settled);
    }

    /// Could somebody not be stored? Then what others want is not stored together with these.
    pub fn has_failed(&self) -> bool {
        let open = self.open.as_ref();
        open.is_some_and(|open| open.talk.has_failed())
    }

    /// If the talk is over, so is all of it: nobody waits for us then. It may begin anew.
    fn went(&mut self, result: Result<(), control::Error>) {
        let Err(error) = result else {
            return;
        };
        self.open = None;
        match error {
            control::Error::Absent { .. } => {}
            error if error.refusal() == Some(&Refusal::SwitchedOff) => {}
            error => {
                self.next = Instant::now() + AGAIN;
                self.trouble.is(&error);
            }
        }
    }
}

impl Open {
    /// Begins to record, if the module is there.
    fn new(store: Option<&Store>) -> Result<Option<Self>> {
        let control = match Control::open() {
            Err(control::Error::Absent { .. }) => return Ok(None),
            control => control?,
        };
        let run = Report::directory()?;
        let Some(only) = Report::only_one(&run)? else {
            bail!(
                "another recorder is running, as nfsd-ha record: end that one, or say nlm = false in [records] of {}",
                config::FILE
            );
        };
        let recorder = Recorder::open(&control)?;
        Ok(Some(Self {
            talk: Talk::begin(Module { control, recorder }, store)?,
            all: Instant::now() + ALL,
            told: Report::default(),
            stored: true,
            run,
            _only: only,
        }))
    }

    /// Those on record that lockd has forgotten, [`PART`] at most, if it is time to look and there is nothing else to do.
    fn gone(&mut self, store: &Store) -> Result<Option<Vec<NlmId>>, control::Error> {
        let idle = self.talk.is_listening() && !self.talk.has_failed();
        if !idle || Instant::now() < self.all {
            return Ok(None);
        }
        let there = self.talk.look(Some(store))?;
        // If the records cannot be read, somebody else says so.
        let gone = store.nlm_gone(&there, PART).ok();
        let is_part = gone.as_ref().is_some_and(|gone| gone.len() == PART);
        self.all = Instant::now() + if is_part { AGAIN } else { ALL };
        self.stored = true;
        Ok(gone)
    }

    /// Tells `nfsd-ha status` who is not stored, and how many are, if that has changed.
    fn tell(&mut self, store: Option<&Store>) {
        let counted = store.filter(|_| self.stored).map(Store::nlm_len);
        let counted = counted.and_then(Result::ok);
        self.stored &= counted.is_none();
        let report = Report {
            pid: std::process::id(),
            recorded: counted.unwrap_or(self.told.recorded),
            unstored: self.talk.unstored(),
        };
        if report == self.told {
            return;
        }
        if let Err(e) = report.write(&self.run) {
            tracing::warn!("nfsd-ha status does not know who of NLM is recorded: {e}");
        }
        self.told = report;
    }
}
