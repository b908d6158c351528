// SPDX-License-Identifier: GPL-2.0
//! All that `status` shows. Its fields are those of the JSON.

use anyhow::Result;
use nfsd_ha::control::{Control, Drain, Grace, Listed, Nfs4Client, NlmClient, Progress, Tracking};
use nfsd_ha::scope::Scope;
use nfsd_ha::statd;
use serde::Serialize;
use std::collections::HashMap;
use std::net::IpAddr;

/// What there is at a time. Numbers that are not known are null.
#[derive(Serialize)]
pub struct Report {
    /// What NFSv4.1 clients get as server scope; null while nfsd does not run.
    pub server_scope: Option<String>,
    /// Is the server in a grace period of its own, for NFSv4? Null while nfsd does not run.
    pub own_grace: Option<bool>,
    /// The lines of `client_tracking`.
    pub tracking: Tracking,
    pub floating_addresses: Vec<IpAddr>,
    /// Addresses that drain; null if the module cannot drain any.
    pub drains: Option<Vec<Drain>>,
    /// What the recorder says, nfsd-had or `nfsd-ha record`; null if there is none.
    pub recorder: Option<statd::Report>,
    /// The scopes in grace.
    pub grace: Vec<InGrace>,
    /// Who may reclaim.
    pub listed: Vec<Listed>,
    /// What NFSv4 clients hold.
    pub nfs4: Vec<Nfs4Client>,
    /// What NLM clients hold.
    pub nlm: Vec<NlmClient>,
}

/// A scope in grace, and how far those are who may reclaim there.
#[derive(Serialize)]
pub struct InGrace {
    #[serde(flatten)]
    pub grace: Grace,
    /// How many are listed.
    pub listed: usize,
    /// How many of these have reclaimed something, and are not known to have finished.
    pub reclaimed: usize,
    /// How many of these have finished.
    pub complete: usize,
}

impl Report {
    pub fn new(control: &Control) -> Result<Self> {
        let tracking = control.tracking()?;
        let listed = control.listed()?;
        let runs = tracking.state != "off";
        Ok(Self {
            server_scope: tracking.server_scope.clone(),
            own_grace: runs.then(|| control.in_own_grace()).transpose()?,
            tracking,
            floating_addresses: control.floating_addresses()?,
            drains: control.drains()?,
            recorder: statd::Report::read().unwrap_or_else(|e| {
                crate::output::warn(&format!("what the recorder says cannot be read: {e}"));
                None
            }),
            grace: graces(control, &listed)?,
            listed,
            nfs4: control.nfs4_clients()?,
            nlm: control.nlm_clients()?.clients,
        })
    }
}

/// The scopes in grace, with those who are listed.
pub fn graces(control: &Control, listed: &[Listed]) -> Result<Vec<InGrace>> {
    let mut counts: HashMap<Scope, [usize; 3]> = HashMap::new();
    for one in listed {
        let [all, reclaimed, complete] = counts.entry(one.scope).or_default();
        *all += 1;
        *reclaimed += usize::from(one.state == Progress::Reclaimed);
        *complete += usize::from(one.state == Progress::Complete);
    }
    let of = |grace: Grace| {
        let [listed, reclaimed, complete] = counts.get(&grace.scope).copied().unwrap_or_default();
        InGrace {
            grace,
            listed,
            reclaimed,
            complete,
        }
    };
    Ok(control.graces()?.into_iter().map(of).collect())
}
