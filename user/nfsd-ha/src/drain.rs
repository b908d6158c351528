// SPDX-License-Identifier: GPL-2.0
//! Draining addresses: before they go, what is under way is answered, and connections are closed in order.

use crate::output::progress;
use anyhow::{bail, Result};
use nfsd_ha::control::{Control, Drain, DrainState, Then};
use std::net::IpAddr;

/// Drains addresses, with as many seconds as that may take, and waits until they are drained. They refuse clients
/// until [`end`], also if this fails.
pub fn drain(
    control: &Control,
    addresses: &[IpAddr],
    seconds: u32,
    then: Then,
) -> Result<Vec<Drain>> {
    for address in addresses {
        control.drain(*address, seconds, then)?;
    }
    let drains = progress::while_showing("draining", |show| {
        control.await_drained(addresses, seconds, &mut |drains| show(said_of(drains)))
    })?;
    let is_there = |address: &&IpAddr| {
        let address = address.to_canonical();
        drains.iter().any(|drain| drain.address == address)
    };
    if let Some(address) = addresses.iter().find(|address| !is_there(address)) {
        bail!("somebody has ended the drain of {address}: clients are served there");
    }
    Ok(drains)
}

/// Has those of some addresses that drain served again. Returns them. A module that cannot drain has none.
pub fn end(control: &Control, addresses: &[IpAddr]) -> Result<Vec<IpAddr>> {
    let drain = control.drains()?.unwrap_or_default().into_iter();
    let drain: Vec<IpAddr> = drain.map(|drain| drain.address).collect();
    let mut ended = Vec::new();
    for address in addresses.iter().map(IpAddr::to_canonical) {
        if drain.contains(&address) {
            control.end_drain(address)?;
            ended.push(address);
        }
    }
    Ok(ended)
}

/// How far each address is, in short.
pub fn said_of(drains: &[Drain]) -> String {
    let said = drains.iter().map(|Drain { address, state }| match state {
        DrainState::Draining {
            connections,
            requests,
            left,
        } => format!(
            "{address}: {connections} connections are left with {requests} requests, for {left} s"
        ),
        DrainState::Drained {
            closed,
            reset,
            refused,
            kept,
        } => {
            let kept = match kept {
                0 => String::new(),
                kept => format!("{kept} connections have their answers, "),
            };
            format!(
                "{address}: {kept}{closed} connections closed, {reset} reset, {refused} refused"
            )
        }
    });
    let said: Vec<String> = said.collect();
    said.join("; ")
}
