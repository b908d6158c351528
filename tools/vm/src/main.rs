// SPDX-License-Identifier: GPL-2.0
//! Runs nfsd-ha's tests in virtual machines.

mod accel;
mod case;
mod hub;
mod images;
mod ktap;
mod log;
mod machine;
mod payload;
mod requests;
mod shell;
mod spec;
mod vm;
mod watch;

use accel::Accel;
use anyhow::{bail, Context, Result};
use case::{Bench, Kernel, Totals};
use clap::{Args, Parser, Subcommand};
use images::Images;
use log::Show;
use spec::Spec;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;
use std::{fs, thread};

/// The tests' programs, from the directory that this one is built in.
const PROGRAMS: [&str; 3] = ["nfs4load", "cldstub", "filefuzz"];

/// What admins run, in the repository.
const SCRIPTS: [&str; 2] = ["scripts/admin/nfsd-ha", "scripts/admin/ha-callout"];

/// What a test's file name ends in.
const TESTS: [&str; 3] = ["sh", "py", "scenario"];

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
    /// The nfsd_ha.ko to test [default: the cache's build/RELEASE/nfsd_ha.ko, if there is one]
    #[arg(long)]
    module: Option<PathBuf>,
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
    /// Time limit of each test in seconds [default: as the test says, or 120]
    #[arg(long)]
    timeout: Option<u64>,
    /// How many times slower than a stock kernel the kernels may be: multiplies time limits, and
    /// tests get it as VM_SLOW
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    slow: u32,
    /// A word for the kernels' command line; may be given more than once
    #[arg(long = "boot", value_name = "WORD", value_parser = word)]
    boot: Vec<String>,
    /// A word for the command line of the tests; may be given more than once
    #[arg(long = "arg", value_name = "WORD", value_parser = word)]
    args: Vec<String>,
    /// Tests to run at the same time
    #[arg(short, long, default_value_t = 2)]
    jobs: usize,
    /// Show consoles also when there is more than one test
    #[arg(short, long)]
    verbose: bool,
    /// Show results only, also when there is just one test
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
    /// Names in the rooms of tests/vm (with or without extension), or paths
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
        let built = cache.join("build").join(&release).join("nfsd_ha.ko");
        let module = match &self.module {
            Some(path) => Some(
                path.canonicalize()
                    .with_context(|| format!("no module {}", path.display()))?,
            ),
            None => (!self.no_module && built.exists()).then_some(built),
        };
        let inject = cache.join("build").join(&release).join("inject");
        let mut helpers: Vec<_> =
            names(&inject, |path| path.extension().is_some_and(|e| e == "ko"))
                .iter()
                .map(|name| inject.join(name))
                .collect();
        let programs = PROGRAMS.map(|name| cache.join("tools/release").join(name));
        helpers.extend(programs.into_iter().filter(|path| path.exists()));
        helpers.extend(SCRIPTS.map(|script| self.repo.join(script)));
        Ok(Kernel {
            helpers,
            images: Images::make(&self.repo, &release)?,
            release,
            module,
        })
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

/// Names in `dir` that `wanted` likes, sorted.
fn names(dir: &Path, wanted: impl Fn(&Path) -> bool) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .filter(|e| wanted(&e.path()))
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Takes a word that comes through the guest's kernel command line, and a shell, as it is.
fn word(text: &str) -> Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "=-_.:/".contains(c);
    if text.is_empty() || !text.chars().all(plain) {
        bail!("letters, digits and any of = - _ . : / only");
    }
    Ok(text.into())
}

/// All tests, which are in the rooms (directories) of `dir`, in the order of their names.
fn all_tests(dir: &Path) -> Vec<PathBuf> {
    let is_test = |path: &Path| {
        path.extension()
            .is_some_and(|e| TESTS.iter().any(|t| e == *t))
    };
    let mut tests: Vec<_> = names(dir, Path::is_dir)
        .into_iter()
        .flat_map(|room| {
            names(&dir.join(&room), is_test)
                .into_iter()
                .map(move |name| (name, room.clone()))
        })
        .collect();
    tests.sort();
    tests
        .into_iter()
        .map(|(name, room)| dir.join(room).join(name))
        .collect()
}

/// Whether a test is one of those that are run when none is named: its name begins with a digit.
fn is_numbered(test: &Path) -> bool {
    let name = test.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(|c: char| c.is_ascii_digit())
}

fn find_test(dir: &Path, name: &str) -> Result<PathBuf> {
    let is_it =
        |path: &PathBuf| path.ends_with(name) || path.file_stem().is_some_and(|stem| stem == name);
    let found = all_tests(dir).into_iter().find(is_it);
    found
        .or_else(|| Some(PathBuf::from(name)).filter(|path| path.is_file()))
        .with_context(|| format!("no test '{name}' in {}", dir.display()))
}

fn run(args: &Run) -> Result<bool> {
    let common = &args.common;
    let cache = images::cache()?;
    let tests = common.tests()?;
    let wanted: Vec<_> = if args.tests.is_empty() {
        all_tests(&tests)
            .into_iter()
            .filter(|test| is_numbered(test))
            .collect()
    } else {
        args.tests
            .iter()
            .map(|name| find_test(&tests, name))
            .collect::<Result<_>>()?
    };
    let mut specs = Vec::new();
    for path in &wanted {
        let mut spec = Spec::read(path, &tests)?;
        spec.timeout = args.timeout.map_or(spec.timeout, Duration::from_secs) * args.slow;
        common.adjust(&mut spec);
        // A test that is named twice runs twice, with a log for each.
        let before = specs
            .iter()
            .filter(|other: &&Spec| other.path == spec.path)
            .count();
        if before > 0 {
            spec.name = format!("{}-{}", spec.name, before + 1);
        }
        specs.push(spec);
    }
    let kernels = common.kernels(&cache)?;
    let single = specs.len() * kernels.len() == 1;
    let bench = Bench {
        accel: Accel::probe(&cache)?,
        tests,
        run_dir: images::run_dir(&cache)?,
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
    };
    let last = kernels.len().saturating_sub(1);
    let wanted = |at: usize, spec: &Spec| !spec.once || at == last || !args.tests.is_empty();
    let all: Vec<_> = kernels
        .iter()
        .enumerate()
        .flat_map(|(at, kernel)| specs.iter().map(move |spec| (at, kernel, spec)))
        .filter(|(at, _, spec)| wanted(*at, spec))
        .map(|(_, kernel, spec)| (kernel, spec))
        .collect();
    // A scenario takes all CPUs: it runs alone, after the tests with one VM.
    let (scenarios, singles): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|(_, spec)| spec.scenario);
    let jobs = if common.data_disk.is_some() {
        1
    } else {
        args.jobs.max(1)
    };
    let mut totals = run_all(&bench, singles, jobs);
    totals.add(run_all(&bench, scenarios, 1));
    fs::remove_dir_all(&bench.run_dir)?;
    let skipped = if totals.skipped > 0 {
        format!(", {} skipped", totals.skipped)
    } else {
        String::new()
    };
    println!(
        "{} passed, {} failed{skipped}",
        totals.passed, totals.failed
    );
    Ok(totals.failed == 0 && totals.passed + totals.skipped > 0)
}

fn run_all(bench: &Bench, work: Vec<(&Kernel, &Spec)>, jobs: usize) -> Totals {
    let queue = Mutex::new(VecDeque::from(work));
    let totals = Mutex::new(Totals::default());
    let worker = || loop {
        let next = queue.lock().unwrap().pop_front();
        let Some((kernel, spec)) = next else { return };
        let result = case::run(bench, kernel, spec).unwrap_or_else(|e| {
            println!("{} on {}: FAILED: {e:#}", spec.name, kernel.release);
            Totals {
                failed: 1,
                ..Totals::default()
            }
        });
        totals.lock().unwrap().add(result);
    };
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(worker);
        }
    });
    totals.into_inner().unwrap()
}

fn shell(args: &Shell) -> Result<()> {
    let cache = images::cache()?;
    let mut kernels = args.common.kernels(&cache)?;
    let kernel = kernels.pop().context("no kernel")?;
    let mut spec = Spec::empty("shell");
    spec.vms.push(spec::VmSpec::default());
    args.common.adjust(&mut spec);
    let bench = Bench {
        accel: Accel::probe(&cache)?,
        tests: args.common.tests()?,
        run_dir: images::run_dir(&cache)?,
        logs: cache.join("logs"),
        show: Show::Everything,
        data_disk: args.common.data_disk.clone(),
        args: Vec::new(),
        slow: 1,
        boot: Vec::new(),
    };
    shell::run(&bench, &kernel, &spec)
}
