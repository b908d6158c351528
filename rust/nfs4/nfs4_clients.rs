// SPDX-License-Identifier: GPL-2.0

//! `nfs4_clients`: what each NFSv4 client holds on each export.

use crate::base::net::Nfsd;
use crate::base::text::Text;
use crate::nfs4::formers;
use crate::nfs4::held::Held;
use crate::nfs4::nfs4_client::Nfs4Client;
use crate::nfs4::server::Server;
use crate::nfs4::stateids::Steps;
use crate::scopes::scope::Fsid;
use core::fmt::Write;
use core::net::IpAddr;
use kernel::prelude::*;

/// What a client holds on an export.
struct Row {
    fsid: Fsid,
    held: Held,
    client: usize,
}

/// A client.
struct Client {
    /// The end of its name in the names of all.
    name_end: usize,
    minor: u32,
    address: Option<IpAddr>,
    hash: Option<[u8; 32]>,
}

/// All clients, and what they hold.
#[derive(Default)]
struct Table {
    rows: KVVec<Row>,
    clients: KVVec<Client>,
    names: KVVec<u8>,
}

/// How much there is, or was while there was no room.
#[derive(Clone, Copy, Default)]
struct Size {
    rows: usize,
    clients: usize,
    names: usize,
}

impl Table {
    fn with_room(size: Size) -> Result<Self> {
        // For some that come meanwhile, too.
        let more = |n: usize| n + n / 8 + 8;
        Ok(Table {
            rows: KVVec::with_capacity(more(size.rows), GFP_KERNEL)?,
            clients: KVVec::with_capacity(more(size.clients), GFP_KERNEL)?,
            names: KVVec::with_capacity(more(size.names), GFP_KERNEL)?,
        })
    }

    /// Which client of the table has a name.
    fn position(&self, name: &[u8]) -> Option<usize> {
        let mut begin = 0;
        self.clients.iter().position(|client| {
            let own = &self.names[begin..client.name_end];
            begin = client.name_end;
            own == name
        })
    }

    /// Adds what a client holds, as far as there is room, so that nothing is allocated; to what is `known` of its name, or as
    /// that of a new one.
    fn add(
        &mut self,
        client: &Nfs4Client,
        known: Option<usize>,
        address: impl FnOnce() -> Option<IpAddr>,
        size: &mut Size,
        steps: &mut Steps,
    ) {
        let name = client.name();
        let first = self.rows.len();
        let at = known.unwrap_or(self.clients.len());
        let mut distinct = 0;
        client.each_held(steps, |fsid, held| {
            let known = self.rows[first..].iter_mut().find(|row| row.fsid == fsid);
            if let Some(row) = known {
                row.held += held;
                return;
            }
            distinct += 1;
            if self.rows.len() < self.rows.capacity() {
                let client = at;
                let _ = self.rows.push(Row { fsid, held, client }, GFP_ATOMIC);
            }
        });
        size.rows += distinct;
        if distinct == 0 || known.is_some() {
            return;
        }
        size.clients += 1;
        size.names += name.len();
        if self.clients.len() < self.clients.capacity()
            && self.names.capacity() - self.names.len() >= name.len()
        {
            let _ = self.names.extend_from_slice(name, GFP_ATOMIC);
            let client = Client {
                name_end: self.names.len(),
                minor: client.minor_version(),
                address: address(),
                hash: client.principal_hash(),
            };
            let _ = self.clients.push(client, GFP_ATOMIC);
        }
    }

    /// Adds rows of former selves to those that their new selves have of the same export; these are before `first`.
    fn merge(&mut self, first: usize) {
        for at in first..self.rows.len() {
            let (known, rest) = self.rows.split_at_mut(at);
            let one = &mut rest[0];
            let is_same = |row: &&mut Row| row.client == one.client && row.fsid == one.fsid;
            if let Some(row) = known.iter_mut().find(is_same) {
                row.held += core::mem::take(&mut one.held);
            }
        }
        self.rows.retain(|row| !row.held.is_empty());
    }

    fn has(&self, size: Size) -> bool {
        let Size {
            rows,
            clients,
            names,
        } = size;
        (self.rows.len(), self.clients.len(), self.names.len()) == (rows, clients, names)
    }
}

/// Shows what each client holds on each export, after a line that says what is in a line. May sleep.
///
/// Fails with `EBUSY` if the server starts or stops for long, with `EINTR` after a signal, and with
/// `ENOMEM`.
pub(crate) fn show(nfsd: Nfsd<'_>, out: &mut Text) -> Result {
    out.write_str("# fsid client opens locks delegations layouts minor address principal holds\n")?;
    let Some(server) = Server::get(nfsd)? else {
        return Ok(());
    };
    let (mut table, mut own) = (Table::default(), 0);
    loop {
        let (mut size, mut steps) = (Size::default(), Steps::of_listing());
        // What a client has reclaimed meanwhile would be there twice, or not at all.
        formers::with(|formers| {
            let clients = server.clients();
            clients.for_each(|client| {
                let address = || client.connection(&server);
                table.add(client, None, address, &mut size, &mut steps);
            });
            drop(clients);
            own = table.rows.len();
            for former in formers.iter().filter(|one| one.is_in(nfsd.net())) {
                let known = table.position(former.client().name());
                table.add(former.client(), known, || None, &mut size, &mut steps);
            }
        });
        if table.has(size) {
            break;
        }
        table = Table::with_room(size)?;
    }
    // The text is charged to the reader's cgroup, which may let it wait for memory.
    drop(server);
    table.merge(own);
    for Row { fsid, held, client } in &table.rows {
        let begin = client
            .checked_sub(1)
            .map_or(0, |before| table.clients[before].name_end);
        let Client {
            name_end,
            minor,
            address,
            hash,
        } = &table.clients[*client];
        write!(out, "{fsid} ")?;
        out.word(&table.names[begin..*name_end])?;
        let (locks, amount) = (held.shown_locks(), held.shown_amount());
        let Held {
            opens,
            delegations,
            layouts,
            ..
        } = held;
        write!(out, " {opens} {locks} {delegations} {layouts} {minor} ")?;
        match address {
            Some(address) => write!(out, "{address} ")?,
            None => out.write_str("- ")?,
        }
        match hash {
            Some(hash) => out.hex(hash)?,
            None => out.write_str("-")?,
        }
        writeln!(out, " {amount}")?;
    }
    Ok(())
}
