// SPDX-License-Identifier: GPL-2.0

//! Livepatch symbols and relocations (Documentation/livepatch/module-elf-format.rst).

use crate::symbols::{Place, Symbols, KERNEL};
use anyhow::{bail, Context, Result};
use object::build::elf::{Builder, Relocation, SectionData, SectionId, SymbolId};
use object::elf::{
    FileHeader64, SectionHeader64, R_X86_64_PLT32, SHF_ALLOC, SHF_INFO_LINK, SHN_UNDEF,
    SHT_PROGBITS, SHT_RELA,
};
use object::read::elf::{FileHeader as _, SectionHeader as _};
use object::{Endian as _, Endianness, Object, ObjectSection};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::mem::{offset_of, size_of_val};
use std::ops::RangeInclusive;

/// Marks relocations that livepatch applies (include/uapi/linux/elf.h, `SHF_RELA_LIVEPATCH`).
const SHF_RELA_LIVEPATCH: u64 = 0x0010_0000;
/// The section of symbols that livepatch resolves (include/uapi/linux/elf.h, `SHN_LIVEPATCH`).
const SHN_LIVEPATCH: u16 = 0xff20;

/// The beginnings of the names of sections that are used, or gone, before livepatch resolves the
/// symbols of a module: init (kernel/module/main.c, `module_init_section()`), the template of
/// per-CPU variables (`find_pcpusec()`), and what arch/x86/kernel/module.c and the notifiers of
/// jump labels and static calls patch the module with while it loads.
const TOO_EARLY: [&str; 5] = [
    ".init",
    ".data..percpu",
    ".altinstr_replacement",
    "__jump_table",
    ".static_call_sites",
];

/// The types of sections that clang makes for linkers (`SHT_LLVM_ADDRSIG` is one), and how their
/// names begin. The builder does not know them, and a module that is linked needs none.
const LLVM_TYPES: RangeInclusive<u32> = 0x6fff_4c00..=0x6fff_4cff;
const LLVM_NAMES: [&[u8]; 2] = [b".llvm", b".rela.llvm"];

/// What was done: relocations by object.
pub type Summary = BTreeMap<String, usize>;

/// Makes livepatch symbols of the undefined symbols of `module` that the list names, and
/// livepatch relocations of the relocations to them. `None` if that was done before.
pub fn link(module: &[u8], symbols: &Symbols) -> Result<Option<(Vec<u8>, Summary)>> {
    // The builder takes livepatch relocations for those of a dynamic linker and cannot read them.
    if object::File::parse(module)
        .context("not an ELF file")?
        .sections()
        .any(|s| s.name().is_ok_and(|n| n.starts_with(".klp.rela.")))
    {
        return Ok(None);
    }
    let module = plain_sections(module)?;
    let mut elf = Builder::read64(&*module).context("not a 64-bit ELF file")?;
    for section in elf.sections.iter_mut() {
        section.delete |= LLVM_NAMES.iter().any(|name| section.name.starts_with(name));
    }
    let places = rename(&mut elf, symbols)?;
    let mut summary = Summary::new();
    let sections: Vec<SectionId> = elf.sections.iter().map(|s| s.id()).collect();
    for id in sections {
        for (object, relocations) in take(&mut elf, id, &places)? {
            *summary.entry(object.clone()).or_default() += relocations.len();
            add(&mut elf, id, &object, relocations)?;
        }
    }
    let mut out = Vec::new();
    elf.write(&mut out)
        .context("cannot write the linked module")?;
    Ok(Some((out, summary)))
}

/// The module, with all sections of a type that the builder knows.
fn plain_sections(module: &[u8]) -> Result<Cow<'_, [u8]>> {
    let header = FileHeader64::<Endianness>::parse(module).context("not a 64-bit ELF file")?;
    let endian = header.endian()?;
    let mut plain = Cow::from(module);
    for (at, section) in header.section_headers(endian, module)?.iter().enumerate() {
        if LLVM_TYPES.contains(&section.sh_type(endian)) {
            let header_at = usize::try_from(header.e_shoff(endian))? + at * size_of_val(section);
            let kind = header_at + offset_of!(SectionHeader64<Endianness>, sh_type);
            plain.to_mut()[kind..kind + 4].copy_from_slice(&endian.write_u32_bytes(SHT_PROGBITS));
        }
    }
    Ok(plain)
}

/// The livepatch symbols, each with its place.
type Places<'a> = Vec<(SymbolId, &'a Place)>;

/// The place of the symbol of a relocation, if that is a livepatch symbol.
fn place_of<'a>(places: &Places<'a>, relocation: &Relocation) -> Option<&'a Place> {
    places
        .iter()
        .find(|(id, _)| relocation.symbol == Some(*id))
        .map(|(_, place)| *place)
}

/// Renames the symbols; returns the place of each.
fn rename<'a>(elf: &mut Builder<'_>, symbols: &'a Symbols) -> Result<Places<'a>> {
    let mut places = Places::new();
    for symbol in elf.symbols.iter_mut() {
        if symbol.section.is_some() || symbol.st_shndx != SHN_UNDEF {
            continue;
        }
        let name =
            String::from_utf8(symbol.name.to_vec()).context("a symbol's name is not text")?;
        if let Some(place) = symbols.get(&name) {
            let (object, position) = (&place.object, place.position);
            symbol.name = format!(".klp.sym.{object}.{name},{position}")
                .into_bytes()
                .into();
            symbol.st_shndx = SHN_LIVEPATCH;
            places.push((symbol.id(), place));
        }
    }
    Ok(places)
}

/// Takes the relocations to livepatch symbols out of one section, by object.
fn take(
    elf: &mut Builder<'_>,
    id: SectionId,
    places: &Places<'_>,
) -> Result<BTreeMap<String, Vec<Relocation>>> {
    let mut by_object: BTreeMap<String, Vec<Relocation>> = BTreeMap::new();
    let section = elf.sections.get(id);
    let (SectionData::Relocation(all), Some(target)) = (&section.data, section.sh_info_section)
    else {
        return Ok(by_object);
    };
    let target = elf.sections.get(target);
    // Debug information: the loader relocates what it loads only (kernel/module/main.c,
    // apply_relocations()), and so these are of no effect.
    if target.sh_flags & u64::from(SHF_ALLOC) == 0 {
        return Ok(by_object);
    }
    let early = TOO_EARLY
        .iter()
        .any(|name| target.name.starts_with(name.as_bytes()));
    let mut others = Vec::new();
    for relocation in all {
        let Some(place) = place_of(places, relocation) else {
            others.push(*relocation);
            continue;
        };
        let object = &place.object;
        // Its address is for replacing it. The body's would be no target of indirect calls (IBT).
        if place.body && relocation.r_type != R_X86_64_PLT32 {
            bail!("in {}, a function's body is not called", target.name);
        }
        // Those of the kernel itself are resolved in time (klp_write_section_relocs()).
        if early && *object != KERNEL {
            let symbol = relocation.symbol.context("a relocation without a symbol")?;
            bail!(
                "{} is used in {}, before livepatch resolves it: use it in a function that is \
                 called later, and not inlined",
                elf.symbols.get(symbol).name,
                target.name
            );
        }
        by_object
            .entry(object.clone())
            .or_default()
            .push(Relocation {
                r_addend: relocation.r_addend + place.offset,
                ..*relocation
            });
    }
    elf.sections.get_mut(id).data = SectionData::Relocation(others);
    Ok(by_object)
}

/// Adds the livepatch relocations of one object for the target of the section `from`.
fn add(
    elf: &mut Builder<'_>,
    from: SectionId,
    object: &str,
    relocations: Vec<Relocation>,
) -> Result<()> {
    let from = elf.sections.get(from);
    let (link, target) = (from.sh_link_section, from.sh_info_section);
    let (align, size) = (from.sh_addralign, from.sh_entsize);
    let name = &elf
        .sections
        .get(target.context("a relocation section without a target")?)
        .name;
    let name = format!(".klp.rela.{object}.{name}");
    let section = elf.sections.add();
    section.name = name.into_bytes().into();
    section.sh_type = SHT_RELA;
    section.sh_flags = SHF_RELA_LIVEPATCH | u64::from(SHF_ALLOC | SHF_INFO_LINK);
    section.sh_link_section = link;
    section.sh_info_section = target;
    section.sh_addralign = align;
    section.sh_entsize = size;
    section.data = SectionData::Relocation(relocations);
    Ok(())
}
