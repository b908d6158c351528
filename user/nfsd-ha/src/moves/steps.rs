// SPDX-License-Identifier: GPL-2.0
//! The steps of a move, each shown with its time.

use crate::failure::{Failure, Status};
use crate::output;
use anyhow::Result;
use nfsd_ha::exports::Export;
use nfsd_ha::journal::Step;
use nfsd_ha::mounts::shown;
use std::fmt::Display;
use std::time::Instant;

/// Where steps are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// On standard output.
    Output,
    /// On standard error, as standard output is for something else.
    Error,
    /// Not one by one: all of them are in JSON at the end.
    Later,
}

/// Steps that follow each other until one fails.
pub struct Steps {
    show: Show,
    /// The command that is repeated to go on, such as `move-out`.
    command: &'static str,
    names: &'static [&'static str],
    /// How to turn back, if something was changed.
    turn_back: String,
    /// What was done.
    pub done: Vec<Step>,
    began: Instant,
}

impl Steps {
    /// Those of a command, by their names. When one fails, the others are said not to be done.
    pub fn new(
        show: Show,
        command: &'static str,
        names: &'static [&'static str],
        turn_back: String,
    ) -> Self {
        Self {
            show,
            command,
            names,
            turn_back,
            done: Vec::new(),
            began: Instant::now(),
        }
    }

    /// Does a step, and shows what it says.
    pub fn step(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> Result<String>,
    ) -> Result<()> {
        let began = Instant::now();
        let what = work().map_err(|error| self.stopped(name, &error))?;
        let step = Step {
            name: name.into(),
            what,
            seconds: began.elapsed().as_secs_f64(),
        };
        self.line(&format!(
            "  {:<12} {:>7.3} s  {}",
            step.name, step.seconds, step.what
        ));
        self.done.push(step);
        Ok(())
    }

    /// Shows a line that is no step.
    pub fn line(&self, line: &str) {
        match self.show {
            // Who does not want to see it does not stop a move.
            Show::Output => drop(output::print(&format!("{line}\n"))),
            Show::Error => output::note(line),
            Show::Later => {}
        }
    }

    /// Seconds since the steps began.
    pub fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// What has stopped, what is done, and how to go on. While nothing is done the error is left as it is.
    fn stopped(&self, name: &str, error: &anyhow::Error) -> anyhow::Error {
        let done: Vec<&str> = self.done.iter().map(|step| step.name.as_str()).collect();
        let left: Vec<&str> = self
            .names
            .iter()
            .copied()
            .skip_while(|other| *other != name)
            .collect();
        let list = |names: &[&str]| {
            if names.is_empty() {
                "nothing".into()
            } else {
                names.join(", ")
            }
        };
        Failure::new(
            Status::Failed,
            format!(
                "{} stopped at {name}: {error:#}\n  done:     {}\n  not done: {}\n  To go on, mend that and \
                 repeat the command: what is done stays. {}",
                self.command,
                list(&done),
                list(&left),
                self.turn_back,
            ),
        )
    }
}

/// All of them with commas between, or `none`.
pub fn joined(all: impl IntoIterator<Item = impl Display>) -> String {
    let words: Vec<String> = all.into_iter().map(|one| one.to_string()).collect();
    if words.is_empty() {
        "none".into()
    } else {
        words.join(", ")
    }
}

/// What is exported to whom, without the options.
pub fn specs(exports: &[Export]) -> String {
    let all: Vec<String> = exports.iter().map(|export| shown(&export.spec())).collect();
    all.join(", ")
}
