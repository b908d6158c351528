// SPDX-License-Identifier: GPL-2.0
//! The line that shows how far it is.

use crate::run::Shared;
use std::io::{stderr, IsTerminal, Write};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Shows the progress on standard error: every second in place on a terminal, else a line every
/// five seconds.
pub struct Progress<'a> {
    shared: &'a Shared,
    clients: usize,
    quiet: bool,
    terminal: bool,
    began: Instant,
    last: (Instant, usize, u64),
    shown: bool,
}

impl<'a> Progress<'a> {
    /// Begins.
    pub fn new(shared: &'a Shared, clients: usize, quiet: bool) -> Self {
        let began = Instant::now();
        let terminal = stderr().is_terminal();
        Self {
            shared,
            clients,
            quiet,
            terminal,
            began,
            last: (began, 0, 0),
            shown: false,
        }
    }

    /// Shows it, if it is time.
    pub fn show(&mut self) {
        let now = Instant::now();
        let every = Duration::from_secs(if self.terminal { 1 } else { 5 });
        let (then, phase_then, done_then) = self.last;
        if self.quiet || now - then < every {
            return;
        }
        let shared = self.shared;
        let (number, done) = (shared.phase.load(Relaxed), shared.done.load(Relaxed));
        let Some(phase) = shared.phases.get(number) else {
            return;
        };
        let before = if number == phase_then {
            done_then.min(done)
        } else {
            0
        };
        let rate = (done - before) as f64 / (now - then).as_secs_f64();
        let total = match phase.time {
            Some(_) => String::new(),
            None => format!("/{}", self.clients),
        };
        let mut line = format!(
            "{:.0} s: {} {done}{total}, {rate:.0}/s, {} failed, {} made again",
            (now - self.began).as_secs_f64(),
            phase.name(),
            shared.failed.load(Relaxed),
            shared.retried.load(Relaxed),
        );
        let lost = shared.lost.load(Relaxed);
        if lost > 0 {
            line += &format!(", {lost} connections lost");
        }
        // If it cannot be shown, the summary still can.
        let _ = if self.terminal {
            write!(stderr(), "\r{line}\x1b[K")
        } else {
            writeln!(stderr(), "{line}")
        };
        self.last = (now, number, done);
        self.shown = true;
    }

    /// Takes away what is on the terminal.
    pub fn end(&mut self) {
        if self.terminal && self.shown {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}
