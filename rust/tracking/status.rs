// SPDX-License-Identifier: GPL-2.0

//! What `/proc/fs/nfsd/client_tracking` shows.

use crate::base::net::Nfsd;
use crate::base::text::Text;
use crate::nfs4::formers;
use crate::nfs4::nfsd::NfsdNet;
use crate::tracking::state::Stage;
use crate::tracking::tracker::Tracker;
use core::fmt::{self, Write};
use kernel::prelude::*;

/// Shows the client tracking of a namespace. May sleep.
pub(crate) fn show(nfsd: Nfsd<'_>, m: &mut Text) -> Result {
    let nn = NfsdNet::of(nfsd);
    match Tracker::with(nfsd.net(), |tracker| show_tracker(m, nn, tracker)) {
        Some(result) => result?,
        None => {
            let state = match (nn.is_running(), nn.tracking_ops().is_null()) {
                (false, _) => "off",
                (true, false) => "stock",
                (true, true) => "failed",
            };
            writeln!(m, "state {state}")?;
        }
    }
    if nn.is_running() {
        m.write_str("server_scope ")?;
        nn.with_name(|name| m.word(name))?;
        m.write_str("\n")?;
        writeln!(m, "former_selves {}", formers::count(nfsd.net()))?;
    }
    Ok(())
}

fn show_tracker(m: &mut Text, nn: &NfsdNet, tracker: &Tracker) -> fmt::Result {
    let state = tracker.pipe.handler.state();
    let records = state.records.counts();
    let stats = state.stats;
    let name = match (tracker.is_in_use(nn), state.stage) {
        (false, _) => "starting",
        (true, Stage::Waiting) => "waiting",
        (true, _) => "active",
    };
    writeln!(m, "state {name}")?;
    writeln!(
        m,
        "daemon {}",
        if state.daemon { "present" } else { "absent" }
    )?;
    writeln!(m, "version {}", state.version as u8)?;
    writeln!(
        m,
        "grace {}",
        if nn.grace_ended() { "ended" } else { "active" }
    )?;
    let (in_flight, in_line) = state.in_flight();
    writeln!(m, "in_flight {in_flight}")?;
    writeln!(m, "in_line {in_line}")?;
    let changes = state.changes.counts();
    writeln!(m, "to_store {}", changes.stored)?;
    writeln!(m, "to_remove {}", changes.removed)?;
    writeln!(m, "grace_done_due {}", u8::from(state.grace_done_due))?;
    for (command, tally) in stats.tallies() {
        writeln!(
            m,
            "{} {} failed {}",
            command.name(),
            tally.sent,
            tally.failed
        )?;
    }
    writeln!(m, "requeued {}", stats.requeued)?;
    writeln!(m, "timed_out {}", stats.timed_out)?;
    writeln!(m, "retried {}", stats.retried)?;
    writeln!(m, "lost {}", stats.lost)?;
    writeln!(m, "bad_downcalls {}", stats.bad_downcalls)?;
    writeln!(m, "records_known {}", records.known)?;
    writeln!(m, "records_reclaimed {}", records.reclaimed)?;
    writeln!(m, "records_complete {}", records.complete)?;
    writeln!(m, "reclaims_refused {}", stats.refused)?;
    writeln!(m, "reclaimers_awaited {}", state.records.awaited())?;
    writeln!(m, "holds {}", state.holds.count())?;
    writeln!(m, "exports_held {}", state.holds.held().count())?;
    writeln!(m, "all_held {}", u8::from(state.all_held.is_heard()))
}
