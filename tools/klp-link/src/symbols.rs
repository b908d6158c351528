// SPDX-License-Identifier: GPL-2.0

//! The list of symbols that become livepatch symbols.

use anyhow::{bail, Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Longest symbol name that the loader reads (`KSYM_NAME_LEN`, include/linux/kallsyms.h).
const NAME_MAX: usize = 511;
/// Longest object name that the loader reads (`MODULE_NAME_LEN`, include/linux/module.h).
const OBJECT_MAX: usize = 55;

/// The symbols by name, each with the object (a kernel module) that has it.
pub type Symbols = BTreeMap<String, String>;

/// Reads a list of `OBJECT SYMBOL` lines.
pub fn read(path: &Path) -> Result<Symbols> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| path.display().to_string())
}

fn parse(text: &str) -> Result<Symbols> {
    let mut symbols = Symbols::new();
    for (number, line) in lines(text) {
        let words: Vec<_> = line.split_whitespace().collect();
        let [object, name] = words[..] else {
            bail!("line {number}: want OBJECT SYMBOL, found '{line}'");
        };
        if object.len() > OBJECT_MAX || name.len() > NAME_MAX {
            bail!("line {number}: longer than the kernel's loader reads");
        }
        if symbols.insert(name.into(), object.into()).is_some() {
            bail!("line {number}: {name} is there twice");
        }
    }
    Ok(symbols)
}

/// The lines that say something, without comments, with their numbers.
pub fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let text = text
        .lines()
        .map(|l| l.split('#').next().unwrap_or_default().trim());
    (1..).zip(text).filter(|(_, line)| !line.is_empty())
}

/// The list as modpost reads it (`KBUILD_EXTRA_SYMBOLS`).
///
/// The symbols are said to be the kernel's own: modpost then records no dependency on their
/// modules, which the livepatch must not have (scripts/mod/modpost.c, `add_depends()`).
pub fn symvers(symbols: &Symbols) -> String {
    symbols
        .keys()
        .map(|name| format!("0x00000000\t{name}\tvmlinux\tEXPORT_SYMBOL_GPL\t\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_comments_and_names() {
        let symbols = parse("# a list\n\nnfsd one # why\nsunrpc\ttwo\n").unwrap();
        assert_eq!(symbols["one"], "nfsd");
        assert_eq!(symbols["two"], "sunrpc");
        assert_eq!(symvers(&symbols).lines().count(), 2);
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        for text in [
            "nfsd",
            "nfsd a b",
            "nfsd a\nlockd a",
            &format!("nfsd {}", "x".repeat(512)),
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
