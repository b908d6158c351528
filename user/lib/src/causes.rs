// SPDX-License-Identifier: GPL-2.0
//! What an error and its causes say, in one line.

use std::error::Error;

/// All that they say, each once: some say what their causes say, too.
pub fn line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
