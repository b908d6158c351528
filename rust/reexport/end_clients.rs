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

const SECOND: i64 = 1_000_000_000;

/// Is a client that has not renewed its lease to lose what it holds, as it has a lock on something that is re-exported, as far as
/// some thousand stateids say? Takes its `cl_lock`, and does not sleep.
///
/// While an original server does not answer, all threads of nfsd may wait for it, and no client here can renew its lease. So it
/// must have answered for a lease, as far as nfsd's worker has looked, which comes that often while a lease is over.
///
/// nfsd asks under `client_lock`, so it is a bound on that. Who has more stateids than that, and locks by none of the first,
/// keeps its courtesy.
pub(crate) fn is_to_go(client: &Nfs4Client) -> bool {
    let found = {
        let state = client.lock_state();
        let part = state.find_part(0, |_, stateid| {
            let sb = stateid.file_system().cast_mut();
            // SAFETY: A stateid with locks has its file's file system, which is one of the NFS client's if it has our operations.
            unsafe {
                if stateid.kind() != Some(Kind::Lock) || !file_systems::is_one(sb) {
                    return None;
                }
                let original = NfsClient::of_file_system(sb)?;
                let lease = NfsdNet::of(client.nfsd()).lease_seconds();
                Some((original.number(), original.answers(lease * 1_000), lease))
            }
        });
        match part {
            Part::Found(found) => found,
            Part::More(_) | Part::End => return false,
        }
    };
    let (original, answers, lease) = found;
    let (now, lease) = (since_boot(), i64::from(lease) * SECOND);
    let since = originals::with(original, |one| {
        one.to_ask = !answers;
        one.answers = match one.answers {
            _ if !answers => None,
            Some((since, last)) if now - last <= 2 * lease => Some((since, now)),
            _ => Some((now, now)),
        };
        one.answers.map(|(since, _)| since)
    });
    if !answers {
        holder::look_again();
    }
    since.flatten().is_some_and(|since| now - since >= lease)
}
