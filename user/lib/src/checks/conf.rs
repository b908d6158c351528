// SPDX-License-Identifier: GPL-2.0
//! `nfs.conf`: what the daemons of nfs-utils are told.

use super::{Tree, Unreadable};

/// The files, in the order in which they are read (nfs.conf(5), `support/nfs/conffile.c` of
/// nfs-utils): what a later one says counts.
const FILES: [&str; 4] = [
    "/usr/etc/nfs.conf",
    "/usr/etc/nfs.conf.d",
    "/etc/nfs.conf",
    "/etc/nfs.conf.d",
];

/// What nfs.conf says under a name in a section, if it does.
pub(super) fn value(tree: &Tree, section: &str, name: &str) -> Result<Option<String>, Unreadable> {
    let mut found = None;
    for path in FILES {
        let parts = match path.ends_with(".d") {
            true => tree
                .names(path)?
                .into_iter()
                .filter(|n| n.ends_with(".conf"))
                .map(|n| format!("{path}/{n}"))
                .collect(),
            false => vec![path.to_owned()],
        };
        for part in parts {
            if let Some(text) = tree.text(part)? {
                found = last(&text, section, name).or(found);
            }
        }
    }
    Ok(found)
}

/// The last value in one file. Names of sections and values are the same in capitals.
pub(super) fn last(text: &str, section: &str, name: &str) -> Option<String> {
    let mut here = false;
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix('[') {
            // A section may have an argument: [section "argument"].
            here = rest
                .split([']', ' ', '\t', '"'])
                .next()
                .is_some_and(|word| word.eq_ignore_ascii_case(section));
            continue;
        }
        if let Some((key, value)) = line
            .split_once('=')
            .filter(|_| here && !line.starts_with(['#', ';']))
        {
            if key.trim().eq_ignore_ascii_case(name) {
                found = Some(unquoted(value.trim()).to_owned());
            }
        }
    }
    found
}

/// A value without its quotes, or without the comment after it.
fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some((inner, _)) = value
            .strip_prefix(quote)
            .and_then(|rest| rest.split_once(quote))
        {
            return inner;
        }
    }
    let comment = value.find(" #").or_else(|| value.find("\t#"));
    comment.map_or(value, |at| value[..at].trim_end())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Machine;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_later_file_counts() {
        let machine = Machine::new();
        machine.write(
            "/etc/nfs.conf",
            "# scope=no\n[lockd]\nscope=x\n[ NFSD ]\n[nfsd]\n scope = one\n;scope=two\n",
        );
        let scope = || value(&machine.tree(), "nfsd", "scope").unwrap();
        assert_eq!(scope().as_deref(), Some("one"));
        machine.write(
            "/etc/nfs.conf.d/ha.conf",
            "[NFSD]\nScope=\"nfs-ha\" # ours\n",
        );
        machine.write("/etc/nfs.conf.d/zz.conf~", "[nfsd]\nscope=backup\n");
        assert_eq!(scope().as_deref(), Some("nfs-ha"));
        machine.write("/etc/nfs.conf.d/zz.conf", "[nfsd]\nscope=three # no\n");
        assert_eq!(scope().as_deref(), Some("three"));
        assert_eq!(value(&machine.tree(), "nfsd", "grace-time").unwrap(), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in ".*") {
            super::super::laws::nfs_conf(&text);
        }

        #[test]
        fn a_value_is_read_back(value in "[a-z0-9/.-]+( [a-z0-9]+)?") {
            let text = format!("[a]\nb=no\n[nfsd]\nb={value}\n");
            prop_assert_eq!(last(&text, "nfsd", "b"), Some(value));
        }
    }
}
