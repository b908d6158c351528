// SPDX-License-Identifier: GPL-2.0
//! Where this server's own daemon has its database.

use anyhow::Result;
use nfsd_ha::config::Config;
use nfsd_ha::records;
use std::path::{Path, PathBuf};

/// The variable of the environment that names it.
pub const VARIABLE: &str = "NFSD_HA_DATABASE";
/// Where nfsdcld keeps its own.
const NFSDCLD: &str = "/var/lib/nfs/nfsdcld";

/// The one that is named, by an option or by the environment. Else that of nfsd-had if it runs, or that of nfsdcld.
pub fn own(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    if let Some(named) = std::env::var_os(VARIABLE) {
        return Ok(named.into());
    }
    let records = Config::read(None)?.records.file;
    Ok(if records::is_in_use(&records) {
        records
    } else {
        NFSDCLD.into()
    })
}
