// SPDX-License-Identifier: GPL-2.0
//! `nfsd-ha release`: release all locks of a scope, when its address is gone.

use crate::failure::{Failure, Status};
use crate::output::{self, or_dash, progress};
use crate::Common;
use anyhow::Result;
use nfsd_ha::control::{Control, Released};
use nfsd_ha::list::{Held, ListFile};
use nfsd_ha::scope::Scope;
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(after_help = "Example: nfsd-ha release 1234 /srv/meta/clients")]
pub struct Args {
    /// The number in fsid=, a UUID, dev:MAJOR:MINOR or ip:ADDRESS
    scope: Scope,
    /// The list that export-clients wrote: note in it that what is released is what it lists, if it is
    list: Option<PathBuf>,
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let scope = &self.scope;
        let control = Control::open()?;
        // Before anything is lost.
        let mut list = self.list.as_deref().map(ListFile::open).transpose()?;
        let released =
            progress::while_doing(format!("releasing {scope}"), || control.release(scope))
                .map_err(|error| Failure::not_released(scope, error))?;
        if common.json {
            output::json(&released)?;
        } else {
            output::print(&lines(&released))?;
        }
        if let (Some(list), Some(path)) = (&mut list, &self.list) {
            let listed = or_dash(list.list.held);
            let confirmed = list.confirm(&released).map_err(|e| {
                let text = format!("the scope is released, but the list is not changed: {e}");
                Failure::new(Status::Failed, text)
            })?;
            if !confirmed {
                output::warn(&format!(
                    "{} lists something else ({listed}) than was released ({}): the grace period of its \
                     clients will end by its time",
                    path.display(),
                    Held::of_release(&released),
                ));
            }
        }
        if !released.left.is_empty() {
            output::warn(&format!(
                "not all is released: {}; take the address away, then try again",
                released.left.join("; ")
            ));
            return Err(Failure::said(Status::Failed));
        }
        Ok(())
    }
}

/// What was released, as the module says it.
fn lines(released: &Released) -> String {
    let mut text = format!("scope {}\n", released.scope);
    for (name, number) in [
        ("locks", released.locks),
        ("blocks", released.blocks),
        ("shares", released.shares),
        ("files", released.files),
        ("clients", released.clients),
        ("nfs4_opens", released.nfs4_opens),
        ("nfs4_locks", released.nfs4_locks),
        ("nfs4_delegations", released.nfs4_delegations),
        ("nfs4_layouts", released.nfs4_layouts),
        ("nfs4_clients", released.nfs4_clients),
    ] {
        text += &format!("{name} {}\n", or_dash(number));
    }
    text += &format!("holds {}\n", or_dash(released.holds));
    for fsid in &released.below {
        text += &format!("below {fsid}\n");
    }
    for left in &released.left {
        text += &format!("left {left}\n");
    }
    text
}
