// SPDX-License-Identifier: GPL-2.0
//! `drain`: server addresses that are about to go (`rust/drain`).

use super::{each_line, Control, Error};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The longest time that an address may drain, in seconds.
pub const MAX_SECONDS: u32 = 600;
/// How much longer than their time to wait for connections to be closed: who is reset then is closed by a thread of
/// nfsd.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait at most for a change before the file is read again, as the seconds that are left are in it.
const LOOK: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// What becomes of a connection when its last answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is closed in order.
    Close,
    /// It is kept, for the next server at the address to reset it.
    Keep,
}

/// A server address that drains.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Drain {
    /// The address.
    pub address: IpAddr,
    /// How far it is.
    #[serde(flatten)]
    pub state: DrainState,
}

/// How far an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum DrainState {
    /// It has connections.
    Draining {
        /// How many.
        connections: u64,
        /// Requests that are worked on.
        requests: u64,
        /// How long they have to close, in seconds.
        left: u64,
    },
    /// It has none but those that are kept, and refuses new ones.
    Drained {
        /// Connections that were closed in order.
        closed: u64,
        /// Connections that were reset, as their clients had not closed them in time.
        reset: u64,
        /// New ones that were refused.
        refused: u64,
        /// Connections that are kept, on which nothing is under way; none if they are to be closed.
        kept: u64,
    },
}

impl Drain {
    /// `ADDRESS draining connections N requests N left N`, or `ADDRESS drained closed N reset N refused N [kept N]`
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let address = words.next()?.parse().ok()?;
        let state = words.next()?;
        let mut number = |name| match words.next() {
            Some(word) if word == name => words.next()?.parse().ok(),
            _ => None,
        };
        let state = match state {
            "draining" => DrainState::Draining {
                connections: number("connections")?,
                requests: number("requests")?,
                left: number("left")?,
            },
            "drained" => DrainState::Drained {
                closed: number("closed")?,
                reset: number("reset")?,
                refused: number("refused")?,
                kept: match line.contains(" kept ") {
                    true => number("kept")?,
                    false => 0,
                },
            },
            _ => return None,
        };
        Some(Self { address, state })
    }

    /// Is nothing under way any more?
    pub fn is_over(&self) -> bool {
        matches!(self.state, DrainState::Drained { .. })
    }
}

impl Control {
    /// `drain`: the addresses that drain; `None` if the module is an older one, which cannot do that.
    pub fn drains(&self) -> Result<Option<Vec<Drain>>, Error> {
        match self.parse("drain", |text| each_line(text, Drain::parse)) {
            Ok(drains) => Ok(Some(drains)),
            Err(Error::Absent { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Begins to drain an address: from now on nothing that comes to it is executed, and its connections are closed or
    /// kept. Who is not ready after so many seconds, [`MAX_SECONDS`] at most, is reset.
    pub fn drain(&self, address: IpAddr, seconds: u32, then: Then) -> Result<(), Error> {
        let address = address.to_canonical();
        let then = match then {
            Then::Close => "",
            Then::Keep => " keep",
        };
        self.tell("drain", &format!("{address} {seconds}{then}"))
            .map(drop)
    }

    /// Has an address that drains served again.
    pub fn end_drain(&self, address: IpAddr) -> Result<(), Error> {
        let address = address.to_canonical();
        self.tell("drain", &format!("-{address}")).map(drop)
    }

    /// Waits until addresses are drained that have so many seconds for it, and tells `see` how far they are. Returns what
    /// the module says of them at last: an address is missing if somebody has ended its drain, and it is not over
    /// if a connection is still there a while after its time.
    pub fn await_drained(
        &self,
        addresses: &[IpAddr],
        seconds: u32,
        see: &mut dyn FnMut(&[Drain]),
    ) -> Result<Vec<Drain>, Error> {
        let path = self.path("drain");
        let failed = |source| Error::Open {
            file: path.clone(),
            source,
        };
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(Error::Absent { file: path }),
            Err(e) => return Err(failed(e)),
        };
        let wanted: Vec<IpAddr> = addresses.iter().map(IpAddr::to_canonical).collect();
        let deadline = Instant::now() + Duration::from_secs(u64::from(seconds)) + PATIENCE;
        loop {
            let mut text = String::new();
            file.rewind().map_err(failed)?;
            file.read_to_string(&mut text).map_err(failed)?;
            let mut drains = self.parsed("drain", &text, |text| each_line(text, Drain::parse))?;
            drains.retain(|drain| wanted.contains(&drain.address));
            see(&drains);
            if drains.iter().all(Drain::is_over) || Instant::now() >= deadline {
                return Ok(drains);
            }
            // A signal only has it read again.
            let _ = poll(&mut [PollFd::new(&file, PollFlags::PRI)], Some(&LOOK));
        }
    }
}
