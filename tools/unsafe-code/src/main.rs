// SPDX-License-Identifier: GPL-2.0

//! Prints the table of unsafe code that the documentation has, and fails if that one is another.

mod count;

use anyhow::{bail, Context, Result};
use clap::Parser;
use count::Counts;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the table is.
const SECTION: &str = "## Unsafe code";

#[derive(Parser)]
#[command(
    about = "Compares the unsafe code of DIRECTORY with the table in DOCUMENT, and prints it"
)]
struct Args {
    /// The Markdown file with the table
    document: PathBuf,
    /// Where the source is
    directory: PathBuf,
    /// Print the functions with unsafe blocks in them: FILE FUNCTION BLOCKS
    #[arg(long)]
    functions: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let files = files(&args.directory)?;
    if args.functions {
        for (file, counts) in &files {
            for (function, blocks) in counts.within.iter().filter(|(name, _)| !name.is_empty()) {
                println!("{file} {function} {blocks}");
            }
        }
        return Ok(());
    }
    let document = fs::read_to_string(&args.document)
        .with_context(|| format!("cannot read {}", args.document.display()))?;
    let old = rows(&document)?;
    let new = table(&files, &old);
    print!("{}", new.join("\n") + "\n");
    let bare: Vec<_> = files
        .iter()
        .filter(|(_, c)| !c.is_documented())
        .map(|(f, _)| f)
        .collect();
    if !bare.is_empty() {
        bail!("without a SAFETY comment or a Safety section for each: {bare:?}");
    }
    if old != new {
        bail!(
            "{} has another table: put this one there",
            args.document.display()
        );
    }
    Ok(())
}

/// What the files of a directory and of its rooms have, by their paths in it.
fn files(directory: &Path) -> Result<BTreeMap<String, Counts>> {
    let mut files = BTreeMap::new();
    let mut rooms = vec![directory.to_path_buf()];
    while let Some(room) = rooms.pop() {
        for entry in fs::read_dir(&room).with_context(|| room.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                rooms.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path)?;
                let counts = Counts::of(&text).with_context(|| path.display().to_string())?;
                let name = path.strip_prefix(directory)?.to_string_lossy();
                files.insert(name.into_owned(), counts);
            }
        }
    }
    Ok(files)
}

/// The lines of the document's table.
fn rows(document: &str) -> Result<Vec<String>> {
    let (_, section) = document
        .split_once(SECTION)
        .with_context(|| format!("no section '{SECTION}'"))?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with('|'));
    Ok(rows.map(str::to_string).collect())
}

/// The table, with the last column of the old one.
fn table(files: &BTreeMap<String, Counts>, old: &[String]) -> Vec<String> {
    let mut lines = vec![
        "| file | unsafe blocks | unsafe functions | unsafe impls | exercised by |".to_string(),
        "|---|---|---|---|---|".to_string(),
    ];
    let mut sum = Counts::default();
    for (file, counts) in files.iter().filter(|(_, counts)| counts.any()) {
        let start = format!("| `{file}` |");
        let by = old
            .iter()
            .find(|row| row.starts_with(&start))
            .and_then(|row| row.trim_end_matches('|').rsplit('|').next())
            .map_or("?", str::trim);
        let Counts {
            blocks,
            functions,
            impls,
            ..
        } = counts;
        lines.push(format!("{start} {blocks} | {functions} | {impls} | {by} |"));
        sum.blocks += blocks;
        sum.functions += functions;
        sum.impls += impls;
    }
    let without = files.values().filter(|counts| !counts.any()).count();
    lines.push(format!(
        "| all | {} | {} | {} | {without} files have none |",
        sum.blocks, sum.functions, sum.impls
    ));
    lines
}
