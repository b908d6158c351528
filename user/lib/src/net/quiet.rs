// SPDX-License-Identifier: GPL-2.0
//! Keeps an IPv6 address quiet while it goes.
//!
//! When an address is deleted, nfsd closes the connections to it, and then they are destroyed
//! ([`super::sockets::destroy`]). Of IPv4, nothing of that gets out, as the kernel sends nothing from an
//! address that it does not have. Of IPv6, it does: the clients would see their connections end or reset,
//! connect anew at once, and wait for an answer when no server has the address, for as long again as it
//! was away; and no tickle ACK helps with a connection that is only just being made. So a rule for
//! routing (ip-rule(8)) drops what comes from the address meanwhile.

use std::io;
use std::net::{IpAddr, Ipv6Addr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::io::Errno;
use thiserror::Error;

use super::netlink::Line;

/// Before the rules of others, but for the table of the node's own addresses.
const PRIORITY: u32 = 1;

/// Why an address is not kept quiet, or stays so.
#[derive(Debug, Error)]
pub enum QuietError {
    /// The kernel refuses the rule.
    #[error("cannot keep {0} quiet: {1}")]
    Begin(Ipv6Addr, #[source] io::Error),
    /// The kernel does not delete the rule.
    #[error(
        "nothing gets out from {0} until this is done: `ip -6 rule del from {0} blackhole`: {1}"
    )]
    End(Ipv6Addr, #[source] io::Error),
}

/// As long as this lives, nothing gets out from some IPv6 addresses.
#[derive(Debug)]
#[must_use = "what is dropped does not keep anything quiet"]
pub(super) struct Quiet {
    addresses: Vec<Ipv6Addr>,
}

impl Quiet {
    /// Begins, before the addresses are deleted. Those of IPv4 need nothing, and a kernel without rules
    /// (`CONFIG_IPV6_MULTIPLE_TABLES`) cannot.
    ///
    /// # Errors
    ///
    /// [`QuietError::Begin`].
    pub(super) fn begin(addresses: &[IpAddr]) -> Result<Self, QuietError> {
        let mut quiet = Self {
            addresses: Vec::new(),
        };
        for address in addresses {
            if let IpAddr::V6(address) = *address {
                let request = RouteNetlinkMessage::NewRule(rule(address));
                match tell(request, NLM_F_CREATE | NLM_F_EXCL) {
                    Ok(()) | Err((Some(Errno::EXIST), _)) => quiet.addresses.push(address),
                    Err((Some(Errno::OPNOTSUPP | Errno::AFNOSUPPORT), _)) => (),
                    Err((_, source)) => return Err(QuietError::Begin(address, source)),
                }
            }
        }
        Ok(quiet)
    }

    /// Ends, after the connections were destroyed. To drop it does so, too, but cannot say that it failed.
    ///
    /// # Errors
    ///
    /// [`QuietError::End`].
    pub(super) fn end(mut self) -> Result<(), QuietError> {
        std::mem::take(&mut self.addresses)
            .into_iter()
            .try_for_each(speak)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        for address in &self.addresses {
            if let Err(error) = speak(*address) {
                tracing::error!("{error}");
            }
        }
    }
}

/// Lets an address speak again, also if who kept it quiet was killed.
pub(super) fn speak(address: Ipv6Addr) -> Result<(), QuietError> {
    match tell(RouteNetlinkMessage::DelRule(rule(address)), 0) {
        Ok(()) => Ok(()),
        Err((Some(Errno::NOENT | Errno::OPNOTSUPP | Errno::AFNOSUPPORT), _)) => Ok(()),
        Err((_, source)) => Err(QuietError::End(address, source)),
    }
}

/// The rule that drops what comes from an address.
fn rule(address: Ipv6Addr) -> RuleMessage {
    let mut rule = RuleMessage::default();
    rule.header.family = AddressFamily::Inet6;
    rule.header.src_len = 128;
    rule.header.action = RuleAction::Blackhole;
    rule.attributes = vec![
        RuleAttribute::Source(address.into()),
        RuleAttribute::Priority(PRIORITY),
    ];
    rule
}

/// Has the kernel do something, or says why not.
fn tell(request: RouteNetlinkMessage, flags: u16) -> Result<(), (Option<Errno>, io::Error)> {
    let told = Line::new(NETLINK_ROUTE).and_then(|mut line| line.tell(request, flags));
    told.map_err(|error| (Errno::from_io_error(&error), error))
}
