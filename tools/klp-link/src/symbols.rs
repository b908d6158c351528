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

/// The object whose symbols are the kernel's own.
pub const KERNEL: &str = "vmlinux";

/// Where a symbol is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The object that has it: a kernel module, or [`KERNEL`].
    pub object: String,
    /// Which of the symbols of that name, from 1; 0 if there is one only.
    pub position: usize,
    /// Calls go to what the function itself does, also if it is replaced.
    pub body: bool,
    /// It is static, is called where gcc sees it, and may be replaced: what takes its place returns nothing that it does not.
    pub returns_as_its: bool,
    /// Where that begins, in bytes from the function's address.
    pub offset: i64,
}

/// The symbols by name, each with its place.
pub type Symbols = BTreeMap<String, Place>;

/// Reads a list of `OBJECT SYMBOL [POSITION | body]` lines.
pub fn read(path: &Path) -> Result<Symbols> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| path.display().to_string())
}

fn parse(text: &str) -> Result<Symbols> {
    let mut symbols = Symbols::new();
    for (number, line) in lines(text) {
        let words: Vec<_> = line.split_whitespace().collect();
        let (object, name, position, body) = match words[..] {
            [object, name] => (object, name, Ok(0), false),
            [object, name, "body"] | [object, name, "body", "static"] => {
                (object, name, Ok(0), true)
            }
            [object, name, position] => (object, name, position.parse(), false),
            _ => bail!(
                "line {number}: want OBJECT SYMBOL [POSITION | body [static]], found '{line}'"
            ),
        };
        let returns_as_its = words.get(3).is_some();
        let position =
            position.with_context(|| format!("line {number}: the position must be a number"))?;
        if object.len() > OBJECT_MAX || name.len() > NAME_MAX {
            bail!("line {number}: longer than the kernel's loader reads");
        }
        // The loader takes the name apart at these (kernel/livepatch/core.c,
        // klp_resolve_symbols()).
        if object.contains('.') || name.contains(',') {
            bail!("line {number}: no '.' in an object, no ',' in a symbol");
        }
        let place = Place {
            object: object.into(),
            position,
            body,
            returns_as_its,
            offset: 0,
        };
        if symbols.insert(name.into(), place).is_some() {
            bail!("line {number}: {name} is there twice: keep one of the lines");
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
        .flat_map(|name| ["0x00000000\t", name, "\tvmlinux\tEXPORT_SYMBOL_GPL\t\n"])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_comments_and_names() {
        let symbols = parse("# a list\n\nnfsd one # why\nsunrpc\ttwo 3\nnfsd x body").unwrap();
        let place = |name: &str| {
            let place = &symbols[name];
            (&*place.object, place.position, place.body)
        };
        assert_eq!(place("one"), ("nfsd", 0, false));
        assert_eq!(place("two"), ("sunrpc", 3, false));
        assert_eq!(place("x"), ("nfsd", 0, true));
        assert_eq!(
            symvers(&symbols).lines().next(),
            Some("0x00000000\tone\tvmlinux\tEXPORT_SYMBOL_GPL\t")
        );
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        for text in [
            "nfsd",
            "nfsd a b",
            "nfsd a 1 2",
            "nfsd a 1 static",
            "nfsd.ko a",
            "nfsd a,0",
            "nfsd a\nlockd a",
            &format!("nfsd {}", "x".repeat(512)),
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
