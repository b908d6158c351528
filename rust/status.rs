// SPDX-License-Identifier: GPL-2.0

//! What `/proc/fs/nfsd/client_tracking` shows.

use crate::nfsd::{Net, NfsdNet};
use crate::tracker::Tracker;
use kernel::seq_file::SeqFile;
use kernel::seq_print;

/// Shows the client tracking of `net`. May sleep.
pub(crate) fn show(m: &SeqFile, net: Net, nn: &NfsdNet) {
    if Tracker::with(net, |tracker| show_tracker(m, nn, tracker)).is_none() {
        let state = match (nn.is_running(), nn.tracking_ops().is_null()) {
            (false, _) => "off",
            (true, false) => "stock",
            (true, true) => "failed",
        };
        seq_print!(m, "state {state}\n");
    }
}

fn show_tracker(m: &SeqFile, nn: &NfsdNet, tracker: &Tracker) {
    let state = tracker.pipe.handler.state();
    let records = state.records.counts();
    let stats = state.stats;
    seq_print!(
        m,
        "state {}\n",
        if tracker.is_ready(nn) {
            "active"
        } else {
            "starting"
        }
    );
    seq_print!(
        m,
        "daemon {}\n",
        if state.daemon { "present" } else { "absent" }
    );
    seq_print!(m, "version {}\n", state.version as u8);
    seq_print!(
        m,
        "grace {}\n",
        if nn.grace_ended() { "ended" } else { "active" }
    );
    seq_print!(m, "in_flight {}\n", state.in_flight());
    for (command, tally) in stats.tallies() {
        seq_print!(
            m,
            "{} {} failed {}\n",
            command.name(),
            tally.sent,
            tally.failed
        );
    }
    seq_print!(m, "requeued {}\n", stats.requeued);
    seq_print!(m, "timed_out {}\n", stats.timed_out);
    seq_print!(m, "bad_downcalls {}\n", stats.bad_downcalls);
    seq_print!(m, "records_known {}\n", records.known);
    seq_print!(m, "records_reclaimed {}\n", records.reclaimed);
    seq_print!(m, "records_complete {}\n", records.complete);
    seq_print!(m, "reclaims_refused {}\n", stats.refused);
}
