// SPDX-License-Identifier: GPL-2.0
//! A table with a title, to be read by people.

use comfy_table::{CellAlignment, ContentArrangement};
use std::fmt;

/// A table with a title; one without rows is a dash.
pub struct Table {
    title: &'static str,
    table: comfy_table::Table,
}

impl Table {
    /// One with these columns. A `#` before a name says that numbers are in the column.
    pub fn new(title: &'static str, columns: &[&str]) -> Self {
        let mut table = comfy_table::Table::new();
        table
            .load_preset(comfy_table::presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(columns.iter().map(|name| name.trim_start_matches('#')));
        for (column, name) in table.column_iter_mut().zip(columns) {
            column.set_padding((0, 2));
            if name.starts_with('#') {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        Self { title, table }
    }

    /// Adds a row. The words must not have characters that play with terminals.
    pub fn row(&mut self, words: impl IntoIterator<Item = String>) {
        self.table.add_row(words);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}:", self.title)?;
        if self.table.is_empty() {
            return writeln!(f, "  -");
        }
        self.table
            .lines()
            .try_for_each(|line| writeln!(f, "  {}", line.trim_end()))
    }
}
