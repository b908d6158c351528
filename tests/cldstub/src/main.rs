// SPDX-License-Identifier: GPL-2.0
//! A client tracking daemon that answers at once, or badly.

mod codec;
mod options;
mod serve;
mod stats;

use anyhow::Result;
use clap::Parser;
use nix::sys::signal::{SigSet, Signal};
use options::Options;
use serve::Daemon;
use stats::Stats;
use std::process::exit;
use std::thread;

fn main() -> Result<()> {
    let options = Options::parse();
    let stats = Stats::default();
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    // Before the other thread is there, which has the same mask.
    signals.thread_block()?;
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = signals.wait();
            end(&options, &stats, 0)
        });
        let code = match Daemon::new(&options, &stats).and_then(|mut daemon| daemon.run()) {
            Ok(()) => 0,
            Err(e) => {
                eprintln!("cldstub: {e:#}");
                1
            }
        };
        end(&options, &stats, code)
    })
}

/// Ends the process, whatever the threads do now.
fn end(options: &Options, stats: &Stats, code: i32) -> ! {
    if options.stats {
        println!("{}", stats.json());
    }
    exit(code)
}
