//! Tables as aligned text, for terminals.

use std::fmt;

/// Side on which the cells of a column line up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table of text; `Display` aligns the columns and underlines the header.
///
/// Characters in cells that could move a terminal's cursor or turn the direction of text become U+FFFD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextTable {
    header: Vec<String>,
    align: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl TextTable {
    /// An empty table with these columns.
    #[must_use]
    pub fn new(columns: &[(&str, Align)]) -> Self {
        let (header, align) = columns.iter().map(|&(name, align)| (clean(name), align)).unzip();
        Self { header, align, rows: Vec::new() }
    }

    /// Adds a row; missing cells stay empty, cells without a column are dropped.
    pub fn row<C: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = C>) {
        let mut row: Vec<_> = cells.into_iter().map(|cell| clean(cell.as_ref())).collect();
        row.resize(self.header.len(), String::new());
        self.rows.push(row);
    }
}

impl fmt::Display for TextTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&self.header]).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..self.header.len()).map(width).collect();
        let line = |row: &[String]| {
            let cells = row.iter().zip(&widths).zip(&self.align).map(|((cell, &width), align)| match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_string()
        };
        writeln!(f, "{}", line(&self.header))?;
        writeln!(f, "{}", widths.iter().map(|&width| "-".repeat(width)).collect::<Vec<_>>().join("  "))?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{}", line(row)))
    }
}

fn clean(text: &str) -> String {
    text.chars().map(crate::format::harmless).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = TextTable::new(&[("name", Align::Left), ("bytes", Align::Right)]);
        table.row(["µ", "9"]);
        table.row(["\u{1b}[2J", "1,000,000"]);
        table.row(["short"]);
        let expected = "name       bytes\n-----  ---------\nµ              9\n\u{fffd}[2J   1,000,000\nshort\n";
        assert_eq!(table.to_string(), expected);
    }
}
