// SPDX-License-Identifier: GPL-2.0

//! Turns undefined symbols of a kernel module into livepatch symbols.

use anyhow::{ensure, Context, Result};
use clap::{Parser, Subcommand};
use klp_link::{link, modules, symbols};
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Parser)]
#[command(about = "Turns undefined symbols of a kernel module into livepatch symbols")]
struct Args {
    /// The list of symbols: lines of OBJECT SYMBOL [POSITION | body [static]]
    #[arg(long)]
    symbols: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Links a module in place
    Link {
        /// Where the targeted modules are, as OBJECT.ko or OBJECT.ko.xz
        #[arg(long)]
        objects: PathBuf,
        /// The module to link
        module: PathBuf,
    },
    /// Prints the symbols as modpost reads them (KBUILD_EXTRA_SYMBOLS)
    Symvers,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut symbols = symbols::read(&args.symbols)?;
    match args.command {
        Command::Symvers => print!("{}", symbols::symvers(&symbols)),
        Command::Link { objects, module } => {
            let own =
                fs::read(&module).with_context(|| format!("cannot read {}", module.display()))?;
            check(&mut symbols, &objects, &modules::replaced(&own)?)?;
            link(&symbols, &module)?;
        }
    }
    Ok(())
}

/// Checks that each symbol is where the list says, and finds the functions' own bodies. For symbols of
/// the kernel the loader does it, when it loads the module: the `vmlinux` of a headers package has none,
/// and no code. The kernel's global functions begin as those of its modules do: it was built with the same options. The
/// module looks at them when it is loaded.
fn check(
    symbols: &mut symbols::Symbols,
    objects: &Path,
    replaced: &BTreeSet<String>,
) -> Result<()> {
    let mut files = HashMap::new();
    let mut offsets = BTreeSet::new();
    let mut unlisted = replaced.clone();
    unlisted.retain(|name| !symbols.contains_key(name));
    let (of_kernel, of_objects): (Vec<_>, Vec<_>) = symbols
        .iter_mut()
        .partition(|(_, p)| p.object == symbols::KERNEL);
    for (name, place) in of_objects {
        let (file, module) = match files.entry(place.object.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let path = modules::find(objects, &place.object)?;
                new.insert((path.display().to_string(), modules::read(&path)?))
            }
        };
        modules::check_symbol(module, file, name, place.position)?;
        let is_replaced = replaced.contains(name);
        let is_seen = is_replaced && modules::is_seen_through(module, file, name)?;
        ensure!(
            is_seen == place.returns_as_its,
            "{name} of {file} is {} static function that is replaced and called where gcc sees it, which takes it that it returns \
             what it can: {}",
            if is_seen { "a" } else { "no" },
            if is_seen {
                "see that what takes its place does not return anything else, and say 'static' after 'body'"
            } else {
                "it needs no 'static'"
            }
        );
        if place.body {
            let (offset, is_global) = modules::body(module, file, name)?;
            place.offset = offset;
            if is_global {
                offsets.insert(offset);
            }
        }
    }
    for (file, module) in files.values() {
        for name in &unlisted {
            ensure!(
                !modules::is_seen_through(module, file, name)?,
                "{name} of {file} is a static function that is replaced and called where gcc sees it: list it with 'body static'"
            );
        }
    }
    for (name, place) in of_kernel {
        if place.body {
            ensure!(
                offsets.len() == 1,
                "where {name} of the kernel itself begins is not known: those of modules begin at {offsets:?}"
            );
            place.offset = offsets.first().copied().unwrap_or_default();
        }
    }
    Ok(())
}

fn link(symbols: &symbols::Symbols, module: &Path) -> Result<()> {
    let show = module.display();
    let data = fs::read(module).with_context(|| format!("cannot read {show}"))?;
    let Some((data, summary)) = link::link(&data, symbols).with_context(|| show.to_string())?
    else {
        println!("  KLP     {show} (linked already)");
        return Ok(());
    };
    // In one step, so that an interrupted build leaves no half of a module.
    let temporary = module.with_extension("ko.tmp");
    fs::write(&temporary, data).with_context(|| format!("cannot write {}", temporary.display()))?;
    fs::rename(&temporary, module).with_context(|| format!("cannot replace {show}"))?;
    let counts: Vec<_> = summary
        .iter()
        .map(|(object, n)| format!("{n} of {object}"))
        .collect();
    println!("  KLP     {show}: relocations {}", counts.join(", "));
    Ok(())
}
