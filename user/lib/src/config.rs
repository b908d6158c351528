// SPDX-License-Identifier: GPL-2.0
//! How the programs are configured: `/etc/nfsd-ha.toml`. All of it has defaults that work, so the file need not be there.
//!
//! ```toml
//! [records]
//! file = "/var/lib/nfsd-ha/records.sqlite"
//! nlm = true
//!
//! [kernel]
//! pipefs = "/run/rpc_pipefs"
//! ```

use crate::records;
use serde::Deserialize;
use std::io;
use std::path::{Path, PathBuf};

/// Where it is.
pub const FILE: &str = "/etc/nfsd-ha.toml";
/// Where rpc_pipefs is mounted, with Debian's packages and most others.
const PIPEFS: &str = "/run/rpc_pipefs";

/// What a program goes by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The records of nfsd-had.
    pub records: Records,
    /// How the kernel is talked with.
    pub kernel: Kernel,
}

/// The records of nfsd-had.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Records {
    /// The file. Its directory has to be there.
    pub file: PathBuf,
    /// Does nfsd-had record clients of NLM? Else `nfsd-ha record` may.
    pub nlm: bool,
}

impl Default for Records {
    fn default() -> Self {
        Self {
            file: records::DEFAULT.into(),
            nlm: true,
        }
    }
}

/// How the kernel is talked with.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kernel {
    /// Where rpc_pipefs is mounted.
    pub pipefs: PathBuf,
}

impl Default for Kernel {
    fn default() -> Self {
        Self {
            pipefs: PIPEFS.into(),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read {}: {source}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It says something that nobody understands.
    #[error("{}: {source}", .file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// What, and where.
        source: toml::de::Error,
    },
}

impl Config {
    /// Reads a file that an admin has named, or the usual one, which need not be there.
    pub fn read(named: Option<&Path>) -> Result<Self, Error> {
        let file = named.unwrap_or(Path::new(FILE));
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(e) if named.is_none() && e.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::default())
            }
            Err(source) => {
                return Err(Error::File {
                    file: file.to_owned(),
                    source,
                })
            }
        };
        toml::from_str(&text).map_err(|source| Error::Malformed {
            file: file.to_owned(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_has_its_default() {
        let config: Config = toml::from_str("").unwrap();
        assert_eq!(config, Config::default());
        let config: Config = toml::from_str("[records]\nfile = '/x'\n").unwrap();
        assert_eq!(config.records.file, Path::new("/x"));
        assert!(config.records.nlm);
        let config: Config = toml::from_str("[records]\nnlm = false\n").unwrap();
        assert_eq!(config.records.file, Path::new(records::DEFAULT));
        assert!(!config.records.nlm);
        assert_eq!(config.kernel, Kernel::default());
    }

    #[test]
    fn what_is_misspelt_is_told() {
        for (text, told) in [
            ("[record]", "record"),
            ("[records]\nfiles = 'x'", "files"),
            ("[records]\nfile = 3", "file"),
            ("[records]\nnlm = 'no'", "nlm"),
            ("records", "records"),
        ] {
            let error = toml::from_str::<Config>(text).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
