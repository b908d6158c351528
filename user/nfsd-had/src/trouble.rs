// SPDX-License-Identifier: GPL-2.0
//! What keeps the daemon from its work, for the log.

use nfsd_ha::causes;
use std::collections::BTreeSet;
use std::error::Error;

/// What is wrong. Each of it is said once until all is well, also if two take turns.
#[derive(Debug)]
pub struct Trouble {
    /// With what, to begin a line.
    with: &'static str,
    /// What comes of it.
    so: &'static str,
    said: BTreeSet<String>,
}

impl Default for Trouble {
    fn default() -> Self {
        Self::with("", "clients wait")
    }
}

impl Trouble {
    /// Trouble with a part of the work, and what comes of it.
    pub fn with(with: &'static str, so: &'static str) -> Self {
        Self {
            with,
            so,
            said: BTreeSet::new(),
        }
    }

    /// Something is wrong.
    pub fn is(&mut self, error: &(dyn Error + 'static)) {
        let text = causes::line(error);
        if self.said.insert(text.clone()) {
            let Self { with, so, .. } = self;
            tracing::error!("{with}{text}; it is tried again, and {so}");
        }
    }

    /// Nothing is wrong any more.
    pub fn over(&mut self) {
        if !self.said.is_empty() {
            tracing::info!("{}all is well again", self.with);
            self.said.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::Arc;

    #[test]
    fn each_is_said_once_until_all_is_well() {
        let said = tempfile::NamedTempFile::new().unwrap();
        let log = tracing_subscriber::fmt()
            .with_writer(Arc::new(said.reopen().unwrap()))
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .finish();
        tracing::subscriber::with_default(log, || {
            for mut trouble in [Trouble::default(), Trouble::with("a part: ", "others wait")] {
                trouble.over();
                for _ in 0..2 {
                    for _ in 0..3 {
                        trouble.is(&io::Error::other("one"));
                        trouble.is(&io::Error::other("two"));
                    }
                    trouble.over();
                    trouble.over();
                }
            }
        });
        let said = std::fs::read_to_string(said.path()).unwrap();
        let lines: Vec<_> = said.lines().map(str::trim).collect();
        let once = [
            "ERROR one; it is tried again, and clients wait",
            "ERROR two; it is tried again, and clients wait",
            "INFO all is well again",
        ];
        let part = [
            "ERROR a part: one; it is tried again, and others wait",
            "ERROR a part: two; it is tried again, and others wait",
            "INFO a part: all is well again",
        ];
        assert_eq!(lines, [once, once, part, part].concat());
    }
}
