// SPDX-License-Identifier: GPL-2.0
//! `nfsd-ha check`: find out what is wrong on this node before it matters.

use crate::failure::{Failure, Status};
use crate::output::{self, shown};
use crate::Common;
use anyhow::{Context, Result};
use nfsd_ha::checks::{self, Finding, Moving, Node, Severity, Theirs, Tree};
use nfsd_ha::list::{self, List};
use nfsd_ha::net::address;
use nfsd_ha::net::spec::Spec;
use nfsd_ha::scope::Scope;
use serde::Serialize;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Looks at the module, the server, its daemons, exports and addresses, the records of clients, and
/// Pacemaker's configuration, and changes nothing. What is said of what moves makes it look closer.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  nfsd-ha check
  nfsd-ha check /srv/ha --address 192.0.2.50     look closer at an export that moves with its address
  nfsd-ha check --list /srv/meta/clients         compare this node with the one that wrote a list")]
pub struct Args {
    /// What moves between servers: exports by their fsid= or UUID, a device (dev:MAJOR:MINOR), or
    /// paths.
    #[arg(value_name = "SCOPE|PATH")]
    moving: Vec<String>,
    /// An address that moves, such as 192.0.2.50 or fd77::50/64@eth0; may be repeated.
    #[arg(long, value_name = "ADDRESS")]
    address: Vec<Spec>,
    /// Does this node agree with the one that wrote this list (export-clients, move-out)?
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
}

/// What is printed as JSON.
#[derive(Serialize)]
pub struct Report {
    errors: usize,
    warnings: usize,
    notes: usize,
    findings: Vec<Finding>,
}

impl Report {
    pub fn of(findings: Vec<Finding>) -> Self {
        let count = |severity| {
            findings
                .iter()
                .filter(|finding| finding.severity == severity)
                .count()
        };
        let (errors, warnings, notes) = (
            count(Severity::Error),
            count(Severity::Warning),
            count(Severity::Note),
        );
        Self {
            errors,
            warnings,
            notes,
            findings,
        }
    }

    /// For people.
    fn text(&self) -> String {
        let mut text = String::new();
        for Finding {
            id,
            severity,
            what,
            why,
            fix,
        } in &self.findings
        {
            let severity = match severity {
                Severity::Error => "ERROR",
                Severity::Warning => "warning",
                Severity::Note => "note",
            };
            text += &format!(
                "{severity}: {} ({id})\n  why: {why}\n  do:  {}\n\n",
                shown(what),
                shown(fix)
            );
        }
        let count = |number: usize, what: &str| {
            format!("{number} {what}{}", if number == 1 { "" } else { "s" })
        };
        text + &match self.findings.len() {
            0 => "nothing is wrong\n".to_owned(),
            _ => {
                [
                    count(self.errors, "error"),
                    count(self.warnings, "warning"),
                    count(self.notes, "note"),
                ]
                .join(", ")
                    + "\n"
            }
        }
    }
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let local = address::all().context("the addresses of this node are not known")?;
        let node = Node {
            tree: Tree::new("/"),
            local: local.into_iter().map(|placed| placed.address).collect(),
            floating: self.address.iter().map(|spec| spec.address).collect(),
            moving: self
                .moving
                .iter()
                .map(|word| moving(word))
                .collect::<Result<_>>()?,
            list: self.list.as_deref().map(theirs).transpose()?,
        };
        let report = Report::of(checks::all(&node));
        if common.json {
            output::json(&report)?;
        } else {
            output::print(&report.text())?;
        }
        match report.errors {
            0 => Ok(()),
            _ => Err(Failure::said(Status::Failed)),
        }
    }
}

/// What a list says of the node that wrote it.
fn theirs(path: &Path) -> Result<Theirs> {
    let read = || -> Result<List> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(list::read(file, path)?)
    };
    let list = read().map_err(|e| Failure::new(Status::Usage, format!("{e:#}")))?;
    Ok(Theirs::of(&list))
}

/// What moves, as an admin says it.
fn moving(word: &str) -> Result<Moving> {
    if word.starts_with('/') {
        let real = PathBuf::from(word)
            .canonicalize()
            .unwrap_or_else(|_| word.into());
        return Ok(Moving::Path(real));
    }
    let scope = word
        .parse::<Scope>()
        .map_err(|e| Failure::new(Status::Usage, e.to_string()))?;
    let fsid = scope
        .fsid()
        .ok_or_else(|| Failure::new(Status::Usage, format!("write --address for {scope}")))?;
    Ok(Moving::Fsid(fsid))
}
