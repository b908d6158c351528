// SPDX-License-Identifier: GPL-2.0

//! Kernel modules as files.

use anyhow::{bail, ensure, Context, Result};
use object::{
    Object, ObjectSection, ObjectSymbol, RelocationKind, RelocationTarget, SectionKind, SymbolKind,
};
use std::collections::{BTreeMap, BTreeSet};
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

/// Is `name` of `module` a static function that is called where gcc can see it? gcc takes it for granted there that it returns only
/// what it can (interprocedural value range propagation).
pub fn is_seen_through(module: &[u8], file: &str, name: &str) -> Result<bool> {
    let elf = object::File::parse(module).with_context(|| format!("{file} is no ELF file"))?;
    let Some(function) = elf
        .symbols()
        .find(|s| s.is_definition() && s.kind() == SymbolKind::Text && s.name() == Ok(name))
    else {
        return Ok(false);
    };
    let Some(own) = function.section_index() else {
        return Ok(false);
    };
    if !function.is_local() {
        return Ok(false);
    }
    for section in elf.sections().filter(|s| s.kind() == SectionKind::Text) {
        let (data, mut relocated) = (section.data()?, BTreeSet::new());
        for (at, relocation) in section.relocations() {
            relocated.insert(at);
            let RelocationTarget::Symbol(target) = relocation.target() else {
                continue;
            };
            let target = elf.symbol_by_index(target)?;
            // A call counts from its end.
            let to = target
                .address()
                .wrapping_add_signed(relocation.addend() + 4);
            let is_call = relocation.kind() != RelocationKind::Absolute;
            if is_call && target.section_index() == Some(own) && to == function.address() {
                return Ok(true);
            }
        }
        // Within a section the assembler knows where a call leads.
        if section.index() == own && calls(data, function.address(), &relocated) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Is there a call of `to`, or a jump, in a section? Bytes that only look like one count as one, which does not happen by chance.
fn calls(section: &[u8], to: u64, relocated: &BTreeSet<u64>) -> bool {
    /// `CALL`, `JMP`, and after 0x0f what is taken under a condition.
    const OPCODES: [std::ops::RangeInclusive<u8>; 2] = [0xe8..=0xe9, 0x80..=0x8f];
    section.windows(5).enumerate().any(|(at, bytes)| {
        let is_one = OPCODES[0].contains(&bytes[0])
            || OPCODES[1].contains(&bytes[0]) && at > 0 && section[at - 1] == 0x0f;
        let offset = i32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
        let end = at as u64 + 5;
        is_one
            && end.wrapping_add_signed(offset.into()) == to
            && !relocated.contains(&(at as u64 + 1))
    })
}

/// The functions that a livepatch replaces: in its data, a name and what takes its place, side by side (`struct klp_func`).
pub fn replaced(livepatch: &[u8]) -> Result<BTreeSet<String>> {
    let elf = object::File::parse(livepatch).context("not an ELF file")?;
    let mut names = BTreeSet::new();
    for section in elf.sections().filter(|s| s.kind() == SectionKind::Data) {
        let pointers: BTreeMap<_, _> = section.relocations().collect();
        for (at, name) in &pointers {
            let Some(function) = pointers.get(&(at + 8)) else {
                continue;
            };
            let (RelocationTarget::Symbol(name_of), RelocationTarget::Symbol(function_of)) =
                (name.target(), function.target())
            else {
                continue;
            };
            let is_text = |symbol| -> Result<bool> {
                let Some(index) = elf.symbol_by_index(symbol)?.section_index() else {
                    return Ok(false);
                };
                Ok(elf.section_by_index(index)?.kind() == SectionKind::Text)
            };
            if !is_text(function_of)? {
                continue;
            }
            let symbol = elf.symbol_by_index(name_of)?;
            let Some(index) = symbol.section_index() else {
                continue;
            };
            let data = elf.section_by_index(index)?.data()?;
            let start = symbol.address().wrapping_add_signed(name.addend());
            let text = data.get(usize::try_from(start)?..).unwrap_or_default();
            let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
            if let Ok(text) = std::str::from_utf8(text) {
                if !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                {
                    names.insert(text.to_string());
                }
            }
        }
    }
    Ok(names)
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
