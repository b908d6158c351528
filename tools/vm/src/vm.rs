// SPDX-License-Identifier: GPL-2.0
//! A VM of a running test, across its resets.

use crate::ktap::Ktap;
use crate::limit::{Deadline, Delays};
use crate::machine::{Machine, Running};
use crate::spec::VmSpec;
use anyhow::Result;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

/// What is heard from a VM.
pub enum Event {
    /// A line of the console.
    Console(String),
    /// A line of the test's channel.
    Channel(String),
    /// One of the two has ended.
    Closed,
}

/// A VM, running or not.
pub struct Vm<'a> {
    /// What was asked for.
    pub spec: &'a VmSpec,
    /// Counts boots, so that late lines of an earlier one are known as such.
    pub boot: u32,
    /// When its boot will have taken too long, until the guest's /init runs.
    pub up_by: Option<Deadline>,
    /// How many boots did not get there.
    pub failed_boots: u32,
    /// What the kernel has reported before it got there.
    pub early_reports: BTreeSet<String>,
    /// Exit status of the test.
    pub done: Option<i32>,
    /// Whether the module was loaded in one of its boots.
    pub attached: bool,
    /// CPU time of the boots that are over.
    pub cpu: Duration,
    /// Results of all boots.
    pub ktap: Ktap,
    running: Option<Running>,
    /// What the guest is told that it is in.
    pub stage: String,
    streams: u32,
    killed: bool,
}

impl<'a> Vm<'a> {
    /// A VM that is not running yet.
    pub fn new(spec: &'a VmSpec) -> Self {
        Self {
            spec,
            boot: 0,
            up_by: None,
            failed_boots: 0,
            early_reports: BTreeSet::new(),
            done: None,
            attached: false,
            cpu: Duration::ZERO,
            ktap: Ktap::default(),
            running: None,
            stage: String::new(),
            streams: 0,
            killed: false,
        }
    }

    /// Variables for the guest's init.
    pub fn env(&self, module: bool) -> Vec<(&'static str, String)> {
        vec![
            ("VM_TEST", self.spec.test.clone()),
            ("VM_NAME", self.spec.name.clone()),
            ("VM_STAGE", self.stage.clone()),
            ("VM_RESULTS", self.ktap.count.to_string()),
            (
                "VM_MODULE",
                if module {
                    self.spec.module.clone()
                } else {
                    "none".into()
                },
            ),
        ]
    }

    /// Starts it; what it says goes to `sender` with its `id` and boot.
    pub fn start(
        &mut self,
        id: usize,
        machine: &Machine,
        sender: &Sender<(usize, u32, Event)>,
    ) -> Result<()> {
        let running = machine.start()?;
        self.boot += 1;
        self.streams = 2;
        let boot = self.boot;
        let console = running.console.try_clone()?;
        let channel = running.channel.try_clone()?;
        let (to_console, to_channel) = (sender.clone(), sender.clone());
        thread::spawn(move || {
            lines(console, |line| {
                to_console.send((id, boot, Event::Console(line))).is_ok()
            });
            let _ = to_console.send((id, boot, Event::Closed));
        });
        thread::spawn(move || {
            lines(channel, |line| {
                to_channel.send((id, boot, Event::Channel(line))).is_ok()
            });
            let _ = to_channel.send((id, boot, Event::Closed));
        });
        self.running = Some(running);
        Ok(())
    }

    /// Ends its QEMU, if that runs.
    pub fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            self.cpu += running.cpu_time();
        }
    }

    /// How long its threads have waited for a CPU.
    pub fn delays(&self) -> Delays {
        self.running
            .as_ref()
            .map(Running::delays)
            .unwrap_or_default()
    }

    /// Cuts its power; the next start tells the guest it is in `stage`.
    pub fn reset(&mut self, stage: &str) {
        self.stop();
        self.stage = stage.into();
        self.done = None;
        self.killed = false;
    }

    /// Cuts its power for good, as a test wanted.
    pub fn cut_power(&mut self) {
        self.stop();
        self.up_by = None;
        self.killed = true;
    }

    /// Answers a request.
    pub fn answer(&self, text: &str) {
        if let Some(running) = &self.running {
            let _ = (&running.channel).write_all(format!("{text}\n").as_bytes());
        }
    }

    /// Notes that a stream of the current boot has ended; returns whether that means that QEMU has.
    pub fn stream_closed(&mut self) -> bool {
        self.streams = self.streams.saturating_sub(1);
        let ended = self.streams == 0 && !self.killed;
        if ended {
            self.stop();
            self.up_by = None;
        }
        ended
    }

    /// Whether nothing more will come from it.
    pub fn ended(&self) -> bool {
        self.running.is_none()
    }

    /// See [`Running::print_blocked_tasks`].
    pub fn print_blocked_tasks(&self) {
        if let Some(running) = &self.running {
            running.print_blocked_tasks();
        }
    }

    /// What is wrong with its results, and with its exit status if no result explains it.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !self.killed {
            problems = self.ktap.problems();
        }
        if let Some(code) = self.done.filter(|code| *code != 0 && self.ktap.failed == 0) {
            problems.push(format!("the test's exit status is {code}"));
        }
        problems
    }
}

/// Hands every line on, until the end or until `line` returns false.
fn lines(stream: impl Read, mut line: impl FnMut(String) -> bool) {
    let mut reader = BufReader::new(stream);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
        if !line(
            String::from_utf8_lossy(&bytes)
                .trim_end_matches(['\r', '\n'])
                .to_string(),
        ) {
            return;
        }
        bytes.clear();
    }
}
