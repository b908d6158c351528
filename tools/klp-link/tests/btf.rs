// SPDX-License-Identifier: GPL-2.0

//! The BTF parser on BTF made here, and on that of a kernel.

use klp_link::btf::{self, Member, Structs};
use klp_link::modules;
use std::env;
use std::path::Path;

/// BTF of these types and strings (include/uapi/linux/btf.h, `struct btf_header`).
fn blob(types: &[u32], strings: &str) -> Vec<u8> {
    let types: Vec<u8> = types.iter().flat_map(|word| word.to_le_bytes()).collect();
    let (types_len, strings_len) = (types.len() as u32, strings.len() as u32);
    let mut btf = vec![0x9f, 0xeb, 1, 0];
    for word in [24, 0, types_len, types_len, strings_len] {
        btf.extend(u32::to_le_bytes(word));
    }
    [btf, types, strings.as_bytes().to_vec()].concat()
}

fn info(kind: u32, count: u32) -> u32 {
    (kind << 24) | count
}

fn offsets(structs: &Structs, name: &str) -> Vec<(String, u32)> {
    let [layout] = &structs[name][..] else {
        panic!("not one structure {name}");
    };
    let pair = |m: &Member| (m.name.clone(), m.offset);
    layout.members.iter().map(pair).collect()
}

/// One type of each kind before a structure: a wrong length of any loses the structure.
fn all_kinds() -> Vec<u32> {
    let mut types = Vec::new();
    for (kind, count, rest) in [
        (1, 0, 1),
        (2, 0, 0),
        (3, 0, 3),
        (5, 2, 6),
        (6, 3, 6),
        (7, 0, 0),
        (8, 0, 0),
        (9, 0, 0),
        (10, 0, 0),
        (11, 0, 0),
        (12, 1, 0),
        (13, 2, 4),
        (14, 0, 1),
        (15, 2, 6),
        (16, 0, 0),
        (17, 0, 1),
        (18, 0, 0),
        (19, 2, 6),
    ] {
        types.extend([0, info(kind, count), 4]);
        types.extend(vec![0; rest]);
    }
    types
}

#[test]
fn finds_a_structure_behind_every_kind() {
    let mut types = all_kinds();
    types.extend([1, info(4, 2), 16, 3, 1, 0, 5, 1, 64]);
    let structs = btf::structs(&blob(&types, "\0s\0a\0b\0"), &[]).unwrap();
    assert_eq!(structs["s"][0].size, 16);
    assert_eq!(offsets(&structs, "s"), [("a".into(), 0), ("b".into(), 8)]);
}

#[test]
fn a_large_enumeration_is_skipped() {
    // More values than 16 bits count.
    let count = 0x1_0001;
    let mut types = vec![0, info(6, count), 4];
    types.extend(vec![0; 2 * count as usize]);
    types.extend([1, info(4, 1), 8, 3, 1, 0]);
    let structs = btf::structs(&blob(&types, "\0s\0a\0"), &[]).unwrap();
    assert_eq!(offsets(&structs, "s"), [("a".into(), 0)]);
}

#[test]
fn leaves_out_bit_fields_and_unnamed_members() {
    let flag = 1 << 31;
    let types = [1, flag | info(4, 3), 16, 3, 1, 3 << 24, 0, 1, 32, 5, 1, 64];
    let structs = btf::structs(&blob(&types, "\0s\0a\0b\0"), &[]).unwrap();
    assert_eq!(offsets(&structs, "s"), [("b".into(), 8)]);
}

#[test]
fn the_names_of_a_module_go_on_after_those_of_the_kernel() {
    let base = blob(&[1, info(4, 0), 4], "\0base\0");
    // 1: "base" in the kernel's strings; 6 and 10: "own" and "m" in the module's, 5 less.
    let types = [7, info(4, 2), 8, 1, 1, 0, 11, 1, 32];
    let structs = btf::structs(&blob(&types, "\0own\0m\0"), &base).unwrap();
    let wanted = [("base".into(), 0), ("m".into(), 4)];
    assert_eq!(offsets(&structs, "own"), wanted);
    assert!(!structs.contains_key("base"));
}

#[test]
fn two_layouts_of_one_name_are_kept_apart() {
    let one = [1, info(4, 0), 4];
    let two = [1, info(4, 0), 8];
    let read = |types: &[u32]| btf::structs(&blob(types, "\0s\0"), &[]).unwrap();
    assert_eq!(read(&[one, one].concat())["s"].len(), 1);
    assert_eq!(read(&[one, two].concat())["s"].len(), 2);
}

#[test]
fn refuses_what_is_no_btf() {
    let good = blob(&[1, info(4, 1), 4, 3, 1, 0], "\0s\0a\0");
    for length in 0..good.len() {
        assert!(btf::structs(&good[..length], &[]).is_err(), "{length}");
    }
    let newer = blob(&[0, info(20, 0), 0], "\0");
    assert!(btf::structs(&newer, &[]).is_err());
    // Five bits would make a structure of this.
    let wide = blob(&[0, info(0x24, 0), 0], "\0");
    assert!(btf::structs(&wide, &[]).is_err());
}

/// `BTF_VMLINUX` and `MODULES` are the options of btf-layout; without them there is nothing to do.
#[test]
fn reads_the_targeted_kernel() {
    let (Ok(vmlinux), Ok(tree)) = (env::var("BTF_VMLINUX"), env::var("MODULES")) else {
        return;
    };
    let base = modules::read(Path::new(&vmlinux)).unwrap();
    let base = btf::section(&base, &vmlinux).unwrap();
    let nfsd = modules::find(Path::new(&tree), "nfsd").unwrap();
    let nfsd = btf::section(&modules::read(&nfsd).unwrap(), "nfsd.ko").unwrap();
    let structs = btf::structs(&nfsd, &base).unwrap();
    for name in ["nfsd_net", "nfs4_client", "nfsd4_client_tracking_ops"] {
        let layout = &structs[name][0];
        assert!(!layout.members.is_empty(), "{name}");
        assert!(layout.members.iter().all(|m| m.offset <= layout.size));
        assert!(layout.members.is_sorted_by_key(|m| m.offset), "{name}");
    }
    assert!(btf::structs(&base, &[]).unwrap().contains_key("klp_object"));
}
