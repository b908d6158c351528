// SPDX-License-Identifier: GPL-2.0
//! A run: connections, threads, and the end.

use crate::cli::Options;
use crate::client::Context;
use crate::names::Names;
use crate::net::Link;
use crate::nlm;
use crate::progress::Progress;
use crate::report::{Report, Row};
use crate::stats::StepStats;
use crate::steps::{self, Call, Phase, Step};
use crate::worker::Worker;
use anyhow::{ensure, Context as _, Result};
use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

/// What all threads know.
pub struct Shared {
    /// The NFS server.
    pub server: SocketAddr,
    /// Its lockd, for `nlm-loop`.
    pub lockd: Option<SocketAddr>,
    /// What the clients do.
    pub phases: Vec<Phase>,
    /// The number of steps in all phases.
    pub rows: usize,
    /// The time for a request.
    pub timeout: Duration,
    /// The first pause before a request is made again.
    pub pause: Duration,
    /// How long a step may take before no request is made again.
    pub give_up: Duration,
    /// The time between two clients of a connection, if it is bounded.
    pub interval: Option<Duration>,
    /// Go on when a connection is lost, or the server has restarted.
    pub keep_going: bool,
    /// Where the names of clients go who have had the answer after which they can reclaim.
    pub acked: Option<File>,
    /// Which answer that is: of OPEN, or of RECLAIM_COMPLETE if nothing is opened.
    pub acknowledges: Call,
    /// The bits of xids that differ from run to run.
    pub first_xid: u32,
    /// Where threads wait for the others before a phase.
    pub barrier: Barrier,
    /// To end.
    pub stop: AtomicBool,
    /// The phase.
    pub phase: AtomicUsize,
    /// Clients that have ended the phase, or in a loop requests.
    pub done: AtomicU64,
    /// Clients that have failed.
    pub failed: AtomicU64,
    /// Requests that were made again.
    pub retried: AtomicU64,
    /// Connections that were lost.
    pub lost: AtomicU64,
}

impl Shared {
    /// A phase begins.
    pub fn begin_phase(&self, number: usize) {
        self.done.store(0, Relaxed);
        self.phase.store(number, Relaxed);
    }
}

/// Random bytes.
fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Does it all.
pub fn run(options: &Options) -> Result<Report> {
    let names = match &options.names_from {
        Some(path) => Names::listed(
            &std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?,
        ),
        None => Names::numbered(options.prefix.clone(), options.first),
    };
    let clients = match (&names, options.clients) {
        (Names::Listed(names), clients) => names.len().min(clients.unwrap_or(u32::MAX) as usize),
        (_, clients) => clients.unwrap_or(100) as usize,
    };
    ensure!(clients > 0, "there are no clients");
    let in_flight = (options.in_flight as usize).min(clients);
    let connections = (options.connections.unwrap_or(16) as usize).min(in_flight);
    let timeout = Duration::from_secs(options.timeout);
    let phases = steps::phases(
        &options.steps,
        options.phases,
        Duration::from_secs_f64(options.seconds),
        Duration::from_secs_f64(options.hold),
    );
    let nlm = phases
        .iter()
        .any(Phase::is_nlm)
        .then(|| {
            let path = options.mount_path.as_ref().unwrap_or(&options.export);
            nlm::set_up(options.server, path, timeout)
        })
        .transpose()?;
    let acked = options.acked.as_ref().map(|path| {
        File::options()
            .append(true)
            .create(true)
            .open(path)
            .with_context(|| format!("{}", path.display()))
    });
    let shared = Shared {
        server: SocketAddr::new(options.server, options.port),
        lockd: nlm.as_ref().map(|nlm| nlm.lockd),
        rows: phases.iter().map(|phase| phase.steps.len()).sum(),
        acknowledges: match options.steps.contains(&Step::Open) {
            true => Call::Open,
            false => Call::Complete,
        },
        phases,
        timeout,
        pause: Duration::from_millis(options.pause_ms),
        give_up: Duration::from_secs_f64(options.give_up),
        interval: options
            .rate
            .map(|rate| Duration::from_secs_f64(connections as f64 / rate)),
        keep_going: options.keep_going,
        acked: acked.transpose()?,
        first_xid: u32::from_ne_bytes(random()?),
        barrier: Barrier::new(connections),
        stop: AtomicBool::new(false),
        phase: AtomicUsize::new(0),
        done: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        retried: AtomicU64::new(0),
        lost: AtomicU64::new(0),
    };
    let names = Arc::new(names);
    let verifier = options.verifier.map_or_else(random, Ok)?;
    let mut workers = Vec::new();
    for number in 0..connections {
        let link = Link::connect(shared.server, timeout)
            .with_context(|| format!("cannot connect to {}", shared.server))?;
        let cx = Context {
            names: names.clone(),
            verifier,
            path: options
                .export
                .split('/')
                .filter(|s| !s.is_empty())
                .map(str::to_owned)
                .collect(),
            directory: None,
            v3_directory: nlm
                .as_ref()
                .map_or_else(Vec::new, |nlm| nlm.directory.clone()),
            cache: options.keep_going,
            lease: None,
        };
        let numbers = (number..clients)
            .step_by(connections)
            .map(|client| client as u32);
        let slots = in_flight / connections + usize::from(number < in_flight % connections);
        workers.push(Worker::new(&shared, cx, link, numbers, slots));
    }
    let progress = Progress::new(&shared, clients, options.quiet);
    let began = Instant::now();
    let workers = run_workers(&shared, workers, progress)?;
    let ended = workers
        .iter()
        .map(|worker| worker.ended)
        .max()
        .unwrap_or(began);
    Ok(report(&shared, clients, ended - began, &workers))
}

/// Runs each in a thread; shows the progress meanwhile, and listens to signals.
fn run_workers<'a>(
    shared: &'a Shared,
    workers: Vec<Worker<'a>>,
    mut progress: Progress,
) -> Result<Vec<Worker<'a>>> {
    // The threads inherit that these signals wait for who reads them.
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    signals.thread_block()?;
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let running = AtomicUsize::new(workers.len());
    thread::scope(|scope| {
        let threads: Vec<_> = workers
            .into_iter()
            .map(|mut worker| {
                let running = &running;
                scope.spawn(move || {
                    worker.run();
                    running.fetch_sub(1, Relaxed);
                    worker
                })
            })
            .collect();
        while running.load(Relaxed) > 0 {
            let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, 50u16) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) if signals.read_signal()?.is_some() => shared.stop.store(true, Relaxed),
                Ok(_) => {}
                Err(e) => return Err(e.into()),
            }
            progress.show();
        }
        progress.end();
        Ok(threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect())
    })
}

fn report(shared: &Shared, clients: usize, took: Duration, workers: &[Worker]) -> Report {
    let steps = shared.phases.iter().flat_map(|phase| &phase.steps);
    let rows = steps.enumerate().map(|(number, step)| {
        let mut stats = StepStats::default();
        for worker in workers {
            stats.merge(&worker.stats[number]);
        }
        Row {
            step: step.name(),
            stats,
        }
    });
    Report {
        clients: clients as u64,
        seconds: took.as_secs_f64(),
        rows: rows.collect(),
        failed: shared.failed.load(Relaxed),
        unfinished: workers.iter().map(|worker| worker.unfinished).sum(),
        lost: shared.lost.load(Relaxed),
    }
}
