// SPDX-License-Identifier: GPL-2.0

//! Writes Rust assertions that compare private structures with the BTF of the kernel targeted.
//!
//! bindgen makes the structures from the kernel's headers. If these are not those that the
//! targeted nfsd.ko was built from, or bindgen got a layout wrong, the build fails.

use anyhow::{bail, Context, Result};
use clap::Parser;
use klp_link::btf::{self, Layout, Structs};
use klp_link::{modules, symbols};
use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

#[derive(Parser)]
#[command(about = "Writes Rust assertions of structure layouts, from BTF")]
struct Args {
    /// An ELF file with the kernel's BTF
    #[arg(long)]
    vmlinux: PathBuf,
    /// Where the targeted modules are, as OBJECT.ko or OBJECT.ko.xz
    #[arg(long)]
    objects: PathBuf,
    /// The list of structures: lines of OBJECT STRUCT[: MEMBER...]
    #[arg(long)]
    types: PathBuf,
    /// The Rust file to write
    #[arg(long)]
    out: PathBuf,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let show = args.vmlinux.display().to_string();
    let base = btf::section(&modules::read(&args.vmlinux)?, &show)?;
    let mut objects = HashMap::from([("vmlinux".to_string(), btf::structs(&base, &[])?)]);

    let list = fs::read_to_string(&args.types)
        .with_context(|| format!("cannot read {}", args.types.display()))?;
    let mut out = String::from("// Written by btf-layout from the BTF of the targeted kernel.\n");
    for (number, line) in symbols::lines(&list) {
        let (head, members) = line.split_once(':').unwrap_or((line, ""));
        let [object, name] = head.split_whitespace().collect::<Vec<_>>()[..] else {
            bail!(
                "{}:{number}: want OBJECT STRUCT[: MEMBER...]",
                args.types.display()
            );
        };
        if !objects.contains_key(object) {
            let path = modules::find(&args.objects, object)?;
            let own = btf::section(&modules::read(&path)?, &path.display().to_string())?;
            objects.insert(object.into(), btf::structs(&own, &base)?);
        }
        let layout = find(&objects, object, name)?;
        write_assertions(&mut out, object, name, layout, members)?;
    }
    fs::write(&args.out, out).with_context(|| format!("cannot write {}", args.out.display()))
}

/// The layout of a structure in an object, or else in the kernel.
fn find<'a>(objects: &'a HashMap<String, Structs>, object: &str, name: &str) -> Result<&'a Layout> {
    for place in [object, "vmlinux"] {
        match objects[place].get(name).map(Vec::as_slice) {
            Some([layout]) => return Ok(layout),
            Some(_) => bail!("{place} has several structures {name}"),
            None => {}
        }
    }
    bail!(
        "neither {object} nor vmlinux has a structure {name}: nfsd_ha does not know this kernel, \
         or the two are not of the same kernel"
    )
}

/// Asserts the offsets of all members, or of those in `only`, and of the size if all are.
fn write_assertions(
    out: &mut String,
    object: &str,
    name: &str,
    layout: &Layout,
    only: &str,
) -> Result<()> {
    let only: Vec<_> = only.split_whitespace().collect();
    for wanted in &only {
        if !layout.members.iter().any(|m| m.name == *wanted) {
            bail!("{object}: {name} has no member {wanted}: nfsd_ha does not know this kernel");
        }
    }
    let mut assert = |what: &str, seen: &str, value: u32| {
        writeln!(
            out,
            "const _: () = assert!({seen} == {value}, \"{what} is {value} in {object}'s BTF, \
             but not in the headers that this module is built with\");"
        )
    };
    for member in layout
        .members
        .iter()
        .filter(|m| only.is_empty() || only.contains(&&*m.name))
    {
        let field = rust_name(&member.name);
        let seen = format!("core::mem::offset_of!(crate::private::{name}, {field})");
        assert(
            &format!("the offset of {name}.{}", member.name),
            &seen,
            member.offset,
        )?;
    }
    if only.is_empty() {
        let seen = format!("core::mem::size_of::<crate::private::{name}>()");
        assert(&format!("the size of {name}"), &seen, layout.size)?;
    }
    Ok(())
}

/// What bindgen 0.71 puts an underscore behind, as far as C has it for a member's name.
const RENAMED: &str = "\
    Self abstract alignof as async await become bool box crate dyn f32 f64 false \
    final fn i128 i16 i32 i64 i8 impl in isize let loop macro match mod move mut \
    offsetof override priv proc pub pure ref self str super trait true try type \
    u128 u16 u32 u64 u8 unsafe unsized use usize virtual where yield";

/// The name that bindgen gives to a member.
fn rust_name(name: &str) -> String {
    let renamed = RENAMED.split_whitespace().any(|word| word == name);
    format!("{name}{}", if renamed { "_" } else { "" })
}
