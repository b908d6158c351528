// SPDX-License-Identifier: GPL-2.0
//! `nfsd-ha generate`, for the build: man pages and completions, from what the program itself knows
//! of its commands.

use crate::Common;
use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use std::fs;
use std::path::{Path, PathBuf};

/// The man page of the control files, which a person has written.
const CONTROL_FILES: &str = include_str!("../../../man/nfsd_ha.4");
/// What nfsd-ha(8) has behind the list of commands.
const SECTIONS: &str = r#".SH "EXIT STATUS"
.TP
0
Done.
.TP
1
It failed, or not all is done: read what it says; every command may be repeated. For
.BR check :
there are errors.
.TP
2
The command, the scope or the list is wrong.
.TP
3
Something is in the way, and nothing is changed: end what it names.
.TP
4
The module is not loaded, or nfsd's file system is not mounted.
.TP
5
The server scopes of the two servers differ, so that clients of NFSv4.1 and later would not reclaim.
.SH "ENVIRONMENT"
.TP
.B NFSD_HA_CONTROL
The directory of the control files, by default /proc/fs/nfsd.
.TP
.B NFSD_HA_DIR
The directory with the records of NLM clients, by default /var/lib/nfsd-ha.
.TP
.B NFSD_HA_DATABASE
The database of this server's daemon, by default that of nfsd-had if it runs, else the one in /var/lib/nfs/nfsdcld.
.SH "FILES"
.TP
.B /etc/nfsd-ha.toml
Where the records of nfsd-had are, if not in /var/lib/nfsd-ha/records.sqlite.
.SH "SEE ALSO"
.BR nfsd_ha (4),
.BR exports (5),
.BR exportfs (8),
.BR nfsdcld (8),
.BR rpc.nfsd (8),
.BR rpc.statd (8)
"#;

/// Write man pages and completions into a directory.
#[derive(clap::Args)]
pub struct Args {
    /// Where: man4/, man8/, bash/, zsh/ and fish/ are made in it
    directory: PathBuf,
}

impl Args {
    pub fn run(&self, _common: &Common) -> Result<()> {
        for (path, bytes) in all(crate::Cli::command())? {
            write(&self.directory.join(path), &bytes)?;
        }
        Ok(())
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// The files, by their names.
fn all(mut program: Command) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for (shell, path) in [
        (Shell::Bash, "bash/nfsd-ha"),
        (Shell::Zsh, "zsh/_nfsd-ha"),
        (Shell::Fish, "fish/nfsd-ha.fish"),
    ] {
        let mut bytes = Vec::new();
        clap_complete::generate(shell, &mut program, "nfsd-ha", &mut bytes);
        files.push((path.to_owned(), bytes));
    }
    // Commands get their full names, and the options that all have.
    let mut program = program.disable_help_subcommand(true);
    program.build();
    for command in program
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
    {
        let path = format!("man8/nfsd-ha-{}.8", command.get_name());
        files.push((
            path,
            page(command.clone(), ".SH \"SEE ALSO\"\n.BR nfsd-ha (8)\n")?,
        ));
        // Those of help are the commands again.
        let inner = command.get_subcommands();
        for inner in inner.filter(|_| command.get_name() != "help") {
            let path = format!("man8/nfsd-ha-{}-{}.8", command.get_name(), inner.get_name());
            let above = format!(".SH \"SEE ALSO\"\n.BR nfsd-ha-{} (8)\n", command.get_name());
            files.push((path, page(inner.clone(), &above)?));
        }
    }
    files.push(("man8/nfsd-ha.8".to_owned(), page(program, SECTIONS)?));
    files.push(("man4/nfsd_ha.4".to_owned(), CONTROL_FILES.into()));
    Ok(files)
}

/// The man page of a command, with more sections.
fn page(command: Command, sections: &str) -> Result<Vec<u8>> {
    let examples = command
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let has_commands = command.has_subcommands();
    let man = Man::new(command)
        .section("8")
        .manual("NFS fail-over")
        .source(concat!("nfsd-ha ", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if has_commands {
        man.render_subcommands_section(&mut page)?;
    }
    let examples = examples
        .trim_start_matches("Examples:")
        .trim_start_matches("Example:")
        .trim_matches('\n');
    if !examples.is_empty() {
        let lines = examples
            .lines()
            .map(|line| roff(line) + "\n")
            .collect::<String>();
        page.extend(format!(".SH EXAMPLES\n.nf\n{lines}.fi\n").bytes());
    }
    page.extend(sections.bytes());
    Ok(page)
}

/// A line of text: no request, and with plain dashes and quotes, so that it can be copied.
fn roff(line: &str) -> String {
    format!(
        "\\&{}",
        line.replace('\\', "\\e")
            .replace('-', "\\-")
            .replace('\'', "\\(aq")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Vec<(String, String)> {
        let text = |(path, bytes)| (path, String::from_utf8(bytes).unwrap());
        all(crate::Cli::command())
            .unwrap()
            .into_iter()
            .map(text)
            .collect()
    }

    #[test]
    fn each_command_has_a_page() {
        let files = files();
        let page = |name: &str| {
            &files
                .iter()
                .find(|(path, _)| path == name)
                .unwrap_or_else(|| panic!("no {name}"))
                .1
        };
        let program = page("man8/nfsd-ha.8");
        for name in crate::Cli::command()
            .get_subcommands()
            .filter(|c| !c.is_hide_set())
            .map(|c| c.get_name().to_owned())
        {
            let own = page(&format!("man8/nfsd-ha-{name}.8"));
            assert!(own.contains("EXAMPLES"), "{name}");
            assert!(
                program.contains(&format!("nfsd\\-ha\\-{}(8)", name.replace('-', "\\-"))),
                "{name}: {program}"
            );
        }
        assert!(page("man8/nfsd-ha-records-import.8").contains("EXAMPLES"));
        assert!(!page("man8/nfsd-ha-records.8").contains("records\\-help"));
        assert!(!files.iter().any(|(path, _)| path.contains("generate")));
    }

    #[test]
    fn completions_know_the_commands() {
        for (path, text) in files().iter().filter(|(path, _)| !path.starts_with("man")) {
            for word in ["move-in", "check", "--json"] {
                assert!(
                    text.contains(word.trim_start_matches("--")),
                    "{path} has no {word}"
                );
            }
        }
    }

    #[test]
    fn each_control_file_has_a_section() {
        let source = include_str!("../../../../rust/control/files.rs");
        let names: Vec<_> = source
            .split("name: c\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert!(names.len() >= 8, "{names:?}");
        for name in names {
            let has_section = CONTROL_FILES
                .lines()
                .any(|line| line.starts_with(".Ss") && line.contains(name));
            assert!(has_section, "{name} has no section");
            assert!(
                CONTROL_FILES.contains(&format!(".Pa /proc/fs/nfsd/{name}\n")),
                "{name} is not in the synopsis"
            );
        }
    }

    /// There is no program for that where this is built.
    #[test]
    fn the_page_of_the_control_files_is_well_formed() {
        let sections: Vec<_> = CONTROL_FILES
            .lines()
            .filter_map(|line| line.strip_prefix(".Sh "))
            .collect();
        let wanted = [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "FILES",
            "PARAMETERS",
            "EXAMPLES",
            "ERRORS",
            "SEE ALSO",
            "NOTES",
        ];
        assert_eq!(sections, wanted);
        let mut open = Vec::new();
        for (number, line) in (1..).zip(CONTROL_FILES.lines()) {
            assert!(
                line.trim_end() == line && !line.is_empty() && line.len() <= 120,
                "line {number}: {line:?}"
            );
            let literal = open.last() == Some(&"Bd");
            match line.get(..3) {
                Some(".Bl") => open.push("Bl"),
                Some(".Bd") => open.push("Bd"),
                Some(".El") => assert_eq!(open.pop(), Some("Bl"), "line {number}"),
                Some(".Ed") => assert_eq!(open.pop(), Some("Bd"), "line {number}"),
                Some(".It") => assert_eq!(open.last(), Some(&"Bl"), "line {number}"),
                Some(".Sh" | ".Ss") => assert!(open.is_empty(), "line {number}: a list goes on"),
                _ => assert!(
                    literal || !line.starts_with('\''),
                    "line {number} is a request"
                ),
            }
            assert_eq!(
                line.matches(" Oo").count(),
                line.matches(" Oc").count(),
                "line {number}"
            );
        }
        assert!(open.is_empty());
    }
}
