// SPDX-License-Identifier: GPL-2.0

//! Kernel modules as files.

use anyhow::{bail, ensure, Context, Result};
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Reads a module, packed with xz or not.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_some_and(|e| e == "xz") {
        let out = Command::new("xz")
            .arg("-dc")
            .arg(path)
            .output()
            .context("cannot run xz")?;
        ensure!(out.status.success(), "cannot unpack {}", path.display());
        return Ok(out.stdout);
    }
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Checks that livepatch will find the symbol `name` of `module` at this position, as
/// kernel/livepatch/core.c, `klp_find_object_symbol()`, looks for it.
pub fn check_symbol(module: &[u8], file: &str, name: &str, position: usize) -> Result<()> {
    let elf = object::File::parse(module).with_context(|| format!("{file} is no ELF file"))?;
    let count = elf
        .symbols()
        .filter(|s| !s.is_undefined() && s.name() == Ok(name))
        .count();
    match (count, position) {
        (0, _) => bail!("{file} has no symbol {name}: this kernel is not one that nfsd_ha knows"),
        (1, 0) => Ok(()),
        (n, 0) => bail!("{file} has {n} symbols {name}: say which, 1 to {n}, after the name"),
        (n, p) if p > n => bail!("{file} has {n} of the symbol {name}: there is no position {p}"),
        _ => Ok(()),
    }
}

/// Where the function `name` of `module` begins to do what it does, in bytes from its address: behind
/// the call of `__fentry__` at its start, where it can be replaced. Nothing is done before, so who
/// jumps there with the function's arguments calls it. And whether the function is a global one: others have no `ENDBR64`.
pub fn body(module: &[u8], file: &str, name: &str) -> Result<(i64, bool)> {
    /// `ENDBR64`, and the opcode of a call with its 4 bytes.
    const START: u64 = 4 + 1;
    let elf = object::File::parse(module).with_context(|| format!("{file} is no ELF file"))?;
    let function = elf
        .symbols()
        .find(|s| s.is_definition() && s.name() == Ok(name))
        .with_context(|| format!("{file} has no function {name}"))?;
    let section = function
        .section_index()
        .context("a function without a section")?;
    let fentry = elf.symbol_by_name("__fentry__").map(|s| s.index());
    let start = function.address();
    let call = elf
        .section_by_index(section)?
        .relocations()
        .find(|(at, relocation)| {
            (start..=start + START).contains(at)
                && matches!(relocation.target(), RelocationTarget::Symbol(s) if Some(s) == fentry)
        });
    let Some((at, _)) = call else {
        bail!("{name} of {file} does not begin with a call of __fentry__: it cannot be replaced");
    };
    Ok((i64::try_from(at + 4 - start)?, function.is_global()))
}

/// The file of the module `name` in a tree such as /lib/modules/RELEASE/kernel.
pub fn find(tree: &Path, name: &str) -> Result<PathBuf> {
    let wanted = [format!("{name}.ko"), format!("{name}.ko.xz")];
    let mut directories = vec![tree.to_path_buf()];
    while let Some(directory) = directories.pop() {
        let items = fs::read_dir(&directory)
            .with_context(|| format!("cannot look for {name}.ko in {}", directory.display()))?;
        for item in items {
            let item = item?;
            if item.file_type()?.is_dir() {
                directories.push(item.path());
            } else if wanted.iter().any(|w| item.file_name() == w.as_str()) {
                return Ok(item.path());
            }
        }
    }
    bail!(
        "{name}.ko is not in {}: name the modules of the targeted kernel",
        tree.display()
    )
}
