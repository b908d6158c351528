// SPDX-License-Identifier: GPL-2.0
//! The examples in each command's help: that there are some, and that the program takes them.

use clap::{Command, CommandFactory};

/// The commands that people see.
fn commands() -> Vec<Command> {
    let program = crate::Cli::command();
    program
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .cloned()
        .collect()
}

/// What a command's help ends with.
fn examples(command: &Command) -> String {
    command
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// The words of a line for a shell, up to where it redirects, or what it does is said; quotes keep
/// blanks together.
fn words(line: &str) -> Vec<String> {
    let line = line.split("  ").next().unwrap_or_default();
    let (mut words, mut quoted) = (vec![String::new()], false);
    for c in line.chars() {
        match c {
            '\'' | '"' => quoted = !quoted,
            '<' | '>' | '|' | ';' | '&' | '#' if !quoted => break,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().expect("never empty").push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn each_command_has_one() {
    for mut command in commands() {
        for help in [command.render_help(), command.render_long_help()] {
            assert!(
                help.to_string().contains("Example"),
                "{} has none",
                command.get_name()
            );
        }
    }
}

#[test]
fn each_is_of_its_command_and_taken() {
    let mut refused = Vec::new();
    for command in commands() {
        let text = examples(&command);
        let lines = text.lines().filter_map(|line| {
            line.trim_start()
                .trim_start_matches("Example: ")
                .strip_prefix("nfsd-ha ")
        });
        let mut own = 0;
        for line in lines.map(|line| format!("nfsd-ha {line}")) {
            let words = words(&line);
            own += usize::from(words.iter().any(|word| word == command.get_name()));
            if let Err(e) = crate::Cli::command().try_get_matches_from(&words) {
                refused.push(format!("{line}: {e}"));
            }
        }
        if own == 0 && command.get_name() != "callout" {
            refused.push(format!("{} has no example of its own", command.get_name()));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}
