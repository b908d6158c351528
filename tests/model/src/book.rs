// SPDX-License-Identifier: GPL-2.0

//! What callers and daemons have seen of each upcall, and what must be true of it.

use crate::nfs4::record::Client;
use crate::tracking::channel::{Channel, UNKNOWN};
use crate::tracking::cld::{self, About, Command};
use crate::tracking::pipe::Pipe;
use kernel::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

/// One call, by its client's name.
#[derive(Default)]
struct Call {
    command: u8,
    /// How often it was read to its end.
    reads: u32,
    /// What the daemon said in an answer that was taken.
    taken: Option<i16>,
    /// What its caller was told.
    result: Option<Result<()>>,
}

#[derive(Default)]
struct Pages {
    calls: BTreeMap<Vec<u8>, Call>,
    /// Those of all messages that were read.
    xids: BTreeSet<u32>,
    refused: u64,
    over: bool,
}

/// The book of a schedule.
#[derive(Default)]
pub(crate) struct Book(Mutex<Pages>);

/// A message that a daemon has read.
#[derive(Clone)]
pub(crate) struct Upcall {
    pub(crate) bytes: Vec<u8>,
    /// [`crate::tracking::pipe::File::epoch`] of its reader.
    epoch: u32,
}

impl Upcall {
    pub(crate) fn name(&self) -> &[u8] {
        let len = usize::from(u16::from_ne_bytes([self.bytes[8], self.bytes[9]]));
        &self.bytes[10..10 + len]
    }
}

impl Book {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap()
    }

    /// Makes an upcall for a client of this name, which no other call has.
    pub(crate) fn call(
        &self,
        pipe: &Pipe<Channel>,
        command: Command,
        name: &str,
        patience: u32,
    ) -> Result {
        let client = Client {
            name: name.as_bytes(),
            hash: &[],
        };
        let state = pipe.handler.state();
        let about = About {
            client: Some(client),
            ..About::default()
        };
        let message = cld::encode(state.version, command, &about)?;
        let (state, result) = Channel::call(pipe, state, command, message, patience);
        let result = result.map(|_| ());
        let in_flight = state.in_flight().0;
        assert!(in_flight <= crate::base::params::upcalls_in_flight());
        assert!(pipe.unread() <= in_flight, "one that was given up is there");
        let mut pages = self.pages();
        let call = pages.calls.entry(name.into()).or_default();
        assert!(call.result.replace(result).is_none());
        call.command = command as u8;
        result
    }

    /// A daemon has read a message to its end.
    pub(crate) fn read(&self, bytes: Vec<u8>, epoch: u32) -> Upcall {
        let upcall = Upcall { bytes, epoch };
        let xid = u32::from_ne_bytes(upcall.bytes[4..8].try_into().unwrap());
        let mut pages = self.pages();
        assert!(pages.xids.insert(xid), "a xid comes twice");
        let call = pages.calls.entry(upcall.name().to_vec()).or_default();
        call.reads += 1;
        upcall
    }

    /// Has its caller gone?
    pub(crate) fn has_returned(&self, upcall: &Upcall) -> bool {
        self.pages().calls[upcall.name()].result.is_some()
    }

    /// A daemon has written an answer to `upcall` into a file of `epoch`. `right` says whether it
    /// was one, `gone` whether its caller had gone before.
    pub(crate) fn wrote(
        &self,
        upcall: &Upcall,
        epoch: u32,
        status: i16,
        (right, gone): (bool, bool),
        result: Result,
    ) {
        let mut pages = self.pages();
        match result {
            Ok(()) => {
                assert!(right, "a wrong answer is taken");
                assert!(!gone, "an answer for who has gone is taken");
                assert_eq!(
                    epoch, upcall.epoch,
                    "an answer is taken that another's was given up for"
                );
                let call = pages.calls.get_mut(upcall.name()).expect("it was read");
                assert!(
                    call.taken.replace(status).is_none(),
                    "two answers are taken"
                );
            }
            // The pipe has gone.
            Err(EPIPE) => {}
            Err(_) => pages.refused += 1,
        }
    }

    /// No more calls are made.
    pub(crate) fn end(&self) {
        self.pages().over = true;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.pages().over
    }

    /// When all callers have returned, and all daemons have closed the pipe.
    pub(crate) fn check(&self, pipe: &Pipe<Channel>) {
        let pages = self.pages();
        let mut timed_out = 0;
        for (name, call) in &pages.calls {
            let result = call.result.expect("each call returns");
            match call.taken {
                Some(0) => assert_eq!(result, Ok(()), "{name:?}"),
                Some(status) => assert_eq!(result, Err(Error(status.into())), "{name:?}"),
                None => assert!(
                    matches!(result, Err(ETIMEDOUT | EPIPE | UNKNOWN)),
                    "{name:?} was not answered: {result:?}"
                ),
            }
            timed_out += u64::from(result == Err(ETIMEDOUT));
            if call.command == Command::GraceDone as u8 {
                assert!(call.reads <= 1, "a GraceDone that was read is sent again");
                assert!(call.reads == 0 || result != Err(ETIMEDOUT));
            }
            assert!(result != Err(UNKNOWN) || call.reads == 1);
        }
        let state = pipe.handler.state();
        assert_eq!(state.in_flight(), (0, 0));
        assert_eq!(state.stats.timed_out, timed_out);
        assert_eq!(state.stats.bad_downcalls, pages.refused);
        for (command, tally) in state.stats.tallies() {
            let calls = pages.calls.values().filter(|c| c.command == command as u8);
            let failed = |c: &&Call| c.result.is_some_and(|r| r.is_err());
            assert_eq!(tally.sent, calls.clone().count() as u64);
            assert_eq!(tally.failed, calls.filter(failed).count() as u64);
        }
        drop(state);
        assert_eq!(pipe.unread(), 0, "a message that nobody waits for");
    }
}
