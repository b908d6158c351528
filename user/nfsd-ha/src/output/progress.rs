// SPDX-License-Identifier: GPL-2.0
//! Progress of what takes long: a spinner on a terminal. Elsewhere nothing moves, and what is done is one
//! line.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// Does something, with a spinner on standard error meanwhile if that is a terminal.
pub fn while_doing<T>(what: impl Into<String>, work: impl FnOnce() -> T) -> T {
    while_showing(what, |_| work())
}

/// The same, but what is being done may show other words beside the spinner.
pub fn while_showing<T>(what: impl Into<String>, work: impl FnOnce(&dyn Fn(String)) -> T) -> T {
    // It is hidden where there is no terminal.
    let spinner = ProgressBar::new_spinner().with_message(what.into());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(Duration::from_millis(200));
    let result = work(&|words| spinner.set_message(words));
    spinner.finish_and_clear();
    result
}
