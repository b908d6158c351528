// SPDX-License-Identifier: GPL-2.0
//! The daemon's work: reads upcalls from the pipe, one at a time, and answers them.

use crate::codec::{Command, Message, NAME_MAX};
use crate::options::Options;
use crate::stats::Stats;
use anyhow::{bail, Context, Result};
use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Why serving ended.
enum End {
    /// The pipe is gone: the server has stopped.
    PipeGone,
    /// As `--die-on` wants.
    Died,
}

/// The lines of a text that are not empty.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| *b == b'\n').filter(|line| !line.is_empty())
}

/// The daemon.
pub struct Daemon<'a> {
    options: &'a Options,
    stats: &'a Stats,
    names: Vec<u8>,
    log: Option<File>,
    message: Message,
}

impl<'a> Daemon<'a> {
    /// A daemon that has opened all its files but the pipe.
    pub fn new(options: &'a Options, stats: &'a Stats) -> Result<Self> {
        let names = match &options.record_names {
            Some(path) => {
                fs::read(path).with_context(|| format!("cannot read {}", path.display()))?
            }
            None => Vec::new(),
        };
        if lines(&names).any(|name| name.len() > NAME_MAX) {
            bail!("a name on record is too long");
        }
        let log = match &options.log {
            Some(path) => Some(
                File::create(path).with_context(|| format!("cannot write {}", path.display()))?,
            ),
            None => None,
        };
        Ok(Self {
            options,
            stats,
            names,
            log,
            message: Message::new(),
        })
    }

    /// Serves one pipe after the other, until `--die-on` ends it.
    pub fn run(&mut self) -> Result<()> {
        loop {
            let pipe = self.open()?;
            if let End::Died = self.serve(&pipe)? {
                return Ok(());
            }
        }
    }

    /// Opens the pipe, once it is there.
    fn open(&self) -> Result<File> {
        let path = &self.options.pipe;
        loop {
            match OpenOptions::new().read(true).write(true).open(path) {
                Ok(file) => {
                    self.stats.opened.one();
                    return Ok(file);
                }
                // ENXIO: it is about to go.
                Err(e)
                    if e.kind() == ErrorKind::NotFound
                        || e.raw_os_error() == Some(Errno::ENXIO as i32) =>
                {
                    sleep(Duration::from_millis(1));
                }
                Err(e) => return Err(e).context(format!("cannot open {}", path.display())),
            }
        }
    }

    fn serve(&mut self, pipe: &File) -> Result<End> {
        loop {
            match self.read(pipe) {
                Ok(true) => {}
                // Nothing is there. While there is, nobody waits.
                Ok(false) => {
                    let mut fds = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
                    match poll(&mut fds, PollTimeout::NONE) {
                        Ok(_) | Err(Errno::EINTR) => continue,
                        Err(e) => return Err(e).context("poll"),
                    }
                }
                Err(e) if e.raw_os_error() == Some(Errno::EPIPE as i32) => {
                    return Ok(End::PipeGone)
                }
                Err(e) => return Err(e).context("cannot read from the pipe"),
            }
            let Some(command) = self.message.command() else {
                bail!("an upcall of an unknown command came");
            };
            let count = self.stats.upcall(command);
            if self.options.die_on == Some((command, count)) {
                return Ok(End::Died);
            }
            if !self.options.mute.contains(&command) {
                self.answer(pipe, command)?;
            }
        }
    }

    /// Reads one upcall; false if none is there.
    fn read(&mut self, mut pipe: &File) -> io::Result<bool> {
        let room = self.message.room();
        let mut have = pipe.read(room)?;
        if have == 0 {
            return Ok(false);
        }
        // The kernel hands a message out in one piece, but need not.
        while have < self.message.len().ok_or(ErrorKind::InvalidData)? {
            have += match pipe.read(&mut self.message.room()[have..])? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                more => more,
            };
        }
        Ok(true)
    }

    fn answer(&mut self, pipe: &File, command: Command) -> Result<()> {
        if self.options.delay > 0 {
            sleep(Duration::from_micros(self.options.delay));
        }
        match command {
            Command::GetVersion => self.message.set_version(self.options.version),
            Command::GraceStart => {
                let began = Instant::now();
                self.records(pipe);
                self.message.set_status(self.options.status(command));
                self.write(pipe);
                self.stats.grace_start_took(began.elapsed());
                return self.note(command);
            }
            _ => {}
        }
        self.message.set_status(self.options.status(command));
        self.write(pipe);
        self.note(command)
    }

    /// Sends all records.
    fn records(&mut self, pipe: &File) {
        self.message.begin_record();
        self.message.set_name(self.options.record_prefix.as_bytes());
        for number in 0..self.options.records {
            let at = self.options.record_prefix.len();
            self.message.set_number(at, number);
            self.record(pipe);
        }
        let names = std::mem::take(&mut self.names);
        for name in lines(&names) {
            self.message.set_name(name);
            self.record(pipe);
        }
        self.names = names;
    }

    fn record(&self, pipe: &File) {
        if self.write(pipe) {
            self.stats.records.one();
        }
    }

    /// Writes the message; returns whether the kernel took it. That it did not is counted, and
    /// no reason to end: whoever asked may have gone.
    fn write(&self, mut pipe: &File) -> bool {
        let taken = pipe.write(self.message.bytes()).is_ok();
        if !taken {
            self.stats.refused.one();
        }
        taken
    }

    /// Writes to the log that an upcall was answered.
    fn note(&mut self, command: Command) -> Result<()> {
        let Some(log) = &mut self.log else {
            return Ok(());
        };
        let mut line = command.name().as_bytes().to_vec();
        if matches!(command, Command::Create | Command::Remove | Command::Check) {
            line.push(b' ');
            line.extend_from_slice(self.message.name());
        }
        line.push(b'\n');
        log.write_all(&line).context("cannot write the log")
    }
}
