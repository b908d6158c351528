// SPDX-License-Identifier: GPL-2.0
//! What `nlm_unlock` says that it has released (`rust/control/release.rs`).

use super::{count, dash};
use crate::amount::Amount;
use crate::scope::{Fsid, Scope};

/// What was released.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Released {
    /// Of what.
    pub scope: Scope,
    /// NLM's locked ranges.
    pub locks: Option<u64>,
    /// NLM's requests that waited for a lock.
    pub blocks: Option<u64>,
    /// NLM's shares.
    pub shares: Option<u64>,
    /// Files that lockd had open.
    pub files: Option<u64>,
    /// Clients of NLM.
    pub clients: Option<u64>,
    /// NFSv4's open files, by owner.
    pub nfs4_opens: Option<u64>,
    /// NFSv4's locked ranges; `None` if they were too many to count.
    pub nfs4_locks: Option<u64>,
    /// Delegations.
    pub nfs4_delegations: Option<u64>,
    /// Layouts.
    pub nfs4_layouts: Option<u64>,
    /// Clients of NFSv4.
    pub nfs4_clients: Option<u64>,
    /// How much all of it was.
    pub holds: Option<Amount>,
    /// Exports below, which are scopes of their own and not released.
    pub below: Vec<Fsid>,
    /// What is still there, and why: the release is to be repeated.
    pub left: Vec<String>,
}

impl Released {
    /// Lines of a name and a value. A name that is not known is ignored; fails with a line that is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut released = None;
        for line in text.lines() {
            let wrong = || line.to_owned();
            let (name, value) = line.split_once(' ').ok_or_else(wrong)?;
            if name == "scope" {
                released = Some(Self::of(value.parse().map_err(|_| wrong())?));
                continue;
            }
            released
                .as_mut()
                .and_then(|this: &mut Self| this.set(name, value))
                .ok_or_else(wrong)?;
        }
        released.ok_or_else(|| "no scope".to_owned())
    }

    fn of(scope: Scope) -> Self {
        Self {
            scope,
            locks: None,
            blocks: None,
            shares: None,
            files: None,
            clients: None,
            nfs4_opens: None,
            nfs4_locks: None,
            nfs4_delegations: None,
            nfs4_layouts: None,
            nfs4_clients: None,
            holds: None,
            below: Vec::new(),
            left: Vec::new(),
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "locks" => self.locks = count(value)?,
            "blocks" => self.blocks = count(value)?,
            "shares" => self.shares = count(value)?,
            "files" => self.files = count(value)?,
            "clients" => self.clients = count(value)?,
            "nfs4_opens" => self.nfs4_opens = count(value)?,
            "nfs4_locks" => self.nfs4_locks = count(value)?,
            "nfs4_delegations" => self.nfs4_delegations = count(value)?,
            "nfs4_layouts" => self.nfs4_layouts = count(value)?,
            "nfs4_clients" => self.nfs4_clients = count(value)?,
            "holds" => self.holds = dash(value)?,
            "below" => self.below.push(value.parse().ok()?),
            "left" => self.left.push(value.to_owned()),
            _ => {}
        }
        Some(())
    }
}
