// SPDX-License-Identifier: GPL-2.0
//! What keeps the daemon from its work, for the log.

use nfsd_ha::causes;
use std::collections::BTreeSet;
use std::error::Error;

/// What is wrong. Each of it is said once until all is well, also if two take turns.
#[derive(Debug, Default)]
pub struct Trouble(BTreeSet<String>);

impl Trouble {
    /// Something is wrong.
    pub fn is(&mut self, error: &(dyn Error + 'static)) {
        let text = causes::line(error);
        if self.0.insert(text.clone()) {
            tracing::error!("{text}; it is tried again, and clients wait");
        }
    }

    /// Nothing is wrong any more.
    pub fn over(&mut self) {
        if !self.0.is_empty() {
            tracing::info!("all is well again");
            self.0.clear();
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
            let mut trouble = Trouble::default();
            trouble.over();
            for _ in 0..2 {
                for _ in 0..3 {
                    trouble.is(&io::Error::other("one"));
                    trouble.is(&io::Error::other("two"));
                }
                trouble.over();
                trouble.over();
            }
        });
        let said = std::fs::read_to_string(said.path()).unwrap();
        let lines: Vec<_> = said
            .lines()
            .map(|line| line.split(';').next().unwrap().trim())
            .collect();
        let once = ["ERROR one", "ERROR two", "INFO all is well again"];
        assert_eq!(lines, [once, once].concat());
    }
}
