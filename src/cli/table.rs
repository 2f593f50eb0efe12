//! Rows and columns: aligned for people on a terminal, separated by tabs for programs.

use unicode_width::UnicodeWidthStr;

use super::terminal::{on_one_line, printable};

/// Rows of cells, with the columns that are aligned to the right.
#[derive(Debug, Default)]
pub(super) struct Table {
    right: Vec<usize>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table whose columns numbered in `right` hold numbers.
    pub(super) fn new(right: &[usize]) -> Self {
        Table { right: right.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(super) fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) -> &mut Self {
        self.rows.push(cells.into_iter().map(Into::into).collect());
        self
    }

    /// Its lines: columns two blanks apart, or one tab between cells.
    pub(super) fn lines(&self, aligned: bool) -> Vec<String> {
        let rows = |clean: fn(&str) -> String| -> Vec<Vec<String>> {
            self.rows.iter().map(|row| row.iter().map(|cell| clean(cell)).collect()).collect()
        };
        if !aligned {
            return rows(on_one_line).iter().map(|row| row.join("\t")).collect();
        }
        let rows = rows(printable);
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|c| rows.iter().filter_map(|r| r.get(c)).map(|s| s.width()).max().unwrap_or(0))
            .collect();
        let line = |row: &Vec<String>| {
            let mut line = String::new();
            for (c, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let pad = " ".repeat(width - cell.width());
                if c > 0 {
                    line.push_str("  ");
                }
                if self.right.contains(&c) {
                    line.push_str(&pad);
                    line.push_str(cell);
                } else {
                    line.push_str(cell);
                    line.push_str(&pad);
                }
            }
            line.truncate(line.trim_end().len());
            line
        };
        rows.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut t = Table::new(&[1]);
        t.row(["name", "7"]).row(["葉", "1,000", "x"]).row(["a\tb", ""]);
        t
    }

    #[test]
    fn aligned_by_width_on_screen() {
        assert_eq!(table().lines(true), ["name      7", "葉    1,000  x", "a\u{fffd}b"]);
    }

    #[test]
    fn tabs_only_between_cells() {
        assert_eq!(table().lines(false), ["name\t7", "葉\t1,000\tx", "a\u{fffd}b\t"]);
    }
}
