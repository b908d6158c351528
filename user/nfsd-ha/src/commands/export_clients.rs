// SPDX-License-Identifier: GPL-2.0
//! `nfsd-ha export-clients`: write the list of the clients that hold something.

use crate::crashed;
use crate::moves::carried;
use crate::output::{self, progress};
use crate::Common;
use anyhow::Result;
use nfsd_ha::control::Control;
use nfsd_ha::list::{self, List};
use nfsd_ha::scope::Scope;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    nfsd-ha export-clients 1234 > /srv/meta/clients\n  \
    nfsd-ha export-clients --database /srv/a/nfsdcld 1234 > /srv/meta/clients\n  \
    nfsd-ha export-clients --database /srv/a/nfsd-ha/records.sqlite 1234 > /srv/meta/clients")]
pub struct Args {
    /// The number in fsid=, a UUID, dev:MAJOR:MINOR or ip:ADDRESS
    scope: Scope,
    /// List those on record of a server that has crashed: the database of its nfsdcld or nfsd-had, or the directory
    /// that it is in. If nfsd-had knows who held something there, only these
    #[arg(long, value_name = "DIR|FILE")]
    database: Option<PathBuf>,
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let database = common.database(&self.database);
        let list = progress::while_doing("looking for clients", || collect(&self.scope, database))?;
        // With --json, too: it is what takeover reads.
        output::print(&list.to_string())
    }
}

/// Those of this server, or of one that has crashed.
fn collect(scope: &Scope, database: Option<&Path>) -> Result<List> {
    if let Some(database) = database {
        let found = crashed::read(database, scope, &scope.into())?;
        let connections = found.connections.clone();
        let mut list = found.list();
        carried::note_connections(&mut list, &connections);
        return Ok(list);
    }
    let own = crate::database::own(None)?;
    Ok(list::of_server(&Control::open()?, &own, scope)?)
}
