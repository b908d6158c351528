// SPDX-License-Identifier: GPL-2.0
//! exports(5): what the unit of the NFS server exports when it starts.

use super::{Tree, Unreadable};
use crate::exports::Export;
use crate::mounts::unescape;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// An export that is in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InFile {
    pub(super) file: String,
    /// Its first line, from 1.
    pub(super) line: usize,
    pub(super) export: Export,
}

impl InFile {
    /// Is it exported only while something is mounted there (`mp`)?
    pub(super) fn waits_for_mount(&self) -> bool {
        let is_mp = |option: &str| matches!(option.split('=').next(), Some("mp" | "mountpoint"));
        self.export.options.split(',').any(is_mp)
    }
}

/// All of `/etc/exports`, and of the files `/etc/exports.d/*.exports`.
pub(super) fn read(tree: &Tree) -> Result<Vec<InFile>, Unreadable> {
    let mut files = vec!["/etc/exports".to_owned()];
    let is_read = |name: &String| name.ends_with(".exports") && !name.starts_with('.');
    files.extend(
        tree.names("/etc/exports.d")?
            .into_iter()
            .filter(is_read)
            .map(|name| format!("/etc/exports.d/{name}")),
    );
    let mut all = Vec::new();
    for file in files {
        for (line, export) in parse(&tree.text(&file)?.unwrap_or_default()) {
            all.push(InFile {
                file: file.clone(),
                line,
                export,
            });
        }
    }
    Ok(all)
}

/// The exports of a file, each with the number of its line. What is no export is left out: exportfs
/// says that.
pub(super) fn parse(text: &str) -> Vec<(usize, Export)> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let mut whole = line.to_owned();
        // A backslash at the end of a line: it goes on.
        while whole.ends_with('\\') {
            whole.pop();
            match lines.next() {
                Some((_, next)) => whole.push_str(next),
                None => break,
            }
        }
        let mut words = words(&whole).into_iter();
        let Some(path) = words
            .next()
            .map(|word| PathBuf::from(OsString::from_vec(unescape(word.as_bytes()))))
        else {
            continue;
        };
        if !path.is_absolute() {
            continue;
        }
        let mut defaults = String::new();
        let mut any = false;
        for word in words {
            if let Some(options) = word.strip_prefix('-') {
                defaults = options.to_owned();
                continue;
            }
            any = true;
            let (client, options) = word.split_once('(').unwrap_or((&word, ""));
            let options = options.strip_suffix(')').unwrap_or(options);
            found.push((at + 1, export(client, &path, &defaults, options)));
        }
        // A path alone is exported to everybody.
        if !any {
            found.push((at + 1, export("", &path, &defaults, "")));
        }
    }
    found
}

fn export(client: &str, path: &std::path::Path, defaults: &str, options: &str) -> Export {
    let client = if client.is_empty() { "*" } else { client };
    let options = [defaults, options]
        .into_iter()
        .filter(|o| !o.is_empty())
        .collect::<Vec<_>>()
        .join(",");
    Export {
        client: client.to_owned(),
        path: path.to_owned(),
        options,
    }
}

/// The words of a line, without its comment. Quotes keep blanks together.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut begun) = (Vec::new(), String::new(), false, false);
    for c in line.chars() {
        match c {
            '"' => (quoted, begun) = (!quoted, true),
            '#' if !quoted => break,
            c if c.is_whitespace() && !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            c => {
                word.push(c);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_read() {
        let text = "# a comment\n\n/a *(rw,fsid=1) 192.0.2.0/24(ro)\n\"/b c\" -sync,fsid=2 host(rw) other # no\n\
                    /d\\040e\nrelative *(rw)\n/f \\\n  @group(mp,ro)\n/g (rw)\n";
        let shown: Vec<_> = parse(text)
            .into_iter()
            .map(|(line, e)| format!("{line} {} {} {}", e.path.display(), e.client, e.options))
            .collect();
        assert_eq!(
            shown,
            [
                "3 /a * rw,fsid=1",
                "3 /a 192.0.2.0/24 ro",
                "4 /b c host sync,fsid=2,rw",
                "4 /b c other sync,fsid=2",
                "5 /d e * ",
                "7 /f @group mp,ro",
                "9 /g * rw",
            ]
        );
    }

    #[test]
    fn mp_waits_for_a_mount() {
        let waits = |options: &str| {
            InFile {
                file: String::new(),
                line: 1,
                export: export("*", "/a".as_ref(), "", options),
            }
            .waits_for_mount()
        };
        assert!(waits("rw,mp") && waits("mountpoint=/srv,ro"));
        assert!(!waits("rw,fsid=1"));
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "[ -~\n\\\\\"#(]*") {
            super::super::laws::exports(&text);
        }
    }
}
