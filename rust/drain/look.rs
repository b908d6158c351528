// SPDX-License-Identifier: GPL-2.0

//! A look at the connections of a server: which of them belong to an address that drains, and what comes next for each.

use crate::base::net::Net;
use crate::base::transport::{Service, Transport};
use crate::drain::order::Then;
use crate::drain::transport::{Pinned, Progress};
use core::net::IpAddr;
use kernel::prelude::*;

/// How many connections are pinned at a time.
const BATCH: usize = 256;
/// How many times in one look.
const ROUNDS: usize = 64;

/// An address to look for, and what is found of it.
pub(crate) struct Target {
    pub(crate) address: IpAddr,
    /// All of its connections are to drain, and not only those that do so already.
    pub(crate) refuses: bool,
    /// The time is over.
    pub(crate) over: bool,
    /// What becomes of them.
    then: Then,
    pub(crate) found: Found,
    /// What was found of it at the servers before this one.
    before: Found,
}

impl Target {
    pub(crate) fn new(address: IpAddr, refuses: bool, over: bool, then: Then) -> Self {
        Target {
            address,
            refuses,
            over,
            then,
            found: Found::default(),
            before: Found::default(),
        }
    }
}

/// Connections that are pinned, which of the targets each belongs to, and what comes next for it.
pub(crate) struct Batch(KVec<(Pinned, usize, Step)>);

impl Batch {
    /// An empty one. Fails with `ENOMEM`. May sleep.
    pub(crate) fn new() -> Result<Self> {
        Ok(Batch(KVec::with_capacity(BATCH, GFP_KERNEL)?))
    }
}

/// What was found of an address, at the end of a look.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Connections, also those that are about to be closed.
    pub(crate) connections: u32,
    /// Those that nobody has said yet are to be closed.
    pub(crate) open: u32,
    /// Requests that are under way.
    pub(crate) requests: u32,
    /// Connections that are kept, on which nothing is under way.
    pub(crate) kept: u32,
    /// Connections that were closed in order.
    pub(crate) closed: u32,
    /// Connections that were reset.
    pub(crate) reset: u32,
}

/// What comes next for a connection.
#[derive(Clone, Copy)]
enum Step {
    Finish,
    Close,
    Reset,
}

/// What comes next for a connection that drains, if it is time. Does not sleep.
fn next(progress: Option<Progress>, idle: bool, over: bool) -> Option<Step> {
    match progress {
        Some(Progress::Closed) => Some(Step::Close),
        _ if over => Some(Step::Reset),
        Some(Progress::Acknowledged) if idle => Some(Step::Finish),
        Some(_) => None,
        // RDMA.
        None if idle => Some(Step::Close),
        None => None,
    }
}

/// Adds what is found of `transport` to its target. Returns which one it is, and what comes next. Does not sleep.
fn see(targets: &mut [Target], net: Net<'_>, transport: &Transport<'_>) -> Option<(usize, Step)> {
    if transport.net() != net {
        return None;
    }
    let [address, _] = transport.ends();
    let address = address?;
    let at = targets.iter().position(|one| one.address == address)?;
    let target = &mut targets[at];
    if target.refuses {
        transport.set_drains();
    } else if !transport.drains() {
        return None;
    }
    target.found.connections += 1;
    let under_way = transport.under_way();
    target.found.requests += under_way.requests;
    if !transport.is_open() {
        return None;
    }
    target.found.open += 1;
    let progress = transport.socket().map(|socket| socket.progress());
    let idle = under_way.requests == 0 && !under_way.callbacks;
    if target.then == Then::Keep && idle && progress == Some(Progress::Acknowledged) {
        target.found.kept += 1;
        return None;
    }
    Some((at, next(progress, idle, target.over)?))
}

/// Looks at the connections of a server, and does what comes next for each. May sleep; takes `sv_lock`, and the locks of
/// sockets.
pub(crate) fn look(
    service: &Service<'_>,
    net: Net<'_>,
    targets: &mut [Target],
    Batch(batch): &mut Batch,
) {
    for target in targets.iter_mut() {
        target.before = target.found;
    }
    for _ in 0..ROUNDS {
        // What is found now takes the place of what was found in the round before; what was done stays.
        for target in targets.iter_mut() {
            target.found = Found {
                closed: target.found.closed,
                reset: target.found.reset,
                ..target.before
            };
        }
        let _: Option<()> = service.find(|transport| {
            if let Some((at, step)) = see(targets, net, transport) {
                // There is room for it, so this does not fail.
                let _ = batch.push((transport.pin(), at, step), GFP_ATOMIC);
            }
            if batch.len() == BATCH {
                Some(())
            } else {
                None
            }
        });
        let full = batch.len() == BATCH;
        for (transport, at, step) in batch.iter() {
            let found = &mut targets[*at].found;
            match step {
                Step::Finish => {
                    transport.finish();
                    continue;
                }
                Step::Close => {
                    transport.close();
                    found.closed += 1;
                }
                Step::Reset => {
                    transport.reset();
                    found.reset += 1;
                }
            }
            found.open -= 1;
        }
        batch.clear();
        if !full {
            break;
        }
    }
}
