// SPDX-License-Identifier: GPL-2.0
//! A test's log file, and the part of it that is shown.

use anyhow::{Context, Result};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// How much of the log to show while a test runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Every line.
    Everything,
    /// Results and comments of the test.
    Results,
}

/// Where a line comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The kernel's console.
    Console,
    /// The test.
    Test,
    /// This harness.
    Harness,
}

/// The log of one test.
pub struct Log {
    /// The file, for messages.
    pub path: PathBuf,
    file: BufWriter<File>,
    start: Instant,
    label: String,
    show: Show,
    tail: VecDeque<String>,
}

/// Lines shown again when a test has failed.
const TAIL: usize = 20;

impl Log {
    /// Creates `path` anew. `label` begins each line that is shown.
    pub fn create(path: &Path, label: String, show: Show) -> Result<Self> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            path: path.into(),
            file: BufWriter::new(file),
            start: Instant::now(),
            label,
            show,
            tail: VecDeque::new(),
        })
    }

    /// Adds a line that came from VM `name`.
    pub fn line(&mut self, name: &str, source: Source, text: &str) {
        let kind = match source {
            Source::Console => "console",
            Source::Test => "test",
            Source::Harness => "vm",
        };
        let line = format!(
            "{:9.3} {name:>2} {kind:>7} | {text}",
            self.start.elapsed().as_secs_f64()
        );
        let _ = writeln!(self.file, "{line}");
        let result =
            source == Source::Test && ["ok ", "not ok ", "#"].iter().any(|p| text.starts_with(p));
        if self.show == Show::Everything {
            println!("{} {line}", self.label);
        } else if result {
            println!(
                "{} {name}{}{text}",
                self.label,
                if name.is_empty() { "" } else { ": " }
            );
        }
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    /// Says why the test failed, where to look, and how to see it again.
    pub fn failure(&mut self, problems: &[String], again: &str) {
        let _ = self.file.flush();
        let mut text = String::new();
        for problem in problems {
            text += &format!("{} FAILED: {problem}\n", self.label);
        }
        if self.show == Show::Results {
            for line in &self.tail {
                text += &format!("{}     {line}\n", self.label);
            }
        }
        println!(
            "{text}{0} the whole log: {1}\n{0} again: {again}",
            self.label,
            self.path.display()
        );
    }

    /// Time since the log was created, in seconds.
    pub fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }
}
