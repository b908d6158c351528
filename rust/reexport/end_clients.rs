// SPDX-License-Identifier: GPL-2.0

//! End clients that have gone: nfsd keeps what such a client holds until somebody wants it (a courtesy client), which at an
//! original server nobody can see.
//!
//! C source: `nfs4_get_client_reaplist()` in `fs/nfsd/nfs4state.c`.

use crate::base::clock::since_boot;
use crate::nfs4::nfs4_client::Nfs4Client;
use crate::nfs4::nfsd::NfsdNet;
use crate::nfs4::stateids::{Kind, Part};
use crate::reexport::file_systems;
use crate::reexport::holder;
use crate::reexport::nfs_client::NfsClient;
use crate::reexport::originals;
use kernel::bindings;

const SECOND: i64 = 1_000_000_000;

/// Is a client that has not renewed its lease to lose what it holds, as it has a lock on something that is re-exported, as far as
/// some thousand stateids say? Takes its `cl_lock`, and does not sleep.
///
/// While an original server does not answer, all threads of nfsd may wait for it, and no client here can renew its lease. So it
/// must have answered between the looks of nfsd's worker for a lease. Those come at least that often while a client's lease is
/// over, and after each the original server is asked.
///
/// nfsd asks under `client_lock`, so it is a bound on that. Who has more stateids than that, and locks by none of the first,
/// keeps its courtesy.
pub(crate) fn is_to_go(client: &Nfs4Client) -> bool {
    let lease = i64::from(NfsdNet::of(client.nfsd()).lease_seconds()) * SECOND;
    let is_over = {
        let state = client.lock_state();
        let part = state.find_part(0, |_, stateid| {
            let sb = stateid.file_system().cast_mut();
            // SAFETY: A stateid with locks has its file's file system, which is one of the NFS client's if it has our operations.
            unsafe {
                if stateid.kind() != Some(Kind::Lock) || !file_systems::is_one(sb) {
                    return None;
                }
                Some(has_answered(NfsClient::of_file_system(sb)?, lease))
            }
        });
        match part {
            Part::Found(is_over) => is_over,
            Part::More(_) | Part::End => return false,
        }
    };
    holder::look_again();
    is_over
}

/// Has an original server answered for a lease, in nanoseconds? It is to be asked again. Does not sleep.
fn has_answered(original: NfsClient<'_>, lease: i64) -> bool {
    // SAFETY: Jiffies are always there.
    let jiffies = unsafe { (&raw const bindings::jiffies).read_volatile() };
    let now = since_boot();
    let since = originals::with(original.number(), |one| {
        one.to_ask = true;
        one.answers_since = match one.looked {
            // Several clients are looked at in one go.
            Some((_, last)) if now - last < SECOND => return one.answers_since,
            Some((at, last)) if now - last <= 2 * lease && original.has_answered_since(at) => {
                one.answers_since.or(Some(last))
            }
            _ => None,
        };
        one.looked = Some((jiffies, now));
        one.answers_since
    });
    since.flatten().is_some_and(|since| now - since >= lease)
}
