// SPDX-License-Identifier: GPL-2.0
//! `client_tracking`: client tracking, its daemon, and the server's scope
//! (`rust/tracking/status.rs`; docs/control.md says what each line means).

use std::collections::BTreeMap;

/// The state of client tracking.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tracking {
    /// `off`, `starting`, `waiting`, `active`, `stock` or `failed`.
    pub state: String,
    /// Has a daemon the pipe open? `None` unless the module tracks.
    pub daemon: Option<bool>,
    /// Is the server in a grace period of its own, for NFSv4? `None` unless the module tracks.
    pub grace: Option<bool>,
    /// What NFSv4.1 clients get as server scope (RFC 8881, 2.10.4), as nfsd's caches write it: `None`
    /// while there is no server.
    pub server_scope: Option<String>,
    /// Upcalls by their command: made, and how many of them failed.
    pub upcalls: BTreeMap<String, Upcalls>,
    /// All other numbers, by their names.
    #[serde(flatten)]
    pub numbers: BTreeMap<String, u64>,
}

/// How many upcalls there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Upcalls {
    /// Made.
    pub made: u64,
    /// Failed, of those.
    pub failed: u64,
}

impl Tracking {
    /// Lines of a name and a value. Fails with a line that is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut tracking = Self::default();
        for line in text.lines() {
            tracking.set(line).ok_or_else(|| line.to_owned())?;
        }
        if tracking.state.is_empty() {
            return Err("no state".to_owned());
        }
        Ok(tracking)
    }

    fn set(&mut self, line: &str) -> Option<()> {
        let (name, value) = line.split_once(' ')?;
        match name {
            "state" => self.state = value.to_owned(),
            "daemon" => self.daemon = Some(value == "present"),
            "grace" => self.grace = Some(value == "active"),
            "server_scope" => self.server_scope = Some(value.to_owned()).filter(|s| !s.is_empty()),
            _ => match value.split_once(" failed ") {
                Some((made, failed)) => {
                    let upcalls = Upcalls {
                        made: made.parse().ok()?,
                        failed: failed.parse().ok()?,
                    };
                    self.upcalls.insert(name.to_owned(), upcalls);
                }
                None => {
                    self.numbers.insert(name.to_owned(), value.parse().ok()?);
                }
            },
        }
        Some(())
    }
}
