// SPDX-License-Identifier: GPL-2.0
//! `nfsd-ha drain`: have the clients of an address leave in order, before it goes.

use crate::failure::{Failure, Status};
use crate::{drain, output, Common};
use anyhow::Result;
use nfsd_ha::control::{Control, DrainState, Then, MAX_DRAIN_SECONDS};
use nfsd_ha::net::address;
use serde::Serialize;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Instant;

/// How long clients have to close their connections, in seconds.
const SECONDS: u32 = 10;

/// Nothing that comes to the address is executed any more; what is under way is answered, and connections are
/// closed. Returns when there are none, and goes on refusing clients, also when the address is removed, until
/// --end. Clients of other addresses notice nothing.
///
/// With --keep the connections stay, and say nothing: the next server at the address is to reset them, as move-in
/// does. Linux clients come there at once then, where those that were closed try here first, and then wait.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  nfsd-ha drain 192.0.2.50
  nfsd-ha drain 2001:db8::50 30
  nfsd-ha drain --keep 192.0.2.50
  nfsd-ha drain --end 192.0.2.50")]
pub struct Args {
    /// The server's address. With a dash before it, as for the control file, it is served again
    #[arg(allow_hyphen_values = true)]
    address: Word,
    /// How long its clients have to close their connections, 0 to 600 seconds: who has not is reset [default: 10]
    #[arg(value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_DRAIN_SECONDS)), conflicts_with = "end")]
    seconds: Option<u32>,
    /// Keep the connections when what is under way is answered
    #[arg(long, conflicts_with = "end")]
    keep: bool,
    /// Have the address served again
    #[arg(long)]
    end: bool,
}

/// `ADDRESS` or `-ADDRESS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word {
    address: IpAddr,
    ends: bool,
}

impl FromStr for Word {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let address = word.strip_prefix('-');
        match address.unwrap_or(word).parse::<IpAddr>() {
            Ok(parsed) => Ok(Self {
                address: parsed.to_canonical(),
                ends: address.is_some(),
            }),
            Err(_) => Err("write an address of this server, such as 192.0.2.50 or fd77::50".into()),
        }
    }
}

/// What is printed as JSON.
#[derive(Default, Serialize)]
pub(super) struct Report {
    pub address: Option<IpAddr>,
    pub closed: Option<u64>,
    pub reset: Option<u64>,
    pub refused: Option<u64>,
    pub kept: Option<u64>,
    pub seconds: Option<f64>,
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let control = Control::open()?;
        let address = self.address.address;
        let mut report = Report {
            address: Some(address),
            ..Report::default()
        };
        if self.end || self.address.ends {
            if self.seconds.is_some() || self.keep {
                let text = "-ADDRESS takes no seconds, and keeps nothing";
                return Err(Failure::new(Status::Usage, text));
            }
            control.end_drain(address)?;
            return match common.json {
                true => output::json(&report),
                false => output::print(&format!("{address}: does not drain\n")),
            };
        }
        if !address::all()?.iter().any(|one| one.address == address) {
            output::warn(&format!("{address} is not an address of this node"));
        }
        let began = Instant::now();
        let seconds = self.seconds.unwrap_or(SECONDS);
        let then = match self.keep {
            true => Then::Keep,
            false => Then::Close,
        };
        let drains = drain::drain(&control, &[address], seconds, then)?;
        let seconds = began.elapsed().as_secs_f64();
        let said = drain::said_of(&drains);
        let served = format!("to have it served again: nfsd-ha drain --end {address}");
        match drains.first().map(|drain| drain.state) {
            Some(DrainState::Drained {
                closed,
                reset,
                refused,
                kept,
            }) => {
                report.kept = Some(kept);
                report.closed = Some(closed);
                report.reset = Some(reset);
                report.refused = Some(refused);
                report.seconds = Some(seconds);
            }
            _ => {
                let text = format!(
                    "{said}, as nfsd has no thread that closes them: look at what its threads wait for; {served}"
                );
                return Err(Failure::new(Status::Failed, text));
            }
        }
        if common.json {
            return output::json(&report);
        }
        output::print(&format!("{said}, in {seconds:.2} s\n{served}\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn words() {
        let word = |word: &str| {
            word.parse::<Word>()
                .map(|w| (w.address.to_string(), w.ends))
        };
        assert_eq!(word("192.0.2.50"), Ok(("192.0.2.50".into(), false)));
        assert_eq!(word("-fd77::50"), Ok(("fd77::50".into(), true)));
        assert_eq!(word("::ffff:192.0.2.50"), Ok(("192.0.2.50".into(), false)));
        for wrong in ["", "-", "--192.0.2.50", "192.0.2", "192.0.2.50/24", "-x"] {
            assert!(word(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn both_ways_to_end_are_taken() {
        let taken = |words: &str| {
            let words = ["nfsd-ha", "drain"].into_iter().chain(words.split(' '));
            crate::Cli::command().try_get_matches_from(words).is_ok()
        };
        for words in [
            "192.0.2.50",
            "192.0.2.50 0",
            "192.0.2.50 600",
            "-192.0.2.50",
            "-fd77::50",
            "--end 192.0.2.50",
            "192.0.2.50 --end",
            "--keep 192.0.2.50 5",
            "--json 192.0.2.50 5",
        ] {
            assert!(taken(words), "{words}");
        }
        for words in [
            "",
            "192.0.2.50 601",
            "192.0.2.50 -1",
            "192.0.2.50 x",
            "--end 192.0.2.50 5",
            "--end --keep 192.0.2.50",
            "--nonsense",
            "192.0.2.50 5 6",
        ] {
            assert!(!taken(words), "{words}");
        }
    }
}
