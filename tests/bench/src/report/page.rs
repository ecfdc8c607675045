//! A page of headed tables and lines, written for a terminal or as Markdown.

/// Columns of a terminal.
pub(crate) const WIDTH: usize = 120;

/// What is to be read.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Its first line.
    pub(crate) title: String,
    /// What stands under the title.
    pub(crate) lines: Vec<String>,
    /// Its sections.
    pub(crate) sections: Vec<Section>,
}

/// A headed part of a page.
#[derive(Debug, Default)]
pub(crate) struct Section {
    /// Its heading.
    pub(crate) title: String,
    /// What it says, in order.
    pub(crate) blocks: Vec<Block>,
}

/// A part of a section.
#[derive(Debug)]
pub(crate) enum Block {
    /// Sentences, each a line of its own.
    Lines(Vec<String>),
    /// Figures.
    Table(Table),
}

/// Rows under their headings.
#[derive(Debug)]
pub(crate) struct Table {
    headings: Vec<String>,
    /// How many of the first columns are text.
    texts: usize,
    rows: Vec<Vec<String>>,
}

impl Page {
    /// For a terminal.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}\n{}\n", self.title, "=".repeat(self.title.chars().count()));
        self.lines.iter().for_each(|line| text.push_str(&wrapped(line)));
        for section in &self.sections {
            let rule = "-".repeat(section.title.chars().count());
            text.push_str(&format!("\n{}\n{rule}\n", section.title));
            let blocks: Vec<_> = section.blocks.iter().map(Block::text).collect();
            text.push_str(&blocks.join("\n"));
        }
        text
    }

    /// For a document.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("# {}\n\n", self.title);
        text.push_str(&bullets(&self.lines));
        for section in &self.sections {
            text.push_str(&format!("\n## {}\n\n", section.title));
            let blocks: Vec<_> = section.blocks.iter().map(Block::markdown).collect();
            text.push_str(&blocks.join("\n"));
        }
        text
    }
}

impl Block {
    fn text(&self) -> String {
        match self {
            Self::Lines(lines) => lines.iter().map(|line| wrapped(line)).collect(),
            Self::Table(table) => table.text(),
        }
    }

    fn markdown(&self) -> String {
        match self {
            Self::Lines(lines) => bullets(lines),
            Self::Table(table) => table.markdown(),
        }
    }
}

impl Table {
    /// A table without rows, whose first `texts` columns are text.
    pub(crate) fn new(texts: usize, headings: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let headings = headings.into_iter().map(Into::into).collect();
        Self { headings, texts, rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Whether it has no rows.
    pub(crate) const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn text(&self) -> String {
        let widths: Vec<usize> = (0..self.headings.len()).map(|at| self.width(at)).collect();
        let mut text = String::new();
        for row in std::iter::once(&self.headings).chain(&self.rows) {
            let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, &width))| {
                if at < self.texts { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    fn width(&self, column: usize) -> usize {
        let rows = std::iter::once(&self.headings).chain(&self.rows);
        rows.filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    }

    /// The table as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let sides = (0..self.headings.len())
            .map(|at| if at < self.texts { "---" } else { "---:" }.to_owned());
        let mut text = line(&self.headings);
        text.push_str(&line(&sides.collect::<Vec<_>>()));
        self.rows.iter().for_each(|row| text.push_str(&line(row)));
        text
    }
}

fn bullets(lines: &[String]) -> String {
    lines.iter().map(|line| format!("- {line}\n")).collect()
}

/// The line, broken between words where the terminal ends; what follows is indented.
fn wrapped(line: &str) -> String {
    let mut text = String::new();
    let mut column = 0;
    for word in line.split(' ') {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > WIDTH {
            text.push_str("\n    ");
            column = 4;
        } else if column > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        let mut table = Table::new(1, ["", "a|b"]);
        table.row(["rate".to_owned(), "1,000".to_owned()]);
        let blocks = vec![Block::Lines(vec!["two rounds".to_owned()]), Block::Table(table)];
        let sections = vec![Section { title: "flood".to_owned(), blocks }];
        Page { title: "Run".to_owned(), lines: vec!["here".to_owned()], sections }
    }

    #[test]
    fn a_terminal_sees_aligned_columns() {
        let wanted = "Run\n===\nhere\n\nflood\n-----\ntwo rounds\n\n        a|b\nrate  1,000\n";
        assert_eq!(page().text(), wanted);
    }

    #[test]
    fn markdown_keeps_the_same_cells() {
        let wanted = "# Run\n\n- here\n\n## flood\n\n- two rounds\n\n\
                      |  | a\\|b |\n| --- | ---: |\n| rate | 1,000 |\n";
        assert_eq!(page().markdown(), wanted);
    }

    #[test]
    fn long_lines_are_broken_between_words() {
        let text = wrapped(&"word ".repeat(60));
        assert!(text.lines().count() > 1);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH));
        assert_eq!(text.split_whitespace().count(), 60);
    }
}
