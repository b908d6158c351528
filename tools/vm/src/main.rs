// SPDX-License-Identifier: GPL-2.0
//! Runs nfsd-ha's tests in virtual machines.

mod accel;
mod bench;
mod case;
mod host;
mod hub;
mod images;
mod ktap;
mod limit;
mod log;
mod machine;
mod payload;
mod report;
mod requests;
mod schedule;
mod select;
mod shell;
mod snapshot;
mod spec;
mod vm;
mod watch;

use accel::Accel;
use anyhow::{bail, Context, Result};
use bench::{Bench, Kernel, Totals};
use clap::{Args, Parser, Subcommand};
use images::Images;
use log::Show;
use payload::Payloads;
use report::{Again, Finished, Times};
use schedule::{Need, Room};
use select::{names, select};
use snapshot::Snapshots;
use spec::Spec;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// The tests' programs, from the directory that this one is built in.
const PROGRAMS: [&str; 3] = ["nfs4load", "cldstub", "filefuzz"];

/// The program for admins, in the cache.
const PROGRAM: &str = "user/x86_64-unknown-linux-gnu/release/nfsd-ha";

/// The daemon, and what the library's tests run, from the directory that the program is in.
const BESIDE: [&str; 2] = ["nfsd-had", "examples/net"];

/// The daemon's unit, in the repository.
const UNIT: &str = "user/units/nfsd-had.service";

/// Hundredths of a CPU that a VM takes in the mean, if nothing else is known.
const WEIGHT: u32 = 30;

/// Hundredths of a CPU that the tests may take on each one. More than it has, as what they took the last time is
/// a mean, and while one waits another can go on.
const ROOM: u32 = 130;

/// Tests at the same time on each CPU.
const JOBS: u32 = 6;

/// MiB of memory that QEMU takes for itself.
const QEMU: u32 = 128;

/// What a test gets beyond the limit that it names, as one wait in it may take so long (tests/vm/lib/nfs.py).
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Parser)]
#[command(about = "Runs nfsd-ha's tests in virtual machines", version)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Run tests and scenarios; without a TEST, all whose names begin with a digit
    Run(Run),
    /// Boot one VM with a shell on this terminal
    Shell(Shell),
}

#[derive(Args)]
struct Common {
    /// Kernel release; more than one for `run` [default: all that are prepared]
    #[arg(short, long)]
    kernel: Vec<String>,
    /// The nfsd_ha.ko to test, whatever its name is [default: the cache's build/RELEASE/nfsd_ha.ko]
    #[arg(long)]
    module: Option<PathBuf>,
    /// The program for admins [default: the one that make user builds]
    #[arg(long, env = "NFSD_HA_PROGRAM")]
    program: Option<PathBuf>,
    /// Test the kernel as it is
    #[arg(long, conflicts_with = "module")]
    no_module: bool,
    /// Disk called `data`, kept afterwards; made if it does not exist
    #[arg(long)]
    data_disk: Option<PathBuf>,
    /// CPUs of each VM
    #[arg(long)]
    smp: Option<u32>,
    /// MiB of memory of each VM
    #[arg(long)]
    mem: Option<u32>,
    /// MiB of memory of each VM beside that
    #[arg(long, default_value_t = 0)]
    extra_mem: u32,
    /// The repository
    #[arg(long, default_value = ".")]
    repo: PathBuf,
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    common: Common,
    /// Time limit of each test in seconds, in which its VMs get a CPU [default: 60 more than the test says, or 180]
    #[arg(long)]
    timeout: Option<u64>,
    /// How many times slower than a stock kernel the kernels may be: multiplies time limits, and
    /// tests get it as VM_SLOW
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    slow: u32,
    /// A word for the kernels' command line; may be given more than once
    #[arg(long = "boot", value_name = "WORD", value_parser = word)]
    boot: Vec<String>,
    /// Boot each VM, in place of going on from a snapshot of one that has booted; so does --boot
    #[arg(long)]
    cold: bool,
    /// A word for the command line of the tests; may be given more than once
    #[arg(long = "arg", value_name = "WORD", value_parser = word)]
    args: Vec<String>,
    /// Tests to run at the same time, at most [default: what fits, up to six for each CPU]
    #[arg(short, long)]
    jobs: Option<usize>,
    /// Show consoles also when there is more than one test
    #[arg(short, long)]
    verbose: bool,
    /// Show results only, also when there is just one test
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
    /// Names in the rooms of tests/vm (with or without extension), how the names of numbered tests begin, or paths
    tests: Vec<String>,
}

#[derive(Args)]
struct Shell {
    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Action::Run(args) => run(&args),
        Action::Shell(args) => shell(&args).map(|()| true),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("vm: {e:#}");
            ExitCode::FAILURE
        }
    }
}

impl Common {
    fn kernels(&self, cache: &Path) -> Result<Vec<Kernel>> {
        let mut releases = self.kernel.clone();
        if releases.is_empty() {
            releases = names(&cache.join("kernels"), |path| path.join("vmlinuz").exists());
        }
        if releases.is_empty() {
            bail!(
                "no kernel is prepared in {}: run 'make kernels'",
                cache.join("kernels").display()
            );
        }
        releases
            .into_iter()
            .map(|release| self.kernel(cache, release))
            .collect()
    }

    fn kernel(&self, cache: &Path, release: String) -> Result<Kernel> {
        let module = match self.no_module {
            true => None,
            false => Some(bench::module(cache, &release, self.module.as_deref())?),
        };
        let inject = cache.join("build").join(&release).join("inject");
        let mut helpers: Vec<_> =
            names(&inject, |path| path.extension().is_some_and(|e| e == "ko"))
                .iter()
                .map(|name| inject.join(name))
                .collect();
        let programs = PROGRAMS.map(|name| cache.join("tools/release").join(name));
        helpers.extend(programs.into_iter().filter(|path| path.exists()));
        let program = self.program(cache)?;
        let beside = BESIDE.map(|name| program.with_file_name(name));
        helpers.extend(beside.into_iter().filter(|path| path.exists()));
        helpers.push(self.repo.join(UNIT));
        Ok(Kernel {
            helpers,
            images: Images::make(&self.repo, &release)?,
            release,
            module,
            program,
        })
    }

    /// The program for admins. That there is none is an error, lest tests pass without it.
    fn program(&self, cache: &Path) -> Result<PathBuf> {
        let path = self.program.clone().unwrap_or_else(|| cache.join(PROGRAM));
        if !path.is_file() {
            bail!("there is no {}: run 'make user'", path.display());
        }
        Ok(path)
    }

    fn tests(&self) -> Result<PathBuf> {
        let dir = self.repo.join("tests/vm");
        dir.canonicalize().with_context(|| {
            format!(
                "no {}: run this in the repository, or say --repo",
                dir.display()
            )
        })
    }

    fn adjust(&self, spec: &mut Spec) {
        for vm in &mut spec.vms {
            vm.smp = self.smp.unwrap_or(vm.smp);
            vm.mem = self.mem.unwrap_or(vm.mem) + self.extra_mem;
        }
    }
}

/// Takes a word that comes through the guest's kernel command line, and a shell, as it is.
fn word(text: &str) -> Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "=-_.:/".contains(c);
    if text.is_empty() || !text.chars().all(plain) {
        bail!("letters, digits and any of = - _ . : / only");
    }
    Ok(text.into())
}

impl Run {
    /// The tests to run, and what they ask for.
    fn specs(&self, tests: &Path) -> Result<Vec<Spec>> {
        let mut specs: Vec<Spec> = Vec::new();
        for path in select(tests, &self.tests)? {
            let mut spec = Spec::read(&path, tests)?;
            spec.timeout = match self.timeout {
                Some(seconds) => Duration::from_secs(seconds),
                None => spec.timeout + PATIENCE,
            } * self.slow;
            self.common.adjust(&mut spec);
            // A test that is named twice runs twice, with a log for each.
            let before = specs.iter().filter(|other| other.path == spec.path).count();
            if before > 0 {
                spec.name = format!("{}-{}", spec.name, before + 1);
            }
            specs.push(spec);
        }
        Ok(specs)
    }

    /// How to run one of the tests again.
    fn again(&self) -> Again {
        let mut options = Vec::new();
        let mut option = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                options.extend([format!("--{name}"), value]);
            }
        };
        let path = |path: &Option<PathBuf>| path.as_ref().map(|p| p.display().to_string());
        let common = &self.common;
        option("module", path(&common.module));
        option("program", path(&common.program));
        option("data-disk", path(&common.data_disk));
        option("smp", common.smp.map(|n| n.to_string()));
        option("mem", common.mem.map(|n| n.to_string()));
        let extra = Some(common.extra_mem).filter(|mib| *mib > 0);
        option("extra-mem", extra.map(|mib| mib.to_string()));
        option("timeout", self.timeout.map(|n| n.to_string()));
        let slow = Some(self.slow).filter(|slow| *slow > 1);
        option("slow", slow.map(|n| n.to_string()));
        for boot in &self.boot {
            option("boot", Some(boot.clone()));
        }
        for (name, given) in [("no-module", common.no_module), ("cold", self.cold)] {
            if given {
                options.push(format!("--{name}"));
            }
        }
        Again {
            options,
            args: self.args.clone(),
        }
    }

    /// What the host has for the tests.
    fn room(&self) -> Room {
        let most = usize::try_from(JOBS * host::cpus()).unwrap_or(1);
        Room {
            // A disk that is named is for one at a time.
            jobs: match self.common.data_disk {
                Some(_) => 1,
                None => self.jobs.unwrap_or(most).max(1),
            },
            weight: ROOM * host::cpus(),
            mem: host::mem_available() / 2,
        }
    }
}

/// What a test needs: by what it took the last time, if that is known.
fn need(spec: &Spec, kernel: &Kernel, times: &Times) -> Need {
    let known = times.of(&kernel.release, &spec.name);
    let vms = u32::try_from(spec.vms.len()).unwrap_or(1);
    let (seconds, weight) = known.unwrap_or((spec.timeout.as_secs_f64(), WEIGHT * vms));
    Need {
        weight: spec.weight.unwrap_or(weight),
        mem: spec.vms.iter().map(|vm| vm.mem + QEMU).sum(),
        alone: spec.alone,
        seconds,
    }
}

fn run(args: &Run) -> Result<bool> {
    let common = &args.common;
    let cache = images::cache()?;
    let tests = common.tests()?;
    let specs = args.specs(&tests)?;
    let kernels = common.kernels(&cache)?;
    let again = args.again();
    let single = specs.len() * kernels.len() == 1;
    // Those of other circumstances say nothing.
    let usual = again.options.is_empty() && again.args.is_empty();
    let mut times = Times::read(cache.join("test-times"));
    let run_dir = images::run_dir(&cache)?;
    let snapshots = match args.cold || !args.boot.is_empty() {
        true => None,
        false => Some(Snapshots::open(&cache, &tests)?),
    };
    let bench = Bench {
        accel: Accel::probe(&cache)?,
        payloads: Payloads::new(&run_dir, &tests),
        snapshots,
        tests,
        run_dir,
        logs: cache.join("logs"),
        show: if args.verbose || (single && !args.quiet) {
            Show::Everything
        } else {
            Show::Results
        },
        data_disk: common.data_disk.clone(),
        args: args.args.clone(),
        slow: args.slow,
        boot: args.boot.clone(),
        again,
    };
    let last = kernels.len().saturating_sub(1);
    let wanted = |at: usize, spec: &Spec| !spec.once || at == last || !args.tests.is_empty();
    let all: Vec<_> = kernels
        .iter()
        .enumerate()
        .flat_map(|(at, kernel)| specs.iter().map(move |spec| (at, kernel, spec)))
        .filter(|(at, _, spec)| wanted(*at, spec))
        .map(|(_, kernel, spec)| (need(spec, kernel, &times), (kernel, spec)))
        .collect();
    let mut finished = Vec::new();
    let test = |(kernel, spec)| run_one(&bench, kernel, spec);
    schedule::run(all, args.room(), test, |result| finished.push(result));
    fs::remove_dir_all(&bench.run_dir)?;
    if usual {
        times.add(&finished);
        times.write()?;
    }
    let mut totals = Totals::default();
    finished.iter().for_each(|test| totals.add(test.totals));
    print!("{}", report::slowest(&finished));
    println!("{}", totals.closing_line());
    Ok(totals.failed == 0 && totals.passed + totals.skipped > 0)
}

fn run_one(bench: &Bench, kernel: &Kernel, spec: &Spec) -> Finished {
    case::run(bench, kernel, spec).unwrap_or_else(|e| {
        println!("{} on {}: FAILED: {e:#}", spec.name, kernel.release);
        Finished::broken(&kernel.release, &spec.name)
    })
}

fn shell(args: &Shell) -> Result<()> {
    let cache = images::cache()?;
    let mut kernels = args.common.kernels(&cache)?;
    let kernel = kernels.pop().context("no kernel")?;
    let mut spec = Spec::empty("shell");
    spec.vms.push(spec::VmSpec::default());
    args.common.adjust(&mut spec);
    let tests = args.common.tests()?;
    let run_dir = images::run_dir(&cache)?;
    let bench = Bench {
        accel: Accel::probe(&cache)?,
        payloads: Payloads::new(&run_dir, &tests),
        snapshots: None,
        tests,
        run_dir,
        logs: cache.join("logs"),
        show: Show::Everything,
        data_disk: args.common.data_disk.clone(),
        args: Vec::new(),
        slow: 1,
        boot: Vec::new(),
        again: Again::default(),
    };
    shell::run(&bench, &kernel, &spec)
}
