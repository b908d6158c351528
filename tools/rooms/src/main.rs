// SPDX-License-Identifier: GPL-2.0

//! Says which imports of the module lead from a lower room to a higher one, or in a circle.

mod imports;

use anyhow::{bail, Context, Result};
use clap::Parser;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The section of the document whose first table has a row for each room, the lowest first.
const SECTION: &str = "## Rooms";

#[derive(Parser)]
#[command(
    about = "Compares the imports in DIRECTORY with the order of its rooms in DOCUMENT, and fails if one is against it"
)]
struct Args {
    /// The Markdown file with the order
    document: PathBuf,
    /// Where the source is: a directory for each room, and the files of the crate's root above all of them
    directory: PathBuf,
}

/// Files by name (`nlm/locks`), and the files that each imports.
type Graph = BTreeMap<String, BTreeSet<String>>;

fn main() -> Result<()> {
    let args = Args::parse();
    let document = fs::read_to_string(&args.document)
        .with_context(|| format!("cannot read {}", args.document.display()))?;
    let order = order(&document)?;
    let graph = read(&args.directory, &order)?;
    let mut wrong = upwards(&graph, &order);
    wrong.extend(circle(&graph));
    if !wrong.is_empty() {
        bail!(
            "imports only go down, in the order of '{SECTION}' in {}:\n{}",
            args.document.display(),
            wrong.join("\n")
        );
    }
    println!(
        "{} files in {} rooms: all imports go down",
        graph.len(),
        order.len()
    );
    Ok(())
}

/// The rooms, the lowest first.
fn order(document: &str) -> Result<Vec<String>> {
    let (_, section) = document
        .split_once(SECTION)
        .with_context(|| format!("no section '{SECTION}'"))?;
    let rows = section
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'));
    let rooms: Vec<_> = rows
        .filter_map(|row| row.strip_prefix("| `")?.split_once("/` |"))
        .map(|(room, _)| room.to_string())
        .collect();
    if rooms.is_empty() {
        bail!("'{SECTION}' has no table with rows such as | `base/` | ...");
    }
    Ok(rooms)
}

/// Reads the files of the rooms, and of the crate's root; that directory has no room but those of `order`.
fn read(directory: &Path, order: &[String]) -> Result<Graph> {
    let mut sources = BTreeMap::new();
    for (path, name) in entries(directory)? {
        if path.is_dir() {
            if !order.contains(&name) {
                bail!("{} is not in the order of the rooms", path.display());
            }
            for (path, file) in entries(&path)? {
                sources.insert(format!("{name}/{file}"), fs::read_to_string(path)?);
            }
        } else if !order.contains(&name) {
            // The file of a room's own name only says what is in it.
            sources.insert(name, fs::read_to_string(path)?);
        }
    }
    let mut graph = Graph::new();
    for (name, source) in &sources {
        let room = name.split_once('/').map_or("", |(room, _)| room);
        let paths = imports::of(source, room).with_context(|| name.clone())?;
        let files = paths.into_iter().map(|path| path.replace("::", "/"));
        graph.insert(
            name.clone(),
            files.filter(|file| sources.contains_key(file)).collect(),
        );
    }
    Ok(graph)
}

/// What is in a directory: paths, and names without extension.
fn entries(directory: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() || path.extension().is_some_and(|e| e == "rs") {
            let name = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            entries.push((path, name));
        }
    }
    Ok(entries)
}

/// The imports from a lower room to a higher one.
fn upwards(graph: &Graph, order: &[String]) -> Vec<String> {
    let floor = |file: &str| match file.split_once('/') {
        Some((room, _)) => order.iter().position(|r| r == room).unwrap_or(order.len()),
        None => order.len(),
    };
    let imports = graph
        .iter()
        .flat_map(|(file, to)| to.iter().map(move |to| (file, to)));
    imports
        .filter(|(file, to)| floor(file) < floor(to))
        .map(|(file, to)| format!("  {file} imports {to}, of a higher room"))
        .collect()
}

/// A circle of imports, if there is one.
fn circle(graph: &Graph) -> Option<String> {
    let mut done = BTreeSet::new();
    graph
        .keys()
        .find_map(|file| circle_from(graph, file, &mut Vec::new(), &mut done))
}

/// A circle that can be reached from `file`, with `path` before it; none leads through a file that is `done`.
fn circle_from(
    graph: &Graph,
    file: &str,
    path: &mut Vec<String>,
    done: &mut BTreeSet<String>,
) -> Option<String> {
    if let Some(at) = path.iter().position(|other| other == file) {
        return Some(format!("  a circle: {} - {file}", path[at..].join(" - ")));
    }
    if done.contains(file) {
        return None;
    }
    path.push(file.to_string());
    let found = graph
        .get(file)
        .into_iter()
        .flatten()
        .find_map(|to| circle_from(graph, to, path, done));
    path.pop();
    done.insert(file.to_string());
    found
}

#[cfg(test)]
mod tests {
    use super::{circle, order, upwards, Graph};

    fn graph(imports: &[(&str, &[&str])]) -> Graph {
        let owned = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        imports
            .iter()
            .map(|(file, to)| (file.to_string(), owned(to)))
            .collect()
    }

    #[test]
    fn order_is_that_of_the_first_table() {
        let document = "## Rooms\n\n| room | x |\n|---|---|\n| `base/` | a |\n| `nlm/` | b |\n\n| `no/` | c |\n";
        assert_eq!(order(document).unwrap(), ["base", "nlm"]);
        assert!(order("## Rooms\n\nNone.\n").is_err());
    }

    #[test]
    fn finds_imports_that_go_up() {
        let order = ["base".to_string(), "nlm".to_string()];
        let good = graph(&[
            ("nlm/locks", &["base/raw", "nlm/host"]),
            ("attach", &["nlm/locks"]),
        ]);
        assert!(upwards(&good, &order).is_empty());
        let bad = graph(&[("base/raw", &["nlm/locks"]), ("nlm/host", &["attach"])]);
        assert_eq!(upwards(&bad, &order).len(), 2);
    }

    #[test]
    fn finds_circles() {
        let good = graph(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])]);
        assert_eq!(circle(&good), None);
        let bad = graph(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])]);
        assert!(circle(&bad).unwrap().contains("b - c - b"));
    }
}
