// SPDX-License-Identifier: GPL-2.0

//! Which files we add to `/proc/fs/nfsd`.
//!
//! They are root's. Others may read them if the admin gives these a group (`readers_gid`): a look into them takes
//! lockd's and nfsd's locks, and tells who uses the server.

use crate::base::fsfile::{Kind, News, Opened};
use crate::base::net::Nfsd;
use crate::base::text::Text;
use crate::control::fsid_grace;
use crate::control::recount::Recount;
use crate::control::release;
use crate::drain::drainer;
use crate::nfs4::floating;
use crate::nfs4::nfs4_clients;
use crate::nfs4::nfsd::NfsdNet;
use crate::nfs4::reclaimers;
use crate::nlm::clients;
use crate::nlm::lines;
use crate::nlm::lockd;
use crate::reexport::status as originals;
use crate::tracking::status;
use kernel::prelude::*;

/// The files.
pub(crate) static FILES: [Kind; 10] = [
    Kind {
        name: c"client_tracking",
        show: status::show,
        write: None,
        news: None,
    },
    Kind {
        name: c"nlm_unlock",
        show: nothing,
        write: Some(unlock),
        news: None,
    },
    FSID_GRACE,
    Kind {
        // The name that the published fail-over procedure has for it.
        name: c"nlm_set_ip_grace",
        ..FSID_GRACE
    },
    Kind {
        name: c"reclaim_clients",
        show: reclaimers::show,
        write: Some(list_clients),
        news: None,
    },
    Kind {
        name: c"nfs4_clients",
        show: nfs4_clients::show,
        write: None,
        news: None,
    },
    Kind {
        name: c"originals",
        show: originals::show,
        write: None,
        news: None,
    },
    Kind {
        name: c"floating_addresses",
        show: floating::show,
        write: Some(float),
        news: None,
    },
    Kind {
        name: c"drain",
        show: drainer::show,
        write: Some(drainer::write),
        news: Some(News {
            sequence: drainer::sequence,
            register: drainer::register,
            closed: drainer::closed,
        }),
    },
    Kind {
        name: c"nlm_clients",
        show: lines::show,
        write: Some(lines::write),
        news: Some(News {
            sequence: clients::sequence,
            register: clients::register,
            closed: clients::closed,
        }),
    },
];

const FSID_GRACE: Kind = Kind {
    name: c"fsid_grace",
    show: fsid_grace::show,
    write: Some(grace),
    news: None,
};

/// A file that shows something after a write only.
fn nothing(_: Nfsd<'_>, _: &mut Text) -> Result {
    Ok(())
}

/// For [`release::write`].
fn unlock(file: &Opened, data: &[u8], out: &mut Text) -> Result {
    release::write(file.nfsd(), data, out)
}

/// For [`fsid_grace::write`]: without seconds, a grace period lasts as long as the longer of lockd's
/// and nfsd's own.
fn grace(file: &Opened, data: &[u8], out: &mut Text) -> Result {
    let own = NfsdNet::of(file.nfsd()).grace_seconds();
    let default = own.max(lockd::grace_seconds(file.nfsd()));
    fsid_grace::write(file.nfsd().net(), default, data, out)?;
    Recount::wake(file.nfsd().net());
    Ok(())
}

/// For [`reclaimers::write`].
fn list_clients(file: &Opened, data: &[u8], out: &mut Text) -> Result {
    reclaimers::write(file.nfsd().net(), data, out)?;
    Recount::wake(file.nfsd().net());
    Ok(())
}

/// For [`floating::write`].
fn float(file: &Opened, data: &[u8], out: &mut Text) -> Result {
    floating::write(file.nfsd(), data, out)
}
