// SPDX-License-Identifier: GPL-2.0
//! What is asked of the daemon on its command line.

use crate::codec::{Command, NAME_MAX};
use clap::Parser;
use nix::errno::Errno;
use std::path::PathBuf;

/// Answers upcalls of client tracking as fast as it can, and keeps nothing.
#[derive(Parser)]
pub struct Options {
    /// The pipe; waited for until it is there
    #[arg(long, default_value = "/run/rpc_pipefs/nfsd/cld")]
    pub pipe: PathBuf,
    /// Clients on record, which GraceStart is answered with; their names are PREFIX0000000 and on
    #[arg(long, default_value_t = 0)]
    pub records: usize,
    /// How the names of --records begin
    #[arg(long, default_value = "client-", value_parser = prefix)]
    pub record_prefix: String,
    /// More clients on record: a file with a name on each line
    #[arg(long)]
    pub record_names: Option<PathBuf>,
    /// The highest version of the protocol
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=2))]
    pub version: u8,
    /// Wait for so many microseconds before each answer
    #[arg(long, default_value_t = 0)]
    pub delay: u64,
    /// Answer a command with an error, as in CREATE=EIO or REMOVE=5
    #[arg(long, value_delimiter = ',', value_parser = failure)]
    pub fail: Vec<(Command, i16)>,
    /// Never answer a command
    #[arg(long, value_delimiter = ',', value_parser = command)]
    pub mute: Vec<Command>,
    /// End at the K-th upcall of a command (the first by default) without answering it
    #[arg(long, value_name = "COMMAND[:K]", value_parser = death)]
    pub die_on: Option<(Command, u64)>,
    /// Print counts as JSON at the end, which comes with SIGTERM or SIGINT
    #[arg(long)]
    pub stats: bool,
    /// A file for a line on each upcall that was answered: "create NAME"
    #[arg(long)]
    pub log: Option<PathBuf>,
}

impl Options {
    /// The status to answer a command with: 0, or a negative errno.
    pub fn status(&self, command: Command) -> i16 {
        let failure = self.fail.iter().find(|(c, _)| *c == command);
        failure.map_or(0, |(_, errno)| -errno)
    }
}

fn prefix(text: &str) -> Result<String, String> {
    // Room for the digits of any number.
    if text.len() > NAME_MAX - 20 {
        return Err("too long".into());
    }
    Ok(text.into())
}

fn command(text: &str) -> Result<Command, String> {
    Command::from_name(text).ok_or_else(|| {
        let known = Command::ALL.map(Command::name).join(", ");
        format!("no command '{text}': there are {known}")
    })
}

fn failure(text: &str) -> Result<(Command, i16), String> {
    let (name, errno) = text.split_once('=').ok_or("want COMMAND=ERRNO")?;
    // A number, or the name of one of the errors that the kernel has.
    let number = errno.parse().ok().or_else(|| {
        (1..=133_i16).find(|n| format!("{:?}", Errno::from_raw(i32::from(*n))) == errno)
    });
    match number {
        Some(number @ 1..=4095) => Ok((command(name)?, number)),
        _ => Err(format!("no error '{errno}'")),
    }
}

fn death(text: &str) -> Result<(Command, u64), String> {
    let (name, count) = text.split_once(':').unwrap_or((text, "1"));
    match count.parse() {
        Ok(count @ 1..) => Ok((command(name)?, count)),
        _ => Err(format!("no count '{count}'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options, clap::Error> {
        Options::try_parse_from(std::iter::once("cldstub").chain(text.split_whitespace()))
    }

    #[test]
    fn takes_failures_by_name_and_by_number() {
        let options = parse("--fail CREATE=EIO,grace_done=28 --version 1").unwrap();
        assert_eq!(options.status(Command::Create), -5);
        assert_eq!(options.status(Command::GraceDone), -28);
        assert_eq!(options.status(Command::Remove), 0);
        assert_eq!(options.version, 1);
    }

    #[test]
    fn takes_the_place_of_a_death() {
        assert_eq!(
            parse("--die-on create").unwrap().die_on,
            Some((Command::Create, 1))
        );
        assert_eq!(
            parse("--die-on REMOVE:7").unwrap().die_on,
            Some((Command::Remove, 7))
        );
    }

    #[test]
    fn refuses_nonsense() {
        for text in [
            "--fail CREATE",
            "--fail CREATE=EWHAT",
            "--fail CREATE=0",
            "--mute nothing",
            "--die-on create:0",
            "--version 3",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
