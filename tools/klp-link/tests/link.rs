// SPDX-License-Identifier: GPL-2.0

//! klp-link on a small module, made here.

use klp_link::link::link;
use klp_link::modules::is_seen_through;
use klp_link::symbols::{Place, Symbols};
use object::build::elf::{Builder, Relocation, SectionData, SectionId, SymbolId};
use object::elf::{
    Rela64, EM_X86_64, ET_REL, R_X86_64_PLT32, SHF_ALLOC, SHF_EXECINSTR, SHF_INFO_LINK,
    SHT_PROGBITS, SHT_RELA, SHT_STRTAB, SHT_SYMTAB, STB_GLOBAL, STB_LOCAL, STT_FUNC, STT_NOTYPE,
};
use object::read::elf::{ElfFile64, FileHeader, Rela, SectionHeader, Sym};
use object::{Endianness, Object, ObjectSection, ObjectSymbol};

/// A module with a section of each name, that uses `used` and `other`.
fn module(sections: &[(&str, u32)]) -> Vec<u8> {
    let mut elf = Builder::new(Endianness::Little, true);
    elf.header.e_type = ET_REL;
    elf.header.e_machine = EM_X86_64;
    let mut add = |name: &str, kind, data| -> SectionId {
        let section = elf.sections.add();
        section.name = name.as_bytes().to_vec().into();
        section.sh_type = kind;
        section.sh_addralign = 8;
        section.data = data;
        section.id()
    };
    let strings = add(".strtab", SHT_STRTAB, SectionData::String);
    let symtab = add(".symtab", SHT_SYMTAB, SectionData::Symbol);
    add(".shstrtab", SHT_STRTAB, SectionData::SectionString);
    elf.sections.get_mut(symtab).sh_link_section = Some(strings);

    let mut symbol = |name: &str| -> SymbolId {
        let symbol = elf.symbols.add();
        symbol.name = name.as_bytes().to_vec().into();
        symbol.set_st_info(STB_GLOBAL, STT_NOTYPE);
        symbol.id()
    };
    let symbols = [symbol("used"), symbol("other")];
    for (name, flags) in sections {
        let target = elf.sections.add();
        target.name = name.as_bytes().to_vec().into();
        target.sh_type = SHT_PROGBITS;
        target.sh_flags = (*flags).into();
        target.data = SectionData::Data(vec![0; 16].into());
        let target = target.id();
        let relocations = symbols.map(|symbol| Relocation {
            r_offset: 8,
            symbol: Some(symbol),
            r_type: R_X86_64_PLT32,
            r_addend: -4,
        });
        let section = elf.sections.add();
        section.name = format!(".rela{name}").into_bytes().into();
        section.sh_type = SHT_RELA;
        section.sh_flags = SHF_INFO_LINK.into();
        section.sh_info_section = Some(target);
        section.sh_link_section = Some(symtab);
        section.sh_entsize = 24;
        section.sh_addralign = 8;
        section.data = SectionData::Relocation(relocations.to_vec());
    }
    let mut out = Vec::new();
    elf.write(&mut out).unwrap();
    out
}

fn symbols(object: &str, position: usize) -> Symbols {
    let object = object.to_string();
    let place = Place {
        object,
        position,
        body: false,
        returns_as_its: false,
        offset: 0,
    };
    Symbols::from([("used".to_string(), place)])
}

/// The relocations of a section: their symbols' names, and what they add.
fn targets(elf: &ElfFile64<'_>, section: &str) -> Vec<(String, i64)> {
    let index = elf.section_by_name(section).unwrap().index();
    let header = elf.elf_section_table().section(index).unwrap();
    let (entries, _) = header
        .rela(Endianness::Little, elf.data())
        .unwrap()
        .unwrap();
    let target = |r: &Rela64<Endianness>| {
        let index = r.symbol(Endianness::Little, false).unwrap();
        let name = elf.symbol_by_index(index).unwrap().name().unwrap().into();
        (name, r.r_addend(Endianness::Little))
    };
    entries.iter().map(target).collect()
}

/// The names of the symbols that the relocations of a section are against.
fn relocations(elf: &ElfFile64<'_>, section: &str) -> Vec<String> {
    targets(elf, section)
        .into_iter()
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn moves_symbols_and_relocations() {
    let before = module(&[(".text", SHF_ALLOC), (".debug_info", 0)]);
    let (data, summary) = link(&before, &symbols("nfsd", 2)).unwrap().unwrap();
    assert_eq!(summary["nfsd"], 1);

    let elf = ElfFile64::<Endianness>::parse(&*data).unwrap();
    let linked = ".klp.sym.nfsd.used,2";
    let symbol = elf.symbols().find(|s| s.name() == Ok(linked)).unwrap();
    assert_eq!(symbol.elf_symbol().st_shndx(Endianness::Little), 0xff20);
    assert!(symbol.is_global());
    assert_eq!(relocations(&elf, ".klp.rela.nfsd..text"), [linked]);
    assert_eq!(relocations(&elf, ".rela.text"), ["other"]);
    // The loader does not look at these.
    assert_eq!(relocations(&elf, ".rela.debug_info"), [linked, "other"]);

    let index = elf.section_by_name(".klp.rela.nfsd..text").unwrap().index();
    let header = elf.elf_section_table().section(index).unwrap();
    assert_eq!(header.sh_flags(Endianness::Little), 0x0010_0042);
    assert_eq!(header.sh_entsize(Endianness::Little), 24);
    assert_eq!(header.sh_addralign(Endianness::Little), 8);
    let text = elf.section_by_name(".text").unwrap().index();
    assert_eq!(header.info_link(Endianness::Little), text);
    let header = elf.elf_header();
    assert_eq!(header.e_type(Endianness::Little), ET_REL);
}

#[test]
fn leads_to_the_body_of_a_function() {
    let mut symbols = symbols("nfsd", 0);
    let place = symbols.get_mut("used").unwrap();
    (place.body, place.offset) = (true, 9);
    let (data, _) = link(&module(&[(".text", SHF_ALLOC)]), &symbols)
        .unwrap()
        .unwrap();
    let elf = ElfFile64::<Endianness>::parse(&*data).unwrap();
    let linked = (".klp.sym.nfsd.used,0".to_string(), -4 + 9);
    assert_eq!(targets(&elf, ".klp.rela.nfsd..text"), [linked]);
    assert_eq!(targets(&elf, ".rela.text"), [("other".to_string(), -4)]);
}

#[test]
fn links_once() {
    let before = module(&[(".text", SHF_ALLOC)]);
    let (data, _) = link(&before, &symbols("nfsd", 0)).unwrap().unwrap();
    assert!(link(&data, &symbols("nfsd", 0)).unwrap().is_none());
}

#[test]
fn refuses_what_livepatch_resolves_too_late() {
    for name in [".init.text", ".data..percpu", "__jump_table"] {
        let before = module(&[(name, SHF_ALLOC)]);
        let error = link(&before, &symbols("nfsd", 0)).unwrap_err().to_string();
        assert!(error.contains("used") && error.contains(name), "{error}");
        // The kernel's own symbols are resolved when the module is loaded.
        assert!(link(&before, &symbols("vmlinux", 0)).is_ok());
    }
}

#[test]
fn leaves_out_what_clang_tells_linkers() {
    let name = ".llvm_addrsig";
    let mut before = module(&[(".text", SHF_ALLOC), (name, 0)]);
    let elf = ElfFile64::<Endianness>::parse(&*before).unwrap();
    let index = elf.section_by_name(name).unwrap().index();
    let at = elf.elf_header().e_shoff(Endianness::Little) as usize + index.0 * 64 + 4;
    before[at..at + 4].copy_from_slice(&0x6fff_4c03_u32.to_le_bytes());

    let (data, _) = link(&before, &symbols("nfsd", 0)).unwrap().unwrap();
    let elf = ElfFile64::<Endianness>::parse(&*data).unwrap();
    assert!(elf.section_by_name(name).is_none());
    assert_eq!(relocations(&elf, ".rela.text"), ["other"]);
}

/// A module with such code, and a function in it at byte 8.
fn with_function(binding: u8, code: [u8; 16]) -> Vec<u8> {
    let mut elf = Builder::new(Endianness::Little, true);
    elf.header.e_type = ET_REL;
    elf.header.e_machine = EM_X86_64;
    let mut add = |name: &str, kind, flags: u32, data| -> SectionId {
        let section = elf.sections.add();
        section.name = name.as_bytes().to_vec().into();
        section.sh_type = kind;
        section.sh_flags = flags.into();
        section.sh_addralign = 8;
        section.data = data;
        section.id()
    };
    let data = SectionData::Data(code.to_vec().into());
    let text = add(".text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, data);
    let strings = add(".strtab", SHT_STRTAB, 0, SectionData::String);
    let symtab = add(".symtab", SHT_SYMTAB, 0, SectionData::Symbol);
    add(".shstrtab", SHT_STRTAB, 0, SectionData::SectionString);
    elf.sections.get_mut(symtab).sh_link_section = Some(strings);
    let symbol = elf.symbols.add();
    symbol.name = b"function".to_vec().into();
    symbol.set_st_info(binding, STT_FUNC);
    symbol.section = Some(text);
    symbol.st_value = 8;
    let mut out = Vec::new();
    elf.write(&mut out).unwrap();
    out
}

#[test]
fn sees_that_a_static_function_is_called() {
    let call = |opcode: &[u8]| {
        let mut code = [0x90; 16];
        code[..opcode.len()].copy_from_slice(opcode);
        // From its own end to byte 8.
        code[opcode.len()..opcode.len() + 4]
            .copy_from_slice(&(4 - opcode.len() as i32).to_le_bytes());
        code
    };
    let is_seen = |binding, code| {
        is_seen_through(&with_function(binding, code), "a module", "function").unwrap()
    };
    for opcode in [&[0xe8][..], &[0xe9], &[0x0f, 0x84]] {
        assert!(is_seen(STB_LOCAL, call(opcode)), "{opcode:x?}");
        assert!(!is_seen(STB_GLOBAL, call(opcode)), "{opcode:x?}");
    }
    assert!(!is_seen(STB_LOCAL, [0x90; 16]));
}
