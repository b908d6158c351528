// SPDX-License-Identifier: GPL-2.0

//! Structures in BTF (Documentation/bpf/btf.rst).

use anyhow::{bail, ensure, Context, Result};
use object::{Object, ObjectSection};
use std::collections::HashMap;

const MAGIC: u16 = 0xeb9f;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;

/// A named member that is not a bit field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The member's name.
    pub name: String,
    /// Its offset, in bytes.
    pub offset: u32,
}

/// The layout of a structure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Its size, in bytes.
    pub size: u32,
    /// Its named members, in order.
    pub members: Vec<Member>,
}

/// The structures of one file, by name. A name may stand for several.
pub type Structs = HashMap<String, Vec<Layout>>;

/// The BTF section of an ELF file.
pub fn section(elf: &[u8], file: &str) -> Result<Vec<u8>> {
    let elf = object::File::parse(elf).with_context(|| format!("{file} is no ELF file"))?;
    let section = elf.section_by_name(".BTF").with_context(|| {
        format!("{file} has no BTF: its kernel needs CONFIG_DEBUG_INFO_BTF_MODULES")
    })?;
    Ok(section.data()?.to_vec())
}

/// The header's values that matter: where types and strings are.
struct Parts<'a> {
    types: &'a [u8],
    strings: &'a [u8],
}

fn word(data: &[u8], at: usize) -> Result<u32> {
    let bytes = data.get(at..at + 4).context("BTF ends too early")?;
    Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

fn split(btf: &[u8]) -> Result<Parts<'_>> {
    ensure!(
        word(btf, 0)? as u16 == MAGIC,
        "no BTF of this machine's byte order"
    );
    let header = word(btf, 4)? as usize;
    let part = |at: usize| -> Result<&[u8]> {
        let start = header + word(btf, at)? as usize;
        btf.get(start..start + word(btf, at + 4)? as usize)
            .context("BTF ends too early")
    };
    Ok(Parts {
        types: part(8)?,
        strings: part(16)?,
    })
}

/// Reads the structures in `btf`. The names of a module's BTF go on where those of the kernel's
/// end: `base` is the latter, or empty for the kernel itself.
pub fn structs(btf: &[u8], base: &[u8]) -> Result<Structs> {
    let base_strings = if base.is_empty() {
        &[][..]
    } else {
        split(base)?.strings
    };
    let parts = split(btf)?;
    let name = |offset: u32| -> Result<String> {
        let offset = offset as usize;
        let tail = match offset.checked_sub(base_strings.len()) {
            Some(own) => parts.strings.get(own..),
            None => base_strings.get(offset..),
        };
        let tail = tail.context("a BTF name is outside of the strings")?;
        let end = tail
            .iter()
            .position(|b| *b == 0)
            .context("a BTF name has no end")?;
        Ok(String::from_utf8_lossy(&tail[..end]).into_owned())
    };

    let mut structs = Structs::new();
    let mut at = 0;
    while at < parts.types.len() {
        let info = word(parts.types, at + 4)?;
        // include/uapi/linux/btf.h, BTF_INFO_VLEN() and so on; older kernels used fewer bits.
        let (count, kind, flag) = (info & 0xff_ffff, (info >> 24) & 0x7f, info >> 31 != 0);
        let body = at + 12;
        at = body + extra(kind, count as usize)?;
        if kind != KIND_STRUCT {
            continue;
        }
        let mut members = Vec::new();
        for n in 0..count as usize {
            let member = body + 12 * n;
            let offset = word(parts.types, member + 8)?;
            // With the flag, the upper byte is the width of a bit field.
            let (bits, width) = if flag {
                (offset & 0xff_ffff, offset >> 24)
            } else {
                (offset, 0)
            };
            let name = name(word(parts.types, member)?)?;
            if !name.is_empty() && width == 0 {
                members.push(Member {
                    name,
                    offset: bits / 8,
                });
            }
        }
        let layout = Layout {
            size: word(parts.types, body - 4)?,
            members,
        };
        let known = structs
            .entry(name(word(parts.types, body - 12)?)?)
            .or_default();
        if !known.contains(&layout) {
            known.push(layout);
        }
    }
    Ok(structs)
}

/// The bytes that follow the first 12 of a type.
fn extra(kind: u32, count: usize) -> Result<usize> {
    Ok(match kind {
        // pointer, forward, typedef, volatile, const, restrict, function, float, type tag
        2 | 7..=12 | 16 | 18 => 0,
        // integer, variable, declaration tag
        1 | 14 | 17 => 4,
        // array
        3 => 12,
        KIND_STRUCT | KIND_UNION | 15 | 19 => 12 * count,
        // enumeration, function prototype
        6 | 13 => 8 * count,
        _ => bail!("BTF has a type of kind {kind}, which is newer than this program"),
    })
}
