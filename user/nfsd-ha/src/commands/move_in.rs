// SPDX-License-Identifier: GPL-2.0
//! `nfsd-ha move-in`: bring an export to this server.

use super::move_out::NOTIFY;
use crate::crashed;
use crate::failure::{Failure, Status};
use crate::moves::carried;
use crate::moves::here::{self, Exports, Here};
use crate::moves::steps::{Show, Steps};
use crate::moves::target;
use crate::output;
use crate::Common;
use anyhow::{Context, Result};
use nfsd_ha::control::Control;
use nfsd_ha::database::Wanted;
use nfsd_ha::exports::Export;
use nfsd_ha::journal::{Direction, Journal, Journals};
use nfsd_ha::list::{self, List, OnRecord};
use nfsd_ha::mounts::{Mounts, Source};
use nfsd_ha::net::address;
use nfsd_ha::net::connections::{self, Connection};
use nfsd_ha::net::place::{place, Placed};
use nfsd_ha::net::spec::Spec;
use nfsd_ha::scope::{Fsid, Scope};
use std::ffi::OsString;
use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  nfsd-ha move-in /srv/ha --address 192.0.2.50 --address 2001:db8::50/64@eth0 --list /root/srv-ha.list
  nfsd-ha move-in /srv/ha --address 192.0.2.50 --database /srv/a/nfsdcld     after a crash of the other server
  nfsd-ha move-in /srv/ha --address 192.0.2.50 --device /dev/drbd1 --export '*:/srv/ha(rw,fsid=1234)' --no-list")]
pub struct Args {
    /// Where the file system is to be mounted, or a scope of one of the exports on the list
    #[arg(value_name = "SCOPE|PATH")]
    what: String,
    /// The addresses that its clients use: ADDRESS[/PREFIX][@DEVICE]
    #[arg(long = "address", value_name = "ADDRESS", num_args = 1..)]
    addresses: Vec<Spec>,
    /// The list that move-out wrote on the other server; - is standard input. Who repeats a move-in may
    /// leave it out. With --database: the list that was given to the server that has crashed since
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// The other server has crashed: the database of its nfsdcld or nfsd-had, or the directory that it is in. It is only
    /// read. If nfsd-had knows who held something there, by the fsid= of --export or of what is on the list, only these
    /// may reclaim; else all. If the file system has left from here just before, those who were listed then may do so, too
    #[arg(long, value_name = "DIR|FILE")]
    database: Option<PathBuf>,
    /// Nobody is listed: clients of NLM may reclaim all the same
    #[arg(long, conflicts_with_all = ["list", "database"])]
    no_list: bool,
    /// What to mount, if /etc/fstab does not say it
    #[arg(long, value_name = "DEVICE", conflicts_with = "no_mount")]
    device: Option<OsString>,
    /// The kind of file system, for --device
    #[arg(long = "type", value_name = "TYPE", requires = "device")]
    kind: Option<String>,
    /// Mount options, for --device
    #[arg(long, value_name = "OPTIONS", requires = "device")]
    options: Option<String>,
    /// The file system is mounted already: it is a cluster file system, or somebody else mounts it
    #[arg(long)]
    no_mount: bool,
    /// What to export, as 'CLIENT:PATH(OPTIONS)'. Otherwise it is what was exported on the other server; without
    /// a list what is exported here, or else what /etc/exports has
    #[arg(long = "export", value_name = "SPEC")]
    exports: Vec<Export>,
    /// Export after the address has come. Clients are told to wait, and do so for 5 to 10 seconds
    #[arg(long)]
    export_later: bool,
    /// How long clients have to reclaim, 1 to 3600 seconds [default: as long as the server's own grace period]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    grace: Option<u32>,
    /// Take clients over whose server had another scope: those of NFSv4.1 and later will not reclaim
    #[arg(long)]
    force: bool,
    /// Who was connected before a crash: lines of SERVER:PORT CLIENT:PORT
    #[arg(long, value_name = "FILE")]
    connections: Option<PathBuf>,
    /// For how many seconds clients of NLM are told that do not answer
    #[arg(long, value_name = "SECONDS", default_value_t = NOTIFY)]
    notify_for: u64,
    /// Say what would be done
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let control = Control::open()?;
        let (journals, mounts) = (Journals::open()?, Mounts::read()?);
        let given = self.given()?;
        let carried = given.as_ref().map(carried::exports).unwrap_or_default();
        let known: Vec<Export> = self.exports.iter().chain(&carried).cloned().collect();
        let path = target::path_of(&self.what, &mounts, &known, &journals)?;
        let notes = journals.of(&path)?;
        let before = notes.journal()?;
        let list = match given {
            Some(list) if self.database.is_some() => {
                with_our_own(list, before.as_ref(), notes.list()?, &control)?
            }
            Some(list) => list,
            None => self.kept(&path, before.as_ref(), notes.list()?)?,
        };
        let here = self.here(&path, &control, &list)?;
        let show = if common.json {
            Show::Later
        } else {
            Show::Output
        };
        if control.tracking()?.server_scope.is_none() {
            return Err(Failure::new(
                Status::Failed,
                "nfsd does not run here: start it first (rpc.nfsd)",
            ));
        }
        if self.dry_run {
            here.show_plan(&mounts, show);
            return Ok(());
        }
        let mut journal = Journal::new(Direction::In, &path);
        journal.mounts = !self.no_mount;
        journal.addresses = here.addresses.clone();
        if let Some(left) = before.filter(has_left) {
            journal.since = left.since;
        }
        journal.set_connections(&here.connections);
        if let Exports::These(exports) = &here.exports {
            journal.set_exports(exports);
        }
        // A reset from now on does not lose who may reclaim.
        notes.save_list(list.to_string().as_bytes())?;
        notes.save(&journal)?;
        let turn_back = format!(
            "To turn back: take the addresses away, unexport and unmount what is here (nfsd-ha move-out {} \
             --address ...), then nfsd-ha move-out --undo on the other server.",
            path.display()
        );
        let names = if self.export_later {
            here::STEPS_LATER
        } else {
            here::STEPS
        };
        let mut steps = Steps::new(show, "move-in", names, turn_back);
        let came = here.go(&mut steps);
        journal.finished = came.is_ok();
        journal.steps = steps.done.clone();
        notes.save(&journal)?;
        here::end(&journal, &steps, &came?, show)
    }

    /// The list that the admin gives.
    fn given(&self) -> Result<Option<List>> {
        // It is written anew for the file system of this node.
        let scope = Scope::Export(Fsid::Number(0));
        let list = match self.list.as_deref() {
            Some(file) if file == Path::new("-") => {
                Some(list::read(std::io::stdin(), Path::new("standard input"))?)
            }
            Some(file) => {
                let opened = File::open(file).with_context(|| format!("{}", file.display()))?;
                Some(list::read(opened, file)?)
            }
            None if self.no_list => Some(List::new(scope)),
            None => None,
        };
        let carried = list.as_ref().map(carried::exports).unwrap_or_default();
        let exports = match &self.exports[..] {
            [] => &carried,
            given => given,
        };
        // Without them it is whatever this node exports when the file system is here.
        let wanted = Wanted::exports(exports.iter().map(Export::fsid));
        let crashed = match &self.database {
            Some(database) => Some(self.of_addresses(crashed::read(database, &scope, &wanted)?)),
            None => None,
        };
        Ok(match (crashed, list) {
            (Some(crashed), Some(list)) => Some(crashed.after_crash(list)),
            (crashed, list) => crashed.or(list),
        })
    }

    /// The clients of NFSv4 on record, with what is on record of the addresses that come.
    fn of_addresses(&self, found: OnRecord) -> List {
        let mut list = found.nfs4;
        let comes = |server: IpAddr| self.addresses.iter().any(|spec| spec.address == server);
        let nlm = found.nlm.iter();
        carried::note_recorded(&mut list, nlm.filter(|one| comes(one.peer.server)));
        let connections = found.connections.iter();
        carried::note_connections(
            &mut list,
            connections.filter(|one| comes(one.server().ip())),
        );
        list
    }

    /// The list of a move-in that is repeated.
    fn kept(&self, path: &Path, journal: Option<&Journal>, list: Option<Vec<u8>>) -> Result<List> {
        let came = journal.is_some_and(|journal| journal.direction == Direction::In);
        match list.filter(|_| came) {
            Some(list) => Ok(List::parse(&list).context("the list of the move-in before")?),
            None => {
                let text = format!(
                    "who may reclaim on {}? Give the --list that move-out wrote, after a crash the \
                     --database of the other server, or --no-list",
                    path.display()
                );
                Err(Failure::new(Status::Usage, text))
            }
        }
    }

    fn here<'a>(&self, path: &Path, control: &'a Control, list: &'a List) -> Result<Here<'a>> {
        let present = address::all()?;
        let placed = |spec: &Spec| {
            place(spec, &present).map_err(|e| Failure::new(Status::Usage, e.to_string()))
        };
        let addresses: Vec<Placed> = self.addresses.iter().map(placed).collect::<Result<_>>()?;
        let exports = match (&self.exports[..], carried::exports(list)) {
            ([], carried) if carried.is_empty() => Exports::File,
            ([], carried) => Exports::These(carried),
            (given, _) => Exports::These(given.to_vec()),
        };
        if let (Exports::These(all), false) = (&exports, self.no_mount) {
            if let Some(astray) = all.iter().find(|export| !export.path.starts_with(path)) {
                let text = format!("{astray} is not on {}: say --export", path.display());
                return Err(Failure::new(Status::Usage, text));
            }
        }
        let mut connections = self.connected(list)?;
        let comes = |server: IpAddr| addresses.iter().any(|placed| placed.address == server);
        connections.retain(|one| comes(one.server().ip()));
        let source = self.device.clone().map(|device| Source {
            device,
            kind: self.kind.clone(),
            options: self.options.clone(),
        });
        Ok(Here {
            path: path.to_owned(),
            source,
            mounts: !self.no_mount,
            control,
            list: Some(list),
            exports,
            addresses,
            connections,
            seconds: self.grace,
            force: self.force,
            later: self.export_later,
            notify: Duration::from_secs(self.notify_for),
        })
    }

    fn connected(&self, list: &List) -> Result<Vec<Connection>> {
        let Some(file) = &self.connections else {
            return Ok(carried::connections(list));
        };
        let named = || file.display().to_string();
        let opened = File::open(file).with_context(named)?;
        connections::read(opened).with_context(named)
    }
}

/// Has it left from here, and not come back yet?
fn has_left(journal: &Journal) -> bool {
    journal.direction == Direction::Out || !journal.finished
}

/// Who may reclaim after a crash of the server that the file system has gone to from here: who is on its record, and who
/// was on our list, as they may not have come there yet.
///
/// Our list is good while that server can have given nobody what another one of them held: from when the move began for
/// one lease, as it cannot have ended anybody's sooner, and for a grace period, as it waited so long for those who had
/// not come.
fn with_our_own(
    crashed: List,
    before: Option<&Journal>,
    ours: Option<Vec<u8>>,
    control: &Control,
) -> Result<List> {
    let left = before.filter(|journal| has_left(journal));
    let age = left.and_then(|journal| journal.since.as_ref()?.elapsed());
    let (Some(age), Some(ours)) = (age, ours) else {
        return Ok(crashed);
    };
    if age >= control.lease()?.min(control.grace_time()?) {
        return Ok(crashed);
    }
    output::note(&format!(
        "it has left from here {} s ago: who was listed then may reclaim, too",
        age.as_secs()
    ));
    let ours = List::parse(&ours).context("the list of the move-out before")?;
    Ok(crashed.after_crash(ours))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Command;
    use clap::Parser;
    use nfsd_ha::control::NlmClients;
    use nfsd_ha::records::Store;

    #[test]
    fn what_is_on_record_of_the_addresses_that_come_is_on_the_list() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&directory.path().join("records.sqlite"))
            .unwrap()
            .0;
        let mut batch = store.begin().unwrap();
        let lines = "sequence 3\n1234 192.0.2.50 192.0.2.17 4 - - - a -\n5678 192.0.2.50 192.0.2.17 4 - - - a -\n\
            1234 192.0.2.2 192.0.2.18 4 - - - b -\n";
        for one in NlmClients::parse(lines).unwrap().clients {
            batch.store_nlm(&one).unwrap();
        }
        let connections = [
            "192.0.2.50:2049 192.0.2.17:878".parse().unwrap(),
            "192.0.2.51:2049 192.0.2.17:879".parse().unwrap(),
        ];
        let addresses = ["192.0.2.50", "192.0.2.51"].map(|address| address.parse().unwrap());
        batch.store_connections(&addresses, &connections).unwrap();
        batch.commit().unwrap();
        drop(store);
        let words = [
            "nfsd-ha",
            "move-in",
            "/srv/ha",
            "--address",
            "192.0.2.50/24",
            "--database",
        ];
        let words = words.iter().map(OsString::from);
        let words = words.chain([directory.path().into()]);
        let Command::MoveIn(args) = crate::Cli::parse_from(words).command else {
            panic!("it is a move-in");
        };
        let list = args.given().unwrap().unwrap();
        // As it is kept for who repeats this.
        let list = List::parse(list.to_string().as_bytes()).unwrap();
        let recorded: Vec<_> = carried::recorded(&list)
            .iter()
            .map(|(fsid, peer)| format!("{fsid} {peer}"))
            .collect();
        let expected = [
            "1234 192.0.2.50 192.0.2.17 4",
            "5678 192.0.2.50 192.0.2.17 4",
        ];
        assert_eq!(recorded, expected);
        assert_eq!(carried::connections(&list), connections[..1]);
    }
}
