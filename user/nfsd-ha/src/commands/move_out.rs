// SPDX-License-Identifier: GPL-2.0
//! `nfsd-ha move-out`: move an export away from this server.

use crate::database;
use crate::failure::{Failure, Status};
use crate::moves::away::{self, Away};
use crate::moves::carried;
use crate::moves::here::{self, Exports, Here};
use crate::moves::plan::{is_away, Plan};
use crate::moves::steps::{joined, Show, Steps};
use crate::moves::target;
use crate::output;
use crate::Common;
use anyhow::{Context, Result};
use nfsd_ha::control::{Control, Then, MAX_DRAIN_SECONDS};
use nfsd_ha::files::Directory;
use nfsd_ha::journal::{Direction, Journal, Journals, Notes, Step};
use nfsd_ha::list::{Held, List};
use nfsd_ha::mounts::Mounts;
use nfsd_ha::net::spec::Spec;
use nfsd_ha::scope::Fsid;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// For how many seconds NLM clients are told that their export is back. Who is up answers at once.
pub const NOTIFY: u64 = 30;
/// How many seconds answers may take. One to a client that is gone takes all of them.
const DRAIN: u32 = 5;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  nfsd-ha move-out /srv/ha --address 192.0.2.50 --address 2001:db8::50
  nfsd-ha move-out /srv/ha --address 192.0.2.50 --list - |
      ssh b nfsd-ha move-in /srv/ha --address 192.0.2.50 --list -
  nfsd-ha move-out /srv/ha --undo")]
pub struct Args {
    /// Where the file system is mounted, or a scope of one of its exports: the number in fsid=, a UUID or
    /// dev:MAJOR:MINOR
    #[arg(value_name = "SCOPE|PATH")]
    what: String,
    /// The addresses that its clients use: ADDRESS[/PREFIX][@DEVICE]
    #[arg(long = "address", value_name = "ADDRESS", num_args = 1..)]
    addresses: Vec<Spec>,
    /// Where to write the list of who may reclaim, too; - is standard output. It is always kept in
    /// /var/lib/nfsd-ha/moves
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// How long clients have to take the answers to what they have asked for before the addresses go, 0 to 600
    /// seconds: who has not is reset
    #[arg(long, value_name = "SECONDS", default_value_t = DRAIN,
          value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_DRAIN_SECONDS)))]
    drain: u32,
    /// Close the clients' connections in order, too: for clients behind a firewall that drops the tickle ACKs of
    /// move-in. Who writes all the time waits for some three seconds then
    #[arg(long)]
    close: bool,
    /// Leave the file system mounted: it is a cluster file system, or somebody else unmounts it
    #[arg(long)]
    no_umount: bool,
    /// Say what would be done, and what is in the way
    #[arg(long)]
    dry_run: bool,
    /// Put back what a move-out has taken away. Only while the other server has not mounted it!
    #[arg(long, conflicts_with_all = ["addresses", "list", "close", "no_umount", "dry_run"])]
    undo: bool,
    /// With --undo: for how many seconds clients of NLM are told that do not answer
    #[arg(long, value_name = "SECONDS", default_value_t = NOTIFY)]
    notify_for: u64,
    /// Move although NLM clients have locks by an address that stays: they lose them
    #[arg(long)]
    force: bool,
    /// The database of this server's nfsdcld or nfsd-had, or the directory that it is in [default: that of nfsd-had if
    /// it runs, else /var/lib/nfs/nfsdcld]
    #[arg(long, value_name = "DIR|FILE", env = database::VARIABLE)]
    database: Option<PathBuf>,
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let to_output = self.list.as_deref() == Some(Path::new("-"));
        if to_output && common.json {
            return Err(Failure::new(
                Status::Usage,
                "--json and --list - both want standard output",
            ));
        }
        let show = match (common.json, to_output) {
            (true, _) => Show::Later,
            (_, true) => Show::Error,
            _ => Show::Output,
        };
        let control = Control::open()?;
        let (journals, mounts) = (Journals::open()?, Mounts::read()?);
        let path = target::path_of(&self.what, &mounts, &[], &journals)?;
        if self.undo {
            return self.undo(&path, &control, &journals, show);
        }
        let database = database::own(self.database.as_deref())?;
        let plan = Plan::new(&path, &self.addresses, &mounts, &journals)?;
        let copy = self.list.as_deref().filter(|_| !to_output);
        let copy = copy.map(|file| copy_to(file, &mounts, &plan)).transpose()?;
        let in_the_way = plan.in_the_way(&mounts, &control, !self.no_umount)?;
        if self.dry_run {
            self.show_plan(&plan, &control, show)?;
        }
        if !in_the_way.is_empty() && !self.force {
            let text = format!(
                "{} cannot move now:\n  {}",
                path.display(),
                in_the_way.join("\n  ")
            );
            return Err(Failure::new(Status::Busy, text));
        }
        if self.dry_run {
            return Ok(());
        }
        let notes = journals.of(&path)?;
        let before = notes.journal()?.filter(|journal| plan.goes_on(journal));
        let begins = before.is_none();
        let journal = self.journal(&plan, before);
        let turn_back = format!("To turn back: nfsd-ha move-out {} --undo", path.display());
        let mut steps = Steps::new(show, "move-out", away::STEPS, turn_back);
        let mut away = Away {
            plan: &plan,
            control: &control,
            database: &database,
            notes: &notes,
            journal,
            begins,
            umount: !self.no_umount,
            drain: self.drain,
            then: match self.close {
                true => Then::Close,
                false => Then::Keep,
            },
        };
        let gone = away.go(&mut steps);
        let mut journal = away.journal;
        journal.finished = gone.is_ok();
        journal.steps = steps.done.clone();
        notes.save(&journal)?;
        let list = gone?.to_string();
        if let Some((directory, name)) = copy {
            directory.replace(&name, list.as_bytes())?;
        }
        if to_output {
            // Only now: the other server must not mount it before.
            let mut output = std::io::stdout().lock();
            output
                .write_all(list.as_bytes())
                .and_then(|()| output.flush())
                .context(format!(
                    "the list was not written; it is in {}",
                    notes.list_path().display()
                ))?;
        }
        self.end(&journal, &notes, &steps, show)
    }

    /// What is noted before anything is changed. Who goes on with a move that has stopped knows more than
    /// can be seen now.
    fn journal(&self, plan: &Plan, before: Option<Journal>) -> Journal {
        let mut journal = before.unwrap_or_else(|| Journal::new(Direction::Out, &plan.path));
        journal.mounts = !self.no_umount;
        let mut exports = plan.exports.clone();
        exports.extend(
            journal
                .exports()
                .into_iter()
                .filter(|one| !plan.exports.iter().any(|now| now.is_same(one))),
        );
        journal.set_exports(&exports);
        for placed in &plan.addresses {
            if !journal
                .addresses
                .iter()
                .any(|known| known.address == placed.address)
            {
                journal.addresses.push(placed.clone());
            }
        }
        if let Some(mount) = &plan.mount {
            journal.set_source(mount);
        }
        journal
    }

    fn show_plan(&self, plan: &Plan, control: &Control, show: Show) -> Result<()> {
        let steps = Steps::new(show, "move-out", away::STEPS, String::new());
        let mounted = plan.mount.as_ref().map(|mount| {
            format!(
                "{} on {}",
                nfsd_ha::mounts::shown(&mount.source),
                mount.point.display()
            )
        });
        let drains = match (plan.present.is_empty(), control.drains()?) {
            (true, _) => "nothing".into(),
            (_, None) => "nothing, as this module cannot".into(),
            (_, Some(_)) => format!("{}, for {} s at most", joined(&plan.present), self.drain),
        };
        steps.line(&format!("would drain:                   {drains}"));
        steps.line(&format!(
            "would take away the addresses: {}",
            joined(&plan.present)
        ));
        steps.line(&format!(
            "would unexport:                {}",
            joined(&plan.exports)
        ));
        steps.line(&format!(
            "would release the scopes:      {}",
            joined(&plan.fsids)
        ));
        if !self.no_umount {
            steps.line(&format!(
                "would unmount:                 {}",
                joined(mounted)
            ));
        }
        Ok(())
    }

    fn end(&self, journal: &Journal, notes: &Notes, steps: &Steps, show: Show) -> Result<()> {
        let is_away = |step: &&Step| !["prepare", "drain"].contains(&step.name.as_str());
        let away: f64 = steps
            .done
            .iter()
            .filter(is_away)
            .map(|step| step.seconds)
            .sum();
        let list = notes.list_path();
        let list = list.display();
        if show == Show::Later {
            let json = serde_json::json!({
                "path": journal.path().to_string_lossy(), "steps": steps.done, "away": away,
                "list": list.to_string(),
            });
            return output::json(&json);
        }
        steps.line(&format!(
            "  {:<12} {away:>7.3} s  since the address went",
            "in all"
        ));
        let addresses = journal
            .addresses
            .iter()
            .fold(String::new(), |text, placed| {
                text + " --address " + &placed.address.to_string()
            });
        let path = journal.path();
        if show == Show::Output {
            steps.line(&format!(
                "on the other server: scp HERE:{list} /root/ && nfsd-ha move-in {}{addresses} --list /root/{}",
                path.display(),
                notes.list_path().file_name().unwrap_or_default().to_string_lossy(),
            ));
        }
        Ok(())
    }

    /// The way back, from wherever the move has stopped.
    fn undo(&self, path: &Path, control: &Control, journals: &Journals, show: Show) -> Result<()> {
        let notes = journals.of(path)?;
        let journal = notes
            .journal()?
            .filter(|journal| journal.direction == Direction::Out);
        let Some(mut journal) = journal else {
            let text = format!(
                "no move of {} away from here is known, or it is back already",
                path.display()
            );
            return Err(Failure::new(Status::Usage, text));
        };
        let list = notes
            .list()?
            .map(|text| List::parse(&text))
            .transpose()
            .context("the list of the move")?;
        let database = database::own(self.database.as_deref())?;
        let list = match list {
            Some(list) if is_away(&journal)? && !still_held(control, &database, &list)? => {
                Some(list)
            }
            _ => None,
        };
        let here = Here {
            path: path.to_owned(),
            // A device may have another name after a reset; /etc/fstab knows.
            source: journal
                .source()
                .filter(|_| !nfsd_ha::mounts::is_in_fstab(path)),
            mounts: journal.mounts,
            control,
            list: list.as_ref(),
            exports: Exports::These(journal.exports()),
            addresses: journal.addresses.clone(),
            connections: list
                .as_ref()
                .map_or_else(|| journal.connections(), carried::connections),
            seconds: None,
            force: true,
            later: false,
            notify: Duration::from_secs(self.notify_for),
        };
        let turn_back = "Nothing else is needed to turn back.".to_owned();
        let mut steps = Steps::new(show, "move-out --undo", here::STEPS, turn_back);
        let warnings = here.go(&mut steps)?;
        journal.direction = Direction::In;
        journal.finished = true;
        journal.steps = steps.done.clone();
        notes.save(&journal)?;
        here::end(&journal, &steps, &warnings, show)
    }
}

/// Is all still held that is listed, so that nothing was released?
fn still_held(control: &Control, database: &Path, list: &List) -> Result<bool> {
    let fsids: BTreeSet<Fsid> = carried::exports(list)
        .iter()
        .filter_map(|export| export.fsid())
        .collect();
    let now = away::list_of(control, database, &[], &fsids);
    let Some((now, before)) = now.ok().and_then(|now| now.held).zip(list.held) else {
        return Ok(false);
    };
    Ok(now.is(&before) && (list.clients.is_empty() || !now.is(&Held::NOTHING)))
}

/// The directory and the name of a file for the list. It does not go with the file system, where a client's
/// root could change it.
fn copy_to(file: &Path, mounts: &Mounts, plan: &Plan) -> Result<(Directory, String)> {
    let usage = |text: String| Failure::new(Status::Usage, text);
    let name = file.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| usage(format!("{} is no name of a file", file.display())))?;
    let parent = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let parent = nfsd_ha::mounts::canonical(parent)?;
    let device = |path: &Path| mounts.of(path).map(|mount| mount.device);
    if plan
        .mount
        .as_ref()
        .is_some_and(|mount| device(&parent) == Some(mount.device))
    {
        let text = format!(
            "{} is on the file system that moves: clients could change it there",
            file.display()
        );
        return Err(usage(text));
    }
    Ok((Directory::open(&parent)?, name.to_owned()))
}
