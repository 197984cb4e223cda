//! [`TextTable`]: aligned columns for people, plain when piped.
//!
//! Values come from clients and other programs: what a terminal could take for a command, or show in another order than
//! it stands, is escaped here as JSON would.

/// One value of a [`TextTable`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// Aligned to the right where its whole column is.
    Number(String),
    Text(String),
    /// No value, shown as `-`.
    Absent,
}

impl Cell {
    fn text(&self) -> &str {
        match self {
            Cell::Number(text) | Cell::Text(text) => text,
            Cell::Absent => "-",
        }
    }
}

/// Rows under the names of their columns.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct TextTable {
    names: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

impl TextTable {
    pub fn new(names: impl IntoIterator<Item = impl Into<String>>) -> TextTable {
        let names = names.into_iter().map(|name| harmless(&name.into()));
        TextTable {
            names: names.collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row with a value for each column.
    pub fn push(&mut self, row: Vec<Cell>) {
        let row = row.into_iter().map(|cell| match cell {
            Cell::Number(text) => Cell::Number(harmless(&text)),
            // An empty word would let the columns behind it be counted wrongly.
            Cell::Text(text) if text.is_empty() => Cell::Absent,
            Cell::Text(text) => Cell::Text(harmless(&text)),
            Cell::Absent => Cell::Absent,
        });
        self.rows.push(row.collect());
    }

    /// Returns the lines, the names of the columns first; nothing where there are no rows.
    pub fn lines(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let columns: Vec<Column> = (0..self.names.len()).map(|at| self.column(at)).collect();
        let names = self.names.iter().map(String::as_str).collect::<Vec<_>>();
        let mut text = line(&columns, &names);
        for row in &self.rows {
            text += &line(&columns, &row.iter().map(Cell::text).collect::<Vec<_>>());
        }
        text
    }

    fn column(&self, at: usize) -> Column {
        let cells = || self.rows.iter().filter_map(move |row| row.get(at));
        let shown = || cells().filter(|cell| **cell != Cell::Absent);
        let widths = cells().map(|cell| cell.text().chars().count());
        let name = self.names[at].chars().count();
        Column {
            width: widths.max().unwrap_or_default().max(name),
            is_of_numbers: shown().count() > 0
                && shown().all(|cell| matches!(cell, Cell::Number(_))),
        }
    }
}

struct Column {
    /// Characters of its widest value.
    width: usize,
    is_of_numbers: bool,
}

/// Returns one line, without blanks at its end.
fn line(columns: &[Column], values: &[&str]) -> String {
    let padded = columns.iter().zip(values).map(|(column, value)| {
        let blanks = " ".repeat(column.width.saturating_sub(value.chars().count()));
        match column.is_of_numbers {
            true => blanks + value,
            false => format!("{value}{blanks}"),
        }
    });
    let line = padded.collect::<Vec<String>>().join("  ");
    line.trim_end().to_owned() + "\n"
}

/// Returns names and values without a [`TextTable`], one pair a line.
pub(super) fn pairs(pairs: &[(String, Cell)]) -> String {
    let names = pairs.iter().map(|(name, _)| harmless(name));
    let names: Vec<String> = names.collect();
    let width = names.iter().map(|name| name.chars().count()).max();
    let columns = [width.unwrap_or_default(), 0].map(|width| Column {
        width,
        is_of_numbers: false,
    });
    let lines = names.iter().zip(pairs).map(|(name, (_, cell))| {
        let value = harmless(cell.text());
        line(&columns, &[name, &value])
    });
    lines.collect()
}

/// Returns a text in which nothing is a command to a terminal, a line end or a change of direction.
pub(super) fn harmless(text: &str) -> String {
    escaped(text, |_| false)
}

/// Like [`harmless`] for a text of several lines: line ends and tabs stay.
pub(super) fn harmless_lines(text: &str) -> String {
    escaped(text, |c| matches!(c, '\n' | '\t'))
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if !is_hidden(c) || stays(c) {
            escaped.push(c);
            continue;
        }
        // As in JSON: a text of JSON means the same afterwards.
        for unit in c.encode_utf16(&mut [0; 2]) {
            escaped += &format!("\\u{unit:04x}");
        }
    }
    escaped
}

/// Whether a terminal acts on a character, or shows nothing for it.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Cell {
        Cell::Number(text.to_owned())
    }

    fn word(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }

    #[test]
    fn numbers_stand_at_the_right_and_texts_at_the_left() {
        let mut table = TextTable::new(["model", "cost", "last"]);
        table.push(vec![word("gpt-4o"), number("1200"), word("x")]);
        table.push(vec![word("o1"), Cell::Absent, Cell::Absent]);
        table.push(vec![Cell::Absent, number("7"), word("a b")]);

        let expected = "model   cost  last\ngpt-4o  1200  x\no1         -  -\n-          7  a b\n";
        assert_eq!(table.lines(), expected);
    }

    #[test]
    fn a_column_with_a_word_is_a_column_of_words() {
        let mut table = TextTable::new(["a", "b"]);
        table.push(vec![number("1"), Cell::Absent]);
        table.push(vec![word("many"), word("")]);
        assert_eq!(table.lines(), "a     b\n1     -\nmany  -\n");
        assert_eq!(TextTable::new(["a"]).lines(), "");
    }

    #[test]
    fn what_a_terminal_acts_on_is_escaped() {
        let evil = "a\u{1b}[31m\r\nb\u{9b}2J\u{202e}c\u{7f}\u{e0041}";
        let expected = "a\\u001b[31m\\u000d\\u000ab\\u009b2J\\u202ec\\u007f\\udb40\\udc41";
        assert_eq!(harmless(evil), expected);
        assert_eq!(harmless_lines("a\tb\nc\r"), "a\tb\nc\\u000d");
        let mut table = TextTable::new(["n\u{1b}ame"]);
        table.push(vec![word(evil)]);
        assert_eq!(table.lines(), format!("n\\u001bame\n{expected}\n"));
        let shown = pairs(&[("a\n".to_owned(), word("b\n"))]);
        assert_eq!(shown, "a\\u000a  b\\u000a\n");
        assert_eq!(harmless("Grüße, 世界 ✓"), "Grüße, 世界 ✓");
    }

    #[test]
    fn pairs_stand_under_each_other() {
        let shown = pairs(&[
            ("keyId".to_owned(), word("ab")),
            ("tokensLeft".to_owned(), number("5")),
            ("userId".to_owned(), Cell::Absent),
        ]);
        assert_eq!(shown, "keyId       ab\ntokensLeft  5\nuserId      -\n");
    }
}
