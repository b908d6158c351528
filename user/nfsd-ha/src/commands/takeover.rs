// SPDX-License-Identifier: GPL-2.0
//! `nfsd-ha takeover`: let the clients on a list reclaim here, before they come.

use crate::output::{self, progress};
use crate::Common;
use anyhow::Result;
use nfsd_ha::control::Control;
use nfsd_ha::list;
use nfsd_ha::scope::Scope;
use nfsd_ha::takeover::{take_over, TakenOver, SECONDS_MAX};
use std::path::Path;

#[derive(clap::Args)]
#[command(after_help = "Example: nfsd-ha takeover 1234 90 < /srv/meta/clients")]
pub struct Args {
    /// The number in fsid=, a UUID, dev:MAJOR:MINOR or ip:ADDRESS
    scope: Scope,
    /// How long they may reclaim [default: as long as the server's own grace period]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(SECONDS_MAX)))]
    seconds: Option<u32>,
    /// Also if the servers' scopes differ: right if there are clients of NFSv4.0 and NLM only
    #[arg(long)]
    force: bool,
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let control = Control::open()?;
        let list = list::read(std::io::stdin().lock(), Path::new("standard input"))?;
        let force = common.force(self.force);
        let taken =
            progress::while_doing(format!("listing {} clients", list.clients.len()), || {
                take_over(&control, &list, &self.scope, self.seconds, force)
            })?;
        warn(&taken, &control);
        if common.json {
            output::json(&taken)
        } else {
            output::print(&format!("{}\n", said(&taken)))
        }
    }
}

/// Says what the admin should know.
pub fn warn(taken: &TakenOver, control: &Control) {
    match &taken.other_scope {
        Some((ours, theirs)) if ours.is_empty() => output::warn(&format!(
            "nfsd does not run here yet: start it with rpc.nfsd -S {theirs}, as on the other server"
        )),
        Some((ours, theirs)) => {
            output::warn(&format!(
                "the server scope is {ours} here and was {theirs} there"
            ));
        }
        None => {}
    }
    if taken.also_clients_here > 0 {
        output::warn(&format!(
            "{} of these clients are clients of this server already and will lose what they hold there: \
             before the next move, write the address that moves to {} on both servers, then let the \
             clients come",
            taken.also_clients_here,
            control.path("floating_addresses").display(),
        ));
    }
}

fn said(taken: &TakenOver) -> String {
    let TakenOver {
        scope,
        seconds,
        nfs4_clients,
        ..
    } = taken;
    let mut text =
        format!("{scope}: in grace for {seconds} s, {nfs4_clients} NFSv4 clients may reclaim");
    if taken.nlm_clients > 0 {
        text += &format!(", and {} of NLM", taken.nlm_clients);
    }
    if taken.nobody_else {
        text += "; it ends when they have";
    }
    text
}
