//! Plain tables: columns aligned by spaces, numbers to the right.

/// Rows under their headings.
#[derive(Debug)]
pub(crate) struct Table {
    headings: Vec<Column>,
    rows: Vec<Vec<String>>,
}

/// A heading, and on which side its cells stand.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Column {
    /// Text.
    Left(&'static str),
    /// Numbers.
    Right(&'static str),
}

impl Column {
    const fn heading(self) -> &'static str {
        match self {
            Self::Left(heading) | Self::Right(heading) => heading,
        }
    }

    fn cell(self, text: &str, width: usize) -> String {
        match self {
            Self::Left(_) => format!("{text:<width$}"),
            Self::Right(_) => format!("{text:>width$}"),
        }
    }
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(headings: impl Into<Vec<Column>>) -> Self {
        Self { headings: headings.into(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// Whether it has no rows.
    pub(crate) const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, each with its end.
    pub(crate) fn text(&self) -> String {
        let widths: Vec<usize> =
            (0..self.headings.len()).map(|column| self.width(column)).collect();
        let headings = self.headings.iter().map(|column| column.heading().to_owned()).collect();
        let mut text = String::new();
        for row in std::iter::once(&headings).chain(&self.rows) {
            let cells = self.headings.iter().zip(row).zip(&widths);
            let cells: Vec<_> =
                cells.map(|((column, cell), width)| column.cell(cell, *width)).collect();
            text.push_str(cells.join("  ").trim_end());
            text.push('\n');
        }
        text
    }

    fn width(&self, column: usize) -> usize {
        let heading = self.headings.get(column).map_or(0, |column| column.heading().len());
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).fold(heading, usize::max)
    }
}
