// SPDX-License-Identifier: GPL-2.0
//! What systemd's units run.

use super::{Tree, Unreadable};
use std::collections::BTreeMap;

/// Where units are (systemd.unit(5)): the first one counts.
const DIRECTORIES: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// The commands of a unit under one of these names (`ExecStop`, say), with the drop-ins of the
/// unit; none if there is no unit.
pub(super) fn commands(tree: &Tree, unit: &str, names: &[&str]) -> Result<Vec<String>, Unreadable> {
    let mut texts = Vec::new();
    for directory in DIRECTORIES {
        if let Some(text) = tree.text(format!("{directory}/{unit}"))? {
            texts.push(text);
            break;
        }
    }
    // Drop-ins of all directories are in the order of their names; of two with one name, the first
    // directory's counts.
    let mut parts = BTreeMap::new();
    for directory in DIRECTORIES {
        for name in tree
            .names(format!("{directory}/{unit}.d"))?
            .into_iter()
            .filter(|name| name.ends_with(".conf"))
        {
            if let Some(text) = tree.text(format!("{directory}/{unit}.d/{name}"))? {
                parts.entry(name).or_insert(text);
            }
        }
    }
    texts.extend(parts.into_values());
    Ok(names.iter().flat_map(|name| all(&texts, name)).collect())
}

/// The values under a name; an empty one takes back those before it.
pub(super) fn all(texts: &[String], name: &str) -> Vec<String> {
    let mut values = Vec::new();
    for line in texts.iter().flat_map(|text| text.lines()) {
        match line.trim().split_once('=') {
            Some((key, value)) if key.trim_end() == name => match value.trim() {
                "" => values.clear(),
                value => values.push(value.to_owned()),
            },
            _ => (),
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::super::testing::Machine;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_read(text in "([A-Za-z]{0,4}=? ?|ExecStop ?=|\n|.)*") {
            super::super::laws::unit(&text);
        }
    }

    #[test]
    fn an_empty_line_takes_back() {
        let machine = Machine::new();
        let stops =
            || commands(&machine.tree(), "a.service", &["ExecStop", "ExecStopPost"]).unwrap();
        assert!(stops().is_empty());
        machine.write(
            "/lib/systemd/system/a.service",
            "[Service]\nExecStop=/bin/x\nExecStopPost=/bin/y -a\nExecStopPost=/bin/z\n",
        );
        assert_eq!(stops(), ["/bin/x", "/bin/y -a", "/bin/z"]);
        machine.write(
            "/lib/systemd/system/a.service.d/b.conf",
            "[Service]\nExecStopPost=/bin/no\n",
        );
        machine.write(
            "/etc/systemd/system/a.service.d/b.conf",
            "[Service]\nExecStopPost=\nExecStopPost = /bin/w\n",
        );
        assert_eq!(stops(), ["/bin/x", "/bin/w"]);
    }
}
