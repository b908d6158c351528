// SPDX-License-Identifier: GPL-2.0
//! Runs one test: boots its VMs, listens to them, answers their requests, and judges.

use crate::accel::Accel;
use crate::hub::Hub;
use crate::images::{make_disk, Images};
use crate::ktap::Outcome;
use crate::log::{Log, Show, Source};
use crate::machine::Machine;
use crate::payload;
use crate::requests::Board;
use crate::spec::Spec;
use crate::vm::{Event, Vm};
use crate::watch;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// How long a VM may take from its start until its /init runs; on an idle host it takes three seconds.
const BOOT: Duration = Duration::from_secs(90);

/// How often a VM may fail to do so.
const BOOTS: u32 = 3;

/// What all tests of a run have in common.
pub struct Bench {
    /// KVM or not.
    pub accel: Accel,
    /// Directory with the tests and what every guest needs.
    pub tests: PathBuf,
    /// Directory for this run's files.
    pub run_dir: PathBuf,
    /// Directory for logs.
    pub logs: PathBuf,
    /// What to show.
    pub show: Show,
    /// A disk to use in place of a new one called `data`.
    pub data_disk: Option<PathBuf>,
    /// Words for the test's command line.
    pub args: Vec<String>,
    /// How many times slower than a stock kernel the kernels may be.
    pub slow: u32,
    /// Words for the kernel's command line.
    pub boot: Vec<String>,
}

/// A kernel to test on.
pub struct Kernel {
    /// As in `uname -r`.
    pub release: String,
    /// What its VMs boot from.
    pub images: Images,
    /// The nfsd_ha.ko built for it.
    pub module: Option<PathBuf>,
    /// What tests run beside their scripts: programs, and modules that make things fail.
    pub helpers: Vec<PathBuf>,
}

impl Kernel {
    /// What the guest gets as /test/NAME beside the tests.
    pub fn files(&self) -> Vec<&Path> {
        let all = self.module.iter().chain(&self.helpers);
        all.map(PathBuf::as_path).collect()
    }
}

/// Counts of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Results `ok`.
    pub passed: u32,
    /// Results `not ok`, and what else went wrong.
    pub failed: u32,
    /// Results skipped.
    pub skipped: u32,
}

impl Totals {
    /// Adds those of another test.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// A test that runs.
struct Case<'a> {
    bench: &'a Bench,
    kernel: &'a Kernel,
    spec: &'a Spec,
    vms: Vec<Vm<'a>>,
    hub: Hub,
    board: Board,
    log: Log,
    sender: Sender<(usize, u32, Event)>,
    initrd: PathBuf,
    disks: Vec<(String, PathBuf)>,
    totals: Totals,
    problems: Vec<String>,
    reports: BTreeSet<String>,
    allowed: Vec<String>,
}

/// Runs `spec` on `kernel`.
pub fn run(bench: &Bench, kernel: &Kernel, spec: &Spec) -> Result<Totals> {
    let dir = bench.run_dir.join(&kernel.release).join(&spec.name);
    fs::create_dir_all(&dir)?;
    let short = kernel.release.split('+').next().unwrap_or(&kernel.release);
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
        sender,
        initrd: dir.join("initrd"),
        disks: disks(&dir, spec, bench.data_disk.as_deref())?,
        totals: Totals::default(),
        problems: Vec::new(),
        reports: BTreeSet::new(),
        allowed: Vec::new(),
    };
    let mut directories = vec![bench.tests.as_path()];
    // A test from elsewhere brings the other files of its directory along.
    directories.extend(
        spec.path
            .parent()
            .filter(|dir| !dir.starts_with(&bench.tests)),
    );
    payload::write(
        &case.initrd,
        &kernel.images.initrd,
        &directories,
        &kernel.files(),
    )?;
    for id in 0..case.vms.len() {
        case.boot(id)?;
    }
    case.listen(&receiver)?;
    let totals = case.judge();
    drop(case);
    fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    Ok(totals)
}

/// Makes the disks a test asks for. `data` stands in for the one of that name, and lives on after the test.
pub fn disks(dir: &Path, spec: &Spec, data: Option<&Path>) -> Result<Vec<(String, PathBuf)>> {
    let mut wanted = spec.disks.clone();
    if data.is_some() && !wanted.iter().any(|(name, _)| name == "data") {
        wanted.push(("data".into(), 256));
    }
    let mut disks = Vec::new();
    for (name, mib) in wanted {
        let path = match data {
            Some(file) if name == "data" => file.to_path_buf(),
            _ => dir.join(format!("{name}.disk")),
        };
        make_disk(&path, mib)?;
        disks.push((name, path));
    }
    Ok(disks)
}

impl Case<'_> {
    fn boot(&mut self, id: usize) -> Result<()> {
        let net = match self.spec.scenario {
            true => Some((id, self.hub.plug(id)?)),
            false => None,
        };
        let peers: Vec<_> = self.spec.vms.iter().map(|vm| vm.name.as_str()).collect();
        let vm = &mut self.vms[id];
        let mut env = vm.env(self.kernel.module.is_some());
        env.push(("VM_INDEX", (id + 1).to_string()));
        env.push(("VM_PEERS", peers.join(",")));
        env.push(("VM_ARGS", self.bench.args.join(",")));
        env.push(("VM_SLOW", self.bench.slow.to_string()));
        let machine = Machine {
            images: &self.kernel.images,
            initrd: &self.initrd,
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
            boot: &self.bench.boot,
        };
        vm.start(id, &machine, &self.sender)?;
        self.vms[id].up_by = Some(Instant::now() + self.boot_limit());
        Ok(())
    }

    fn listen(&mut self, receiver: &Receiver<(usize, u32, Event)>) -> Result<()> {
        let mut deadline = Instant::now() + self.spec.timeout;
        while self.vms.iter().any(|vm| !vm.ended()) {
            let boots = self.vms.iter().filter_map(|vm| vm.up_by);
            let next = boots.fold(deadline, Ord::min);
            match receiver.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok((id, boot, event)) => self.event(id, boot, event)?,
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {
                    self.boot_again()?;
                    deadline += self.boot_limit();
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.time_is_up(receiver);
                    return Ok(());
                }
                Err(RecvTimeoutError::Disconnected) => unreachable!("a sender is in self"),
            }
            if let Some(problem) = self.board.stuck(&self.vms) {
                self.problem("", problem);
                return Ok(());
            }
        }
        Ok(())
    }

    fn boot_limit(&self) -> Duration {
        BOOT * self.bench.slow
    }

    /// Boots VMs again that do not get to their /init. A timer of QEMU's second emulated CPU has been seen to stop
    /// there, upon which the kernel waits for ever. Nothing of ours has run by then.
    fn boot_again(&mut self) -> Result<()> {
        let now = Instant::now();
        for id in 0..self.vms.len() {
            let vm = &mut self.vms[id];
            if vm.up_by.is_none_or(|end| end > now) {
                continue;
            }
            vm.up_by = None;
            vm.stalled += 1;
            let (name, stage) = (vm.spec.name.clone(), vm.stage.clone());
            if vm.stalled == BOOTS {
                self.problem(&name, "does not boot".into());
                continue;
            }
            let news = format!("{name} does not boot: its power is cut, and it boots again");
            self.log.line("", Source::Harness, &news);
            println!("# {}: {}", self.spec.name, news.trim_start());
            self.reset(id, &stage)?;
        }
        Ok(())
    }

    fn event(&mut self, id: usize, boot: u32, event: Event) -> Result<()> {
        let name = self.vms[id].spec.name.clone();
        match event {
            Event::Console(line) => {
                self.log.line(&name, Source::Console, &line);
                if let Some(report) = watch::report(&line) {
                    self.reports.insert(report.to_string());
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
                    match self.vms[id].ktap.line(&line) {
                        Some(Outcome::Passed) => self.totals.passed += 1,
                        Some(Outcome::Failed) => self.totals.failed += 1,
                        Some(Outcome::Skipped) => self.totals.skipped += 1,
                        None => {}
                    }
                }
            },
            Event::Closed => {
                if self.vms[id].stream_closed() && self.vms[id].done.is_none() {
                    self.problem(&name, "the VM ended before its test did".into());
                }
            }
        }
        Ok(())
    }

    fn request(&mut self, id: usize, request: &str) -> Result<()> {
        let words: Vec<&str> = request.split_whitespace().collect();
        match words[..] {
            ["booted"] => self.vms[id].up_by = None,
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

    fn judge(&mut self) -> Totals {
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
            let (name, found) = (self.vms[id].spec.name.clone(), self.vms[id].problems());
            for problem in found {
                self.problem(&name, problem);
            }
        }
        let failed_results = self.totals.failed;
        self.totals.failed += u32::try_from(self.problems.len()).unwrap_or(u32::MAX);
        if self.totals.failed > 0 {
            if failed_results > 0 {
                self.problems
                    .insert(0, format!("{failed_results} results not ok"));
            }
            self.log.failure(&self.problems);
        }
        println!(
            "# {} on {}: {} passed, {} failed, {} skipped in {:.1} s",
            self.spec.name,
            self.kernel.release,
            self.totals.passed,
            self.totals.failed,
            self.totals.skipped,
            self.log.seconds()
        );
        self.totals
    }
}
