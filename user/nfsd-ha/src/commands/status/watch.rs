// SPDX-License-Identifier: GPL-2.0
//! `status --watch`: on a terminal the whole status is drawn anew, with a bar for each scope in grace; else
//! there is a line when something has changed, or in JSON one for each time.

use super::report::{graces, InGrace, Report};
use super::text;
use crate::output;
use anyhow::Result;
use nfsd_ha::control::Control;
use nfsd_ha::scope::Scope;
use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::Duration;

/// How wide a bar is, in characters.
const BAR: usize = 30;
/// To the upper left corner, and clear what follows.
const HOME: &str = "\x1b[H\x1b[J";
/// The rows that are taken for a terminal's if it does not say.
const ROWS: usize = 24;

/// Shows the status every so many seconds, until a signal comes.
pub fn watch(control: &Control, seconds: u64, json: bool) -> Result<()> {
    let out = std::io::stdout();
    let mut before = HashMap::new();
    loop {
        if json {
            output::json(&Report::new(control)?)?;
        } else if out.is_terminal() {
            let report = Report::new(control)?;
            let text = bars(&report.grace) + &text::all(&report);
            output::print(&format!("{HOME}{}", cut(&text, rows(&out))))?;
        } else {
            output::print(&changes(&mut before, &graces(control, &control.listed()?)?))?;
        }
        std::thread::sleep(Duration::from_secs(seconds));
    }
}

fn rows(out: &std::io::Stdout) -> usize {
    rustix::termios::tcgetwinsize(out)
        .map_or(ROWS, |size| usize::from(size.ws_row))
        .max(2)
}

/// As many lines as there are rows, and how many others there would be.
fn cut(text: &str, rows: usize) -> String {
    let count = text.lines().count();
    if count < rows {
        return text.to_owned();
    }
    let shown: Vec<_> = text.lines().take(rows - 2).collect();
    format!(
        "{}\n... {} more lines\n",
        shown.join("\n"),
        count - shown.len()
    )
}

/// A bar for each scope: who has finished, of those who are listed.
fn bars(graces: &[InGrace]) -> String {
    let mut text = String::new();
    for one in graces {
        let full = (BAR * one.complete).checked_div(one.listed).unwrap_or(0);
        text += &format!(
            "{:<16} [{}{}] {}\n",
            one.grace.scope.to_string(),
            "#".repeat(full),
            ".".repeat(BAR - full),
            progress(one)
        );
    }
    text
}

fn progress(one: &InGrace) -> String {
    let InGrace {
        grace,
        listed,
        reclaimed,
        complete,
    } = one;
    let more = if *reclaimed > 0 {
        format!(", {reclaimed} more have begun")
    } else {
        String::new()
    };
    format!(
        "{complete} of {listed} clients are back{more}; {} s left",
        grace.left
    )
}

/// A line for each scope whose clients have gone on, and for each that is in grace no more.
fn changes(before: &mut HashMap<Scope, (usize, usize, usize)>, graces: &[InGrace]) -> String {
    let mut text = String::new();
    let mut now = HashMap::new();
    for one in graces {
        let state = (one.listed, one.reclaimed, one.complete);
        now.insert(one.grace.scope, state);
        if before.remove(&one.grace.scope) != Some(state) {
            text += &format!("{}: {}\n", one.grace.scope, progress(one));
        }
    }
    let mut over: Vec<_> = before.keys().collect();
    over.sort();
    for scope in over {
        text += &format!("{scope}: not in grace any more\n");
    }
    *before = now;
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use nfsd_ha::control::Grace;

    fn grace(complete: usize) -> Vec<InGrace> {
        let scope = "1234".parse().unwrap();
        let grace = Grace {
            scope,
            left: 7,
            reclaims: 0,
            refused: 0,
            local: false,
        };
        vec![InGrace {
            grace,
            listed: 4,
            reclaimed: 1,
            complete,
        }]
    }

    #[test]
    fn a_bar_is_as_full_as_clients_are_back() {
        assert_eq!(bars(&grace(2)).matches('#').count(), BAR / 2);
        assert_eq!(bars(&grace(4)).matches('.').count(), 0);
        let mut nobody = grace(0);
        nobody[0].listed = 0;
        assert_eq!(bars(&nobody).matches('#').count(), 0);
    }

    #[test]
    fn what_has_not_changed_is_not_said_again() {
        let mut before = HashMap::new();
        let line = "1234: 2 of 4 clients are back, 1 more have begun; 7 s left\n";
        assert_eq!(changes(&mut before, &grace(2)), line);
        assert_eq!(changes(&mut before, &grace(2)), "");
        assert!(changes(&mut before, &grace(3)).starts_with("1234: 3 of 4"));
        assert_eq!(changes(&mut before, &[]), "1234: not in grace any more\n");
        assert_eq!(changes(&mut before, &[]), "");
    }

    #[test]
    fn a_long_status_is_cut() {
        assert_eq!(cut("a\nb\n", 3), "a\nb\n");
        assert_eq!(cut("a\nb\nc\nd\n", 3), "a\n... 3 more lines\n");
    }
}
