// SPDX-License-Identifier: GPL-2.0
//! What a run says of its tests in the end, and what the next one knows from it.

use crate::bench::Totals;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// How many of the slowest tests are named.
const SLOWEST: usize = 10;

/// A test that has run.
#[derive(Clone, Debug)]
pub struct Finished {
    /// On which kernel.
    pub release: String,
    /// Its name.
    pub name: String,
    /// Its results.
    pub totals: Totals,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// How much of that it could go on (see [`crate::limit`]).
    pub counted: f64,
    /// CPU time of its VMs, in seconds.
    pub cpu: f64,
}

impl Finished {
    /// A test that the harness could not run.
    pub fn broken(release: &str, name: &str) -> Self {
        Self {
            release: release.into(),
            name: name.into(),
            totals: Totals {
                failed: 1,
                ..Totals::default()
            },
            seconds: 0.0,
            counted: 0.0,
            cpu: 0.0,
        }
    }
}

/// How long tests took the last time: seconds that count, and of CPU, by kernel and test.
pub struct Times {
    path: PathBuf,
    tests: BTreeMap<(String, String), (f64, f64)>,
}

impl Times {
    /// Reads them from a file of lines `RELEASE TEST SECONDS CPU-SECONDS`, if there is one.
    pub fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap_or_default();
        Self {
            path,
            tests: text.lines().filter_map(Self::line).collect(),
        }
    }

    fn line(line: &str) -> Option<((String, String), (f64, f64))> {
        let [release, name, seconds, cpu] = line.split(' ').collect::<Vec<_>>()[..] else {
            return None;
        };
        let times = (seconds.parse().ok()?, cpu.parse().ok()?);
        Some(((release.into(), name.into()), times))
    }

    /// Seconds, and the weight: hundredths of a CPU.
    pub fn of(&self, release: &str, name: &str) -> Option<(f64, u32)> {
        let (seconds, cpu) = self.tests.get(&(release.into(), name.into()))?;
        let weight = (100.0 * cpu / seconds.max(1.0)).clamp(10.0, 10_000.0);
        // Positive, and not too large: it was clamped.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Some((*seconds, weight.round() as u32))
    }

    /// Notes those of tests that have passed; what failed says little.
    pub fn add(&mut self, finished: &[Finished]) {
        for test in finished {
            if test.totals.failed == 0 && test.totals.passed > 0 {
                let key = (test.release.clone(), test.name.clone());
                self.tests.insert(key, (test.counted, test.cpu));
            }
        }
    }

    /// Writes the file.
    pub fn write(&self) -> Result<()> {
        let mut text = String::new();
        for ((release, name), (seconds, cpu)) in &self.tests {
            text += &format!("{release} {name} {seconds:.1} {cpu:.1}\n");
        }
        let new = self
            .path
            .with_extension(format!("{}.new", std::process::id()));
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, &self.path))
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// The slowest tests, slowest first, and what all took.
pub fn slowest(finished: &[Finished]) -> String {
    let mut order: Vec<_> = finished.iter().collect();
    order.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    let mut text = String::new();
    if order.len() > 1 {
        let sum = |of: fn(&Finished) -> f64| finished.iter().map(of).sum::<f64>();
        text += &format!(
            "# {} tests: {:.0} s one after the other, {:.0} s of CPU; the slowest:\n",
            order.len(),
            sum(|t| t.seconds),
            sum(|t| t.cpu)
        );
        for test in order.iter().take(SLOWEST) {
            text += &format!(
                "#   {:6.1} s, {:6.1} s of CPU  {} on {}\n",
                test.seconds, test.cpu, test.name, test.release
            );
        }
    }
    text
}

/// How a test is run again.
#[derive(Default)]
pub struct Again {
    /// Options that `make test` does not have.
    pub options: Vec<String>,
    /// Words for the test's command line.
    pub args: Vec<String>,
}

impl Again {
    /// The command. `test` is a name, or a path if the test is none of ours.
    pub fn command(&self, release: &str, test: &str, seed: Option<&str>) -> String {
        let mut args = self.args.clone();
        args.extend(seed.map(str::to_owned));
        if self.options.is_empty() && !test.contains('/') {
            // Up to its distribution's name, a release begins as no other.
            let kernel = release.split('+').next().unwrap_or(release);
            let words = match &args[..] {
                [] => String::new(),
                [one] => format!(" ARGS={one}"),
                _ => format!(" ARGS='{}'", args.join(" ")),
            };
            return format!("make test KERNEL={kernel} TESTS={test}{words}");
        }
        let mut command = format!("vm run --kernel {release}");
        for option in &self.options {
            command += &format!(" {option}");
        }
        for word in &args {
            command += &format!(" --arg {word}");
        }
        format!("{command} {test}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(name: &str, seconds: f64, failed: u32) -> Finished {
        Finished {
            release: "7.3".into(),
            name: name.into(),
            totals: Totals {
                passed: 1,
                failed,
                skipped: 0,
            },
            seconds,
            counted: seconds / 2.0,
            cpu: seconds / 4.0,
        }
    }

    #[test]
    fn remembers_times() {
        let path = std::env::temp_dir().join(format!("vm-times-{}", std::process::id()));
        let mut times = Times::read(path.clone());
        times.add(&[finished("a", 10.0, 0), finished("b", 20.0, 1)]);
        times.write().unwrap();
        let times = Times::read(path.clone());
        assert_eq!(times.of("7.3", "a"), Some((5.0, 50)));
        assert_eq!(times.of("7.3", "b"), None);
        assert_eq!(times.of("7.2", "a"), None);
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn names_the_slowest_first() {
        let all: Vec<_> = (1_u32..=12)
            .map(|n| finished(&format!("t{n}"), f64::from(n), 0))
            .collect();
        let text = slowest(&all);
        assert_eq!(text.lines().count(), 11);
        assert!(text.starts_with("# 12 tests: 78 s one after the other, 20 s of CPU"));
        assert!(text.lines().nth(1).unwrap().contains("t12 on 7.3"));
        assert_eq!(slowest(&all[..1]), "");
    }

    #[test]
    fn says_how_to_run_it_again() {
        let mut again = Again::default();
        assert_eq!(
            again.command("7.3.4+deb13-cloud-amd64", "52-release", None),
            "make test KERNEL=7.3.4 TESTS=52-release"
        );
        again.args = vec!["steps=9".into()];
        assert_eq!(
            again.command("7.3.4+x", "46-faults", Some("seed=7")),
            "make test KERNEL=7.3.4 TESTS=46-faults ARGS='steps=9 seed=7'"
        );
        again.options = vec!["--slow".into(), "5".into()];
        assert_eq!(
            again.command("7.3.4+x", "46-faults", None),
            "vm run --kernel 7.3.4+x --slow 5 --arg steps=9 46-faults"
        );
    }
}
