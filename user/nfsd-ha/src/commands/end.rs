// SPDX-License-Identifier: GPL-2.0
//! `nfsd-ha end`: end a grace period.

use crate::{output, Common};
use anyhow::Result;
use nfsd_ha::control::Control;
use nfsd_ha::scope::Scope;

#[derive(clap::Args)]
#[command(after_help = "Example: nfsd-ha end 1234")]
pub struct Args {
    /// The number in fsid=, a UUID, dev:MAJOR:MINOR or ip:ADDRESS
    scope: Scope,
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let scope = &self.scope;
        Control::open()?.end_grace(scope)?;
        if common.json {
            output::json(&serde_json::json!({ "scope": scope }))
        } else {
            output::print(&format!("{scope}: not in grace\n"))
        }
    }
}
