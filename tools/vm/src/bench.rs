// SPDX-License-Identifier: GPL-2.0
//! What all tests of a run have in common, and the kernels that they run on.

use crate::accel::Accel;
use crate::images::Images;
use crate::log::Show;
use crate::payload::Payloads;
use crate::report::Again;
use crate::snapshot::Snapshots;
use anyhow::{bail, Context, Result};
use std::path::{Path, PathBuf};

/// What the guest has the module as, whatever its file on the host is called.
const MODULE: &str = "nfsd_ha.ko";

/// What all tests of a run have in common.
pub struct Bench {
    /// KVM or not.
    pub accel: Accel,
    /// Directory with the tests and what every guest needs.
    pub tests: PathBuf,
    /// Directory for this run's files.
    pub run_dir: PathBuf,
    /// The tests' files as guests get them.
    pub payloads: Payloads,
    /// What VMs go on from, if they are not to boot.
    pub snapshots: Option<Snapshots>,
    /// Directory for logs.
    pub logs: PathBuf,
    /// What to show.
    pub show: Show,
    /// A disk to use in place of a new one called `data`.
    pub data_disk: Option<PathBuf>,
    /// Words for the test's command line.
    pub args: Vec<String>,
    /// How many times slower than a stock kernel the kernels may be.
    pub slow: u32,
    /// Words for the kernel's command line.
    pub boot: Vec<String>,
    /// How to run a test again.
    pub again: Again,
}

/// A kernel to test on.
pub struct Kernel {
    /// As in `uname -r`.
    pub release: String,
    /// What its VMs boot from.
    pub images: Images,
    /// The nfsd_ha.ko built for it; none if it is to be tested as it is.
    pub module: Option<PathBuf>,
    /// nfsd-ha, the program for admins.
    pub program: PathBuf,
    /// What tests run beside their scripts: programs, and modules that make things fail.
    pub helpers: Vec<PathBuf>,
}

impl Kernel {
    /// What the guest gets as /test/NAME beside the tests: names and files.
    pub fn files(&self) -> Result<Vec<(String, &Path)>> {
        let module = self.module.iter().map(|m| Ok((MODULE.into(), m.as_path())));
        let program = std::iter::once(Ok(("nfsd-ha".into(), self.program.as_path())));
        let helpers = self.helpers.iter().map(|path| {
            let name = path.file_name().context("not a file")?.to_string_lossy();
            Ok((name.into_owned(), path.as_path()))
        });
        module.chain(program).chain(helpers).collect()
    }
}

/// The module to test on a kernel: `named`, or the one that was built for it in `cache`. That there is none is an
/// error, lest tests run on the stock kernel unseen.
pub fn module(cache: &Path, release: &str, named: Option<&Path>) -> Result<PathBuf> {
    let path = match named {
        Some(path) => path.to_path_buf(),
        None => cache.join("build").join(release).join(MODULE),
    };
    match path.canonicalize() {
        Ok(path) if path.is_file() => Ok(path),
        _ => bail!(
            "no module {} to test on {release}: build it (make module), or say --no-module",
            path.display()
        ),
    }
}

/// Counts of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Results `ok`.
    pub passed: u32,
    /// Results `not ok`, and what else went wrong.
    pub failed: u32,
    /// Results skipped.
    pub skipped: u32,
}

impl Totals {
    /// Adds those of another test.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// The line that a run ends in.
    pub fn closing_line(&self) -> String {
        let skipped = match self.skipped {
            0 => String::new(),
            n => format!(", {n} skipped"),
        };
        format!("{} passed, {} failed{skipped}", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_module_that_is_missing_is_an_error() {
        let cache = std::env::temp_dir().join(format!("vm-cache-{}", std::process::id()));
        let build = cache.join("build/7.3");
        fs::create_dir_all(&build).unwrap();
        assert!(module(&cache, "7.3", None).is_err());
        assert!(module(&cache, "7.3", Some(&build.join("x.ko"))).is_err());
        assert!(module(&cache, "7.3", Some(&build)).is_err());
        fs::write(build.join("nfsd_ha.ko"), "").unwrap();
        assert!(module(&cache, "7.3", None).is_ok());
        fs::remove_dir_all(cache).unwrap();
    }

    #[test]
    fn the_guest_has_the_module_and_the_program_by_one_name() {
        let kernel = Kernel {
            release: "7.3".into(),
            images: Images {
                kernel: PathBuf::new(),
                initrd: PathBuf::new(),
                root: PathBuf::new(),
                modules: PathBuf::new(),
            },
            module: Some("/build/other.ko".into()),
            program: "/build/other".into(),
            helpers: vec!["/build/tool".into()],
        };
        let names: Vec<_> = kernel.files().unwrap().into_iter().map(|f| f.0).collect();
        assert_eq!(names, ["nfsd_ha.ko", "nfsd-ha", "tool"]);
    }

    #[test]
    fn the_closing_line_shows_what_was_skipped() {
        let mut totals = Totals::default();
        totals.add(Totals {
            passed: 2,
            failed: 1,
            skipped: 0,
        });
        assert_eq!(totals.closing_line(), "2 passed, 1 failed");
        totals.skipped = 3;
        assert_eq!(totals.closing_line(), "2 passed, 1 failed, 3 skipped");
    }
}
