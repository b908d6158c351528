// SPDX-License-Identifier: GPL-2.0

//! A daemon, with habits that a test of a channel wants to see.

use crate::book::{Book, Upcall};
use crate::explore::{below, one_in};
use crate::nfs4::nfsd::NfsdNet;
use crate::tracking::channel::Channel;
use crate::tracking::pipe::File;
use shuttle::thread;
use std::sync::Arc;

/// What a daemon does.
#[derive(Clone, Copy, Default)]
pub(crate) struct Habits {
    /// How often it dies, and another comes in its place.
    pub(crate) deaths: u32,
    /// How many wrong answers it sends beside the right ones.
    pub(crate) wrong: u32,
    /// How many upcalls it does not answer.
    pub(crate) silent: u32,
}

/// A daemon that runs until `book` ends, or the pipe goes.
pub(crate) fn spawn(nn: &Arc<NfsdNet>, book: &Arc<Book>, habits: Habits) -> thread::JoinHandle<()> {
    let mut daemon = Daemon {
        nn: nn.clone(),
        book: book.clone(),
        habits,
        held: Vec::new(),
    };
    thread::spawn(move || while daemon.live() {})
}

struct Daemon {
    nn: Arc<NfsdNet>,
    book: Arc<Book>,
    habits: Habits,
    /// What it has read and not answered: who comes in its place does that.
    held: Vec<Upcall>,
}

impl Daemon {
    /// Opens the pipe, and reads and answers until it dies. Returns whether another comes.
    fn live(&mut self) -> bool {
        let Some(Ok(mut file)) = self.nn.cld().map(File::open) else {
            return false;
        };
        let mut bytes = Vec::new();
        loop {
            if take(&mut self.habits.deaths, 4) {
                file.close();
                return true;
            }
            if self.held.is_empty() && !file.poll(|| self.book.is_over()) {
                file.close();
                return false;
            }
            if self.held.is_empty() || one_in(2) {
                // In one go, or byte by byte at its beginning.
                let most = if one_in(4) { 16 } else { usize::MAX };
                if let Ok(Some(true)) = file.read(most, &mut bytes) {
                    let bytes = std::mem::take(&mut bytes);
                    let upcall = self.book.read(bytes, file.epoch);
                    if !take(&mut self.habits.silent, 3) {
                        self.held.push(upcall);
                    }
                }
            } else {
                self.answer(&file);
            }
        }
    }

    /// Answers one of those that it has read.
    fn answer(&mut self, file: &File<Channel>) {
        let at = below(self.held.len());
        let upcall = self.held[at].clone();
        let mut answer = upcall.bytes.clone();
        let right = !take(&mut self.habits.wrong, 2);
        let status = if one_in(4) { -28i16 } else { 0 };
        answer[2..4].copy_from_slice(&status.to_ne_bytes());
        if right {
            self.held.swap_remove(at);
        } else {
            match below(3) {
                // Another's command, length, xid.
                0 => answer[1] ^= 1,
                1 => drop(answer.pop()),
                _ => answer[7] ^= 0x80,
            }
        }
        let gone = self.book.has_returned(&upcall);
        let result = file.write(&answer);
        self.book
            .wrote(&upcall, file.epoch, status, (right, gone), result);
    }
}

/// Takes one of `left`, if there are any, once in `n` times.
fn take(left: &mut u32, n: u32) -> bool {
    let taken = *left > 0 && one_in(n);
    *left -= u32::from(taken);
    taken
}
