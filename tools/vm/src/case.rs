// SPDX-License-Identifier: GPL-2.0
//! Runs one test: boots its VMs, listens to them, answers their requests, and judges.

use crate::accel::Accel;
use crate::bench::{Bench, Kernel, Totals};
use crate::hub::Hub;
use crate::images::disks;
use crate::ktap::Outcome;
use crate::limit::Clock;
use crate::log::{Log, Source};
use crate::machine::{Machine, Start};
use crate::payload::Form;
use crate::report::Finished;
use crate::requests::Board;
use crate::snapshot::Snapshot;
use crate::spec::Spec;
use crate::vm::{Event, Vm};
use crate::watch;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a VM may take from its start until its /init runs; on an idle host it takes three seconds.
/// As all limits here, it counts the time in which the guest could go on.
const BOOT: Duration = Duration::from_secs(90);

/// The same for one that goes on from a snapshot, where it takes less than one.
const RESUME: Duration = Duration::from_secs(30);

/// How often a VM may fail to boot.
const BOOTS: u32 = 3;

/// How often to see how long the VMs have waited for a CPU.
const TICK: Duration = Duration::from_millis(500);

/// The kernel says so when all of it has the module's code.
const ATTACHED: &str = "livepatch: 'nfsd_ha': patching complete";

/// A test that runs.
struct Case<'a> {
    bench: &'a Bench,
    kernel: &'a Kernel,
    spec: &'a Spec,
    vms: Vec<Vm<'a>>,
    hub: Hub,
    board: Board,
    log: Log,
    clock: Clock,
    sender: Sender<(usize, u32, Event)>,
    disks: Vec<(String, PathBuf)>,
    /// What each VM goes on from, in place of booting.
    snapshots: Vec<Option<Snapshot>>,
    totals: Totals,
    problems: Vec<String>,
    reports: BTreeSet<String>,
    allowed: Vec<String>,
    /// What the test said of its random numbers, `seed=N`.
    seed: Option<String>,
    /// Nothing more is to come of it.
    over: bool,
}

/// Runs `spec` on `kernel`.
pub fn run(bench: &Bench, kernel: &Kernel, spec: &Spec) -> Result<Finished> {
    let dir = bench.run_dir.join(&kernel.release).join(&spec.name);
    fs::create_dir_all(&dir)?;
    let short = kernel.release.split('+').next().unwrap_or(&kernel.release);
    // To make them is no part of the test.
    let snapshot = |vm| bench.snapshots.as_ref()?.get(kernel, spec, vm, bench.accel);
    let snapshots = spec.vms.iter().map(snapshot).collect();
    let (sender, receiver) = channel();
    let mut case = Case {
        bench,
        kernel,
        spec,
        vms: spec.vms.iter().map(Vm::new).collect(),
        hub: Hub::default(),
        board: Board::default(),
        log: Log::create(
            &bench
                .logs
                .join(&kernel.release)
                .join(format!("{}.log", spec.name)),
            format!("{short} {}:", spec.name),
            bench.show,
        )?,
        clock: Clock::start(),
        sender,
        disks: disks(&dir, spec, bench.data_disk.as_deref())?,
        snapshots,
        totals: Totals::default(),
        problems: Vec::new(),
        reports: BTreeSet::new(),
        allowed: Vec::new(),
        seed: None,
        over: false,
    };
    for id in 0..case.vms.len() {
        case.boot(id)?;
    }
    case.listen(&receiver)?;
    let finished = case.judge();
    drop(case);
    fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    Ok(finished)
}

impl Case<'_> {
    fn boot(&mut self, id: usize) -> Result<()> {
        let net = match self.spec.scenario {
            true => Some(self.hub.plug(id)?),
            false => None,
        };
        // One that did not work for another VM is gone.
        self.snapshots[id].take_if(|snapshot| !snapshot.state().exists());
        let peers: Vec<_> = self.spec.vms.iter().map(|vm| vm.name.as_str()).collect();
        let vm = &mut self.vms[id];
        let mut env = vm.env(self.kernel.module.is_some());
        env.push(("VM_INDEX", (id + 1).to_string()));
        env.push(("VM_PEERS", peers.join(",")));
        let args = [&vm.spec.args[..], &self.bench.args].concat();
        env.push(("VM_ARGS", args.join(",")));
        env.push(("VM_SLOW", self.bench.slow.to_string()));
        let payload = |form| self.bench.payloads.get(form, self.kernel, &self.spec.path);
        let boot = [&self.bench.boot[..], &vm.spec.boot].concat();
        let (image, initrd);
        let (start, limit) = if let Some(snapshot) = &self.snapshots[id] {
            image = payload(Form::Image)?;
            (Start::Resume(snapshot, &image), RESUME * self.bench.slow)
        } else {
            initrd = payload(Form::Initrd)?;
            (Start::Boot(&initrd), BOOT * self.bench.slow)
        };
        let machine = Machine {
            images: &self.kernel.images,
            start,
            accel: if vm.spec.icount {
                Accel::Counted
            } else {
                self.bench.accel
            },
            mem: vm.spec.mem,
            smp: vm.spec.smp,
            disks: &self.disks,
            net,
            env,
            boot: &boot,
        };
        vm.start(id, &machine, &self.sender)?;
        self.vms[id].up_by = Some(self.clock.deadline(limit));
        Ok(())
    }

    fn listen(&mut self, receiver: &Receiver<(usize, u32, Event)>) -> Result<()> {
        let mut end = self.clock.deadline(self.spec.timeout);
        while !self.over && self.vms.iter().any(|vm| !vm.ended()) {
            match receiver.recv_timeout(TICK) {
                Ok((id, boot, event)) => self.event(id, boot, event)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("a sender is in self"),
            }
            if self.clock.age() >= TICK {
                self.advance();
                if self.clock.passed(&end) {
                    self.time_is_up(receiver);
                    return Ok(());
                }
                if self.boot_again()? {
                    end.extend(self.boot_limit());
                }
            }
            if let Some(problem) = self.board.stuck(&self.vms) {
                self.problem("", problem);
                return Ok(());
            }
        }
        Ok(())
    }

    fn advance(&mut self) {
        let delays = self.vms.iter().flat_map(Vm::delays).collect();
        self.clock.advance(delays);
    }

    fn boot_limit(&self) -> Duration {
        BOOT * self.bench.slow
    }

    /// Boots VMs again that do not get to their /init in time. Returns whether one does.
    fn boot_again(&mut self) -> Result<bool> {
        let mut again = false;
        for id in 0..self.vms.len() {
            if self.vms[id]
                .up_by
                .is_some_and(|end| self.clock.passed(&end))
            {
                again |= self.boot_failed(id, "does not boot")?;
            }
        }
        Ok(again)
    }

    /// A VM has not got to its /init: it boots again, a few times at most. Returns whether it does.
    ///
    /// Nothing of ours has run by then: it is QEMU. A timer of its second emulated CPU has been seen to stop there, upon
    /// which the kernel waits for ever; one CPU took a breakpoint that the other had just put into the kernel's code
    /// for its own; and an assertion of QEMU about its map of memory failed while the kernel looked for PCI devices.
    ///
    /// One that should have gone on from a snapshot boots in place of that, which counts as no failure of a boot.
    fn boot_failed(&mut self, id: usize, how: &str) -> Result<bool> {
        let vm = &mut self.vms[id];
        vm.up_by = None;
        let how = match (self.snapshots[id].take(), &self.bench.snapshots) {
            (Some(snapshot), Some(all)) => {
                all.forget(&snapshot);
                "does not go on from its snapshot"
            }
            _ => {
                vm.failed_boots += 1;
                how
            }
        };
        let (name, stage) = (vm.spec.name.clone(), vm.stage.clone());
        let early = std::mem::take(&mut vm.early_reports);
        if vm.failed_boots == BOOTS {
            self.reports.extend(early);
            self.problem(&name, how.into());
            return Ok(false);
        }
        let news = format!("{name} {how}: it boots again");
        self.log.line("", Source::Harness, &news);
        println!("# {}: {}", self.spec.name, news.trim_start());
        self.reset(id, &stage)?;
        Ok(true)
    }

    fn event(&mut self, id: usize, boot: u32, event: Event) -> Result<()> {
        let name = self.vms[id].spec.name.clone();
        match event {
            Event::Console(line) => {
                self.log.line(&name, Source::Console, &line);
                if let Some(report) = watch::report(&line) {
                    let vm = &mut self.vms[id];
                    if boot == vm.boot && vm.up_by.is_some() {
                        vm.early_reports.insert(report.to_string());
                    } else {
                        self.reports.insert(report.to_string());
                    }
                }
                if line.contains(ATTACHED) {
                    self.vms[id].attached = true;
                }
            }
            // What comes from a boot that is over does not count.
            _ if boot != self.vms[id].boot => {}
            Event::Channel(line) => match line.strip_prefix('@') {
                Some(request) => {
                    self.log
                        .line(&name, Source::Harness, &format!("request: {request}"));
                    self.request(id, request)?;
                }
                None => {
                    self.log.line(&name, Source::Test, &line);
                    if line.starts_with('#') {
                        let seed = line.split_whitespace().find(|w| w.starts_with("seed="));
                        self.seed = seed.map(str::to_owned).or(self.seed.take());
                    }
                    match self.vms[id].ktap.line(&line) {
                        Some(Outcome::Passed) => self.totals.passed += 1,
                        Some(Outcome::Failed) => self.totals.failed += 1,
                        Some(Outcome::Skipped) => self.totals.skipped += 1,
                        None => {}
                    }
                }
            },
            Event::Closed => {
                let booting = self.vms[id].up_by.is_some();
                if self.vms[id].stream_closed() && self.vms[id].done.is_none() {
                    if booting {
                        self.boot_failed(id, "ended before it had booted")?;
                    } else {
                        self.problem(&name, "the VM ended before its test did".into());
                    }
                }
            }
        }
        Ok(())
    }

    fn request(&mut self, id: usize, request: &str) -> Result<()> {
        let words: Vec<&str> = request.split_whitespace().collect();
        match words[..] {
            ["booted"] => {
                self.vms[id].up_by = None;
                self.reports
                    .extend(std::mem::take(&mut self.vms[id].early_reports));
            }
            ["done", code] => self.vms[id].done = Some(code.parse().unwrap_or(255)),
            ["reset", stage] => self.reset(id, stage)?,
            ["kill", name, ref stage @ ..] => {
                match self.vms.iter().position(|vm| vm.spec.name == name) {
                    Some(other) => match stage.first() {
                        Some(stage) => self.reset(other, stage)?,
                        None => {
                            self.hub.unplug(other);
                            self.vms[other].cut_power();
                        }
                    },
                    None => self.problem("", format!("no VM '{name}' to kill")),
                }
            }
            // A guest that goes on from a snapshot sets its clock.
            ["now"] => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
                self.vms[id].answer(&format!("{:.3}", now.as_secs_f64()));
            }
            ["clock"] => {
                self.advance();
                let seconds = self.clock.counted().as_secs_f64();
                self.vms[id].answer(&format!("{seconds:.6}"));
            }
            ["fail", ..] => {
                self.problem("", request["fail".len()..].trim().into());
                self.over = true;
            }
            ["allow", ..] => self.allowed.push(request["allow".len()..].trim().into()),
            _ => {
                if !self.board.request(id, &words, &mut self.vms) {
                    self.problem("", format!("unknown request '@{request}'"));
                }
            }
        }
        Ok(())
    }

    fn reset(&mut self, id: usize, stage: &str) -> Result<()> {
        self.vms[id].reset(stage);
        self.boot(id)
    }

    fn time_is_up(&mut self, receiver: &Receiver<(usize, u32, Event)>) {
        let limit = self.spec.timeout.as_secs();
        for id in 0..self.vms.len() {
            if self.vms[id].ended() {
                continue;
            }
            let when = match self.vms[id].done {
                Some(_) => "while it powered off",
                None => "its blocked tasks are in the log",
            };
            let name = self.vms[id].spec.name.clone();
            self.problem(&name, format!("time limit of {limit} s reached; {when}"));
            self.vms[id].print_blocked_tasks();
        }
        let end = Instant::now() + Duration::from_secs(2);
        while let Ok((id, _, event)) =
            receiver.recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            if let Event::Console(line) = event {
                self.log
                    .line(&self.vms[id].spec.name, Source::Console, &line);
            }
        }
    }

    fn problem(&mut self, name: &str, problem: String) {
        let problem = if name.is_empty() {
            problem
        } else {
            format!("{name}: {problem}")
        };
        self.log.line("", Source::Harness, &problem);
        self.problems.push(problem);
    }

    fn judge(&mut self) -> Finished {
        self.advance();
        let reports: Vec<_> = self
            .reports
            .iter()
            .filter(|r| !self.allowed.iter().any(|a| r.contains(a)))
            .cloned()
            .collect();
        for report in reports {
            self.problem("", format!("kernel: {report}"));
        }
        for id in 0..self.vms.len() {
            self.vms[id].stop();
            let (name, found) = (self.vms[id].spec.name.clone(), self.vms[id].problems());
            if !self.over {
                for problem in found {
                    self.problem(&name, problem);
                }
            }
        }
        self.was_it_the_module();
        let failed_results = self.totals.failed;
        self.totals.failed += u32::try_from(self.problems.len()).unwrap_or(u32::MAX);
        if self.totals.failed > 0 {
            if failed_results > 0 {
                self.problems
                    .insert(0, format!("{failed_results} results not ok"));
            }
            self.log.failure(&self.problems, &self.command());
        }
        let cpu = self.vms.iter().map(|vm| vm.cpu).sum::<Duration>();
        let finished = Finished {
            release: self.kernel.release.clone(),
            name: self.spec.name.clone(),
            totals: self.totals,
            seconds: self.log.seconds(),
            counted: self.clock.counted().as_secs_f64(),
            cpu: cpu.as_secs_f64(),
        };
        println!(
            "# {} on {}: {} passed, {} failed, {} skipped in {:.1} s, {:.1} s of CPU",
            finished.name,
            finished.release,
            finished.totals.passed,
            finished.totals.failed,
            finished.totals.skipped,
            finished.seconds,
            finished.cpu
        );
        finished
    }

    /// A test that passed without the module that it asks for was one of the stock kernel. Whatever loaded the
    /// module, the kernel has said so on the console.
    fn was_it_the_module(&mut self) {
        if self.kernel.module.is_none() || self.totals.failed > 0 || !self.problems.is_empty() {
            return;
        }
        for id in 0..self.vms.len() {
            let vm = &self.vms[id];
            if vm.spec.module != "none" && !vm.attached && !vm.ktap.all_skipped() {
                let name = vm.spec.name.clone();
                self.problem(
                    &name,
                    "module: was never loaded: this was the stock kernel".into(),
                );
            }
        }
    }

    /// The command that runs this test again.
    fn command(&self) -> String {
        let inside = self.spec.path.starts_with(&self.bench.tests);
        let test = match self.spec.path.file_stem() {
            Some(stem) if inside => stem.to_string_lossy(),
            _ => self.spec.path.to_string_lossy(),
        };
        let again = &self.bench.again;
        again.command(&self.kernel.release, &test, self.seed.as_deref())
    }
}
