// SPDX-License-Identifier: GPL-2.0
//! Which tests there are, and which of them are meant by a name.

use anyhow::{bail, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// What a test's file name ends in.
const TESTS: [&str; 3] = ["sh", "py", "scenario"];

/// Names in `dir` that `wanted` likes, sorted.
pub fn names(dir: &Path, wanted: impl Fn(&Path) -> bool) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .filter(|e| wanted(&e.path()))
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// All files that may be tests, which are in the rooms (directories) of `dir`, in the order of their names.
fn all(dir: &Path) -> Vec<PathBuf> {
    let is_test = |path: &Path| {
        path.extension()
            .is_some_and(|e| TESTS.iter().any(|t| e == *t))
    };
    let mut tests: Vec<_> = names(dir, Path::is_dir)
        .into_iter()
        .flat_map(|room| {
            names(&dir.join(&room), is_test)
                .into_iter()
                .map(move |name| (name, room.clone()))
        })
        .collect();
    tests.sort();
    tests
        .into_iter()
        .map(|(name, room)| dir.join(room).join(name))
        .collect()
}

/// Whether a test is one of those that are run when none is named: its name begins with a digit.
fn is_numbered(test: &Path) -> bool {
    file_name(test).starts_with(|c: char| c.is_ascii_digit())
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The tests that `wanted` means: each is the name of a file, with or without extension, a path, or else how
/// the names of numbered tests begin. Without one, all that are numbered.
pub fn select(dir: &Path, wanted: &[String]) -> Result<Vec<PathBuf>> {
    choose(&all(dir), wanted, &dir.display().to_string())
}

fn choose(all: &[PathBuf], wanted: &[String], whence: &str) -> Result<Vec<PathBuf>> {
    let numbered = || all.iter().filter(|test| is_numbered(test));
    if wanted.is_empty() {
        return Ok(numbered().cloned().collect());
    }
    let mut tests: Vec<PathBuf> = Vec::new();
    let mut unknown = Vec::new();
    for name in wanted {
        let exact = |path: &&PathBuf| {
            let is_stem = path.file_stem().is_some_and(|stem| stem == name.as_str());
            !name.is_empty() && (path.ends_with(name) || is_stem)
        };
        if let Some(test) = all.iter().find(exact) {
            tests.push(test.clone());
            continue;
        }
        if Path::new(name).is_file() {
            tests.push(name.into());
            continue;
        }
        let begins: Vec<_> = numbered()
            .filter(|test| !name.is_empty() && file_name(test).starts_with(name.as_str()))
            .collect();
        if begins.is_empty() {
            unknown.push(format!("'{name}'"));
        }
        for test in begins {
            if !tests.contains(test) {
                tests.push(test.clone());
            }
        }
    }
    if !unknown.is_empty() {
        bail!("no test in {whence} begins with {}", unknown.join(", "));
    }
    Ok(tests)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(wanted: &[&str]) -> Result<Vec<String>> {
        let all = [
            "a/52-release.py",
            "a/70-reclaim-clients.py",
            "b/70-reclaim.scenario",
            "b/71-other.sh",
            "b/storm.py",
            "b/stormer.py",
        ]
        .map(|name| PathBuf::from("/tests").join(name));
        let wanted: Vec<_> = wanted.iter().map(|w| (*w).to_string()).collect();
        let tests = choose(&all, &wanted, "/tests")?;
        Ok(tests
            .iter()
            .map(|t| t.file_stem().unwrap().to_string_lossy().into_owned())
            .collect())
    }

    #[test]
    fn all_that_are_numbered() {
        let all = chosen(&[]).unwrap();
        assert_eq!(all.len(), 4);
        assert!(!all.contains(&"storm".into()));
    }

    #[test]
    fn begins_so() {
        assert_eq!(chosen(&["52"]).unwrap(), ["52-release"]);
        assert_eq!(chosen(&["52-release", "7"]).unwrap().len(), 4);
        // Each once, unless it is named twice.
        assert_eq!(chosen(&["70", "7"]).unwrap().len(), 3);
        assert_eq!(chosen(&["52-release", "52-release"]).unwrap().len(), 2);
    }

    #[test]
    fn an_exact_name_wins() {
        assert_eq!(chosen(&["70-reclaim"]).unwrap(), ["70-reclaim"]);
        assert_eq!(chosen(&["storm.py"]).unwrap(), ["storm"]);
        assert_eq!(chosen(&["b/71-other.sh"]).unwrap(), ["71-other"]);
    }

    #[test]
    fn says_what_matches_nothing() {
        let error = chosen(&["99", "52", "", "stor"]).unwrap_err().to_string();
        assert_eq!(error, "no test in /tests begins with '99', '', 'stor'");
    }
}
