// SPDX-License-Identifier: GPL-2.0
//! `reclaim_clients`: who may reclaim in a scope in grace (`rust/nfs4/reclaim_line.rs`). The lines of a
//! list of clients ([`crate::list`]) are the same, without their scope.

use super::nlm_clients::NlmPeer;
use crate::amount::Amount;
use crate::owner::Owner;
use crate::scope::Scope;
use std::fmt;
use std::str::FromStr;

/// Who may reclaim, or is waited for.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "protocol", rename_all = "lowercase")]
pub enum Who {
    /// A client of NFSv4.
    Nfs4 {
        /// Its name.
        client: Owner,
        /// SHA-256 of its principal, as 64 hexadecimal digits in small letters, if that is known.
        principal: Option<String>,
    },
    /// A client of NLM: it may reclaim anyway, and is waited for.
    Nlm(NlmPeer),
}

/// Who may reclaim, and how much there is to reclaim.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Reclaimer {
    /// Who.
    #[serde(flatten)]
    pub who: Who,
    /// How much it held, if that is known for sure.
    pub holds: Option<Amount>,
}

/// What one who is listed has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Progress {
    /// Nothing.
    Waiting,
    /// It has reclaimed something.
    Reclaimed,
    /// It has finished.
    Complete,
}

/// One who is listed for a scope.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Listed {
    /// The scope.
    pub scope: Scope,
    /// Who may reclaim there.
    #[serde(flatten)]
    pub reclaimer: Reclaimer,
    /// What it has done.
    pub state: Progress,
}

/// This is no line of a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no client: CLIENT-ID [PRINCIPAL-HASH] or nlm SERVER CLIENT VERSION, perhaps with holds=AMOUNT")]
pub struct NoReclaimer(String);

impl Listed {
    /// `SCOPE RECLAIMER # PROGRESS`
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (line, state) = line.rsplit_once(" # ")?;
        let (scope, reclaimer) = line.split_once(' ')?;
        Some(Self {
            scope: scope.parse().ok()?,
            reclaimer: reclaimer.parse().ok()?,
            state: match state {
                "waiting" => Progress::Waiting,
                "reclaimed" => Progress::Reclaimed,
                "complete" => Progress::Complete,
                _ => return None,
            },
        })
    }
}

impl FromStr for Reclaimer {
    type Err = NoReclaimer;

    fn from_str(text: &str) -> Result<Self, NoReclaimer> {
        parse(text).ok_or_else(|| NoReclaimer(text.chars().take(100).collect()))
    }
}

fn parse(text: &str) -> Option<Reclaimer> {
    // A client of NFSv4 may be called `holds=1`: the amount comes after a name.
    let (text, holds) = match text.rsplit_once(" holds=") {
        Some((text, amount)) => (text, Some(amount.parse().ok()?)),
        None => (text, None),
    };
    let words: Vec<_> = text.split(' ').take(5).collect();
    let who = match words[..] {
        [name] => Who::Nfs4 {
            client: name.parse().ok()?,
            principal: None,
        },
        [name, hash] => Who::Nfs4 {
            client: name.parse().ok()?,
            principal: Some(sha256(hash)?),
        },
        ["nlm", server, client, version] => {
            Who::Nlm(NlmPeer::parse(&mut [server, client, version].into_iter())?)
        }
        _ => return None,
    };
    Some(Reclaimer { who, holds })
}

/// The digits of a SHA-256, in small letters.
fn sha256(digits: &str) -> Option<String> {
    let good = digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    good.then(|| digits.to_ascii_lowercase())
}

/// As the module and lists have it.
impl fmt::Display for Reclaimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.who {
            Who::Nfs4 {
                client,
                principal: None,
            } => write!(f, "{client}")?,
            Who::Nfs4 {
                client,
                principal: Some(hash),
            } => write!(f, "{client} {hash}")?,
            Who::Nlm(peer) => write!(f, "nlm {peer}")?,
        }
        match self.holds {
            Some(holds) => write!(f, " holds={holds}"),
            None => Ok(()),
        }
    }
}
