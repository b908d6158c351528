// SPDX-License-Identifier: GPL-2.0
//! Load for an NFSv4.1 server, from any number of clients.

mod cli;
mod client;
mod names;
mod net;
mod nlm;
mod ops;
mod pace;
mod problem;
mod progress;
mod report;
mod rpc;
mod run;
mod stats;
mod steps;
mod worker;
mod xdr;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = cli::Options::parse();
    if let Err(message) = options.check() {
        cli::Options::command()
            .error(ErrorKind::ValueValidation, message)
            .exit();
    }
    let report = match run::run(&options) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("nfs4load: {error:#}");
            return ExitCode::from(2);
        }
    };
    if options.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.table());
    }
    ExitCode::from(u8::from(report.failed > 0))
}
