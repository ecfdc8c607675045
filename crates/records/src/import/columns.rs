//! From the cells of a CSV record to the JSON line that says the same.

use std::collections::BTreeMap;

use service_kit::Problem;

use super::collection::{Cell, Column, Presence};

/// What the first record of a file says of all others.
#[derive(Debug)]
pub(super) struct Header {
    columns: &'static [Column],
    /// For each cell, its column and, of an object, the member.
    places: Vec<(usize, Option<String>)>,
}

impl Header {
    /// Refuses the whole file where a column is missing, unknown or there twice.
    pub(super) fn read(columns: &'static [Column], names: &[&str]) -> Result<Self, Problem> {
        let mut places: Vec<(usize, Option<String>)> = Vec::new();
        for name in names {
            let found = columns.iter().enumerate().find_map(|(index, column)| {
                let member = match (column.cell, name.strip_prefix(column.name)) {
                    (Cell::Members, Some(rest)) => Some(rest.strip_prefix('.')?.to_owned()),
                    (_, Some("")) => None,
                    _ => return None,
                };
                Some((index, member))
            });
            let place = found.ok_or_else(|| {
                let known: Vec<String> = columns.iter().map(Column::label).collect();
                let reason =
                    format!("is no column; those of this collection are {}", known.join(", "));
                refused(name, "unknown-column", &reason)
            })?;
            if places.contains(&place) {
                return Err(refused(name, "duplicate-column", "is there twice"));
            }
            places.push(place);
        }
        let missing = columns.iter().enumerate().find(|(index, column)| {
            let is_there = places.iter().any(|(place, _)| place == index);
            column.presence == Presence::Required && !is_there
        });
        match missing {
            Some((_, column)) => Err(refused(column.name, "missing-column", "is missing")),
            None => Ok(Self { columns, places }),
        }
    }

    /// How many cells every record has.
    pub(super) fn width(&self) -> usize {
        self.places.len()
    }

    /// Whether a cell may hold line ends: only what a collection leaves to its callers may.
    pub(super) fn may_hold_lines(&self, cell: usize) -> bool {
        let column = self.places.get(cell).and_then(|(place, _)| self.columns.get(*place));
        column.is_some_and(|column| matches!(column.cell, Cell::Members))
    }

    /// JSON Pointer to the field of a cell.
    pub(super) fn pointer(&self, cell: usize) -> String {
        let Some((place, member)) = self.places.get(cell) else { return String::new() };
        let name = self.columns.get(*place).map_or("", |column| column.name);
        let member = member.as_deref().map(|name| name.replace('~', "~0").replace('/', "~1"));
        member.map_or_else(|| format!("/{name}"), |member| format!("/{name}/{member}"))
    }

    /// The record of these cells as JSON.
    pub(super) fn json(&self, cells: &[&str]) -> Result<Vec<u8>, Problem> {
        let mut json = Object::default();
        for (index, column) in self.columns.iter().enumerate() {
            let mut mine = self.places.iter().zip(cells).filter(|((place, _), _)| *place == index);
            if matches!(column.cell, Cell::Members) {
                let mut members = Object::default();
                for ((_, member), cell) in mine.filter(|(_, cell)| !cell.is_empty()) {
                    members.put(member.as_deref().unwrap_or_default(), &member_value(cell));
                }
                json.put(column.name, &members.finish());
            } else {
                let cell = mine.next().map_or("", |(_, cell)| *cell);
                if let Some(value) = value(column, cell)? {
                    json.put(column.name, &value);
                }
            }
        }
        Ok(json.finish().into_bytes())
    }
}

impl Column {
    fn label(&self) -> String {
        match self.cell {
            Cell::Members => format!("{}.<name>", self.name),
            Cell::Text | Cell::Number | Cell::List | Cell::Value(_) => self.name.to_owned(),
        }
    }
}

fn refused(name: &str, code: &str, reason: &str) -> Problem {
    Problem::invalid(format!("line 1: column {name:?} {reason}; nothing was stored")).field(
        format!("/{name}"),
        code,
        format!("column {name:?} {reason}"),
    )
}

fn value(column: &Column, cell: &str) -> Result<Option<String>, Problem> {
    if cell.is_empty() && !matches!(column.cell, Cell::List) {
        return Ok(None);
    }
    Ok(Some(match column.cell {
        Cell::Number if is_number(cell) => cell.to_owned(),
        Cell::Text | Cell::Number | Cell::Members => text(cell),
        Cell::List if cell.is_empty() => "[]".to_owned(),
        Cell::List => format!("[{}]", cell.split('|').map(text).collect::<Vec<_>>().join(",")),
        Cell::Value(read) => read(cell)
            .map_err(|invalid| Problem::refused(&format!("/{}", column.name), invalid))?
            .to_string(),
    }))
}

/// So many digits of a decimal survive every program that keeps numbers as f64.
const DIGITS_MAX: usize = 15;

fn member_value(cell: &str) -> String {
    let digits = cell.bytes().filter(u8::is_ascii_digit).count();
    let is_plain = is_number(cell) && !cell.contains(['e', 'E']) && digits <= DIGITS_MAX;
    if is_plain || ["true", "false"].contains(&cell) { cell.to_owned() } else { text(cell) }
}

fn text(cell: &str) -> String {
    serde_json::Value::from(cell).to_string()
}

/// Whether JSON would take it for a number.
fn is_number(cell: &str) -> bool {
    let starts = cell.bytes().next().is_some_and(|b| b == b'-' || b.is_ascii_digit());
    let ends = cell.bytes().last().is_some_and(|b| b.is_ascii_digit());
    starts && ends && serde_json::from_str::<&serde_json::value::RawValue>(cell).is_ok()
}

/// A JSON object whose values are JSON already, since a parsed number would have lost digits.
#[derive(Debug, Default)]
struct Object(BTreeMap<String, String>);

impl Object {
    fn put(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    fn finish(self) -> String {
        let members = self.0.iter().map(|(name, value)| format!("{}:{value}", text(name)));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[
        Column::required("sku", Cell::Text),
        Column::required("tags", Cell::List),
        Column::optional("count", Cell::Number),
        Column::optional("more", Cell::Members),
    ];

    fn json(names: &[&str], cells: &[&str]) -> serde_json::Value {
        let header = Header::read(COLUMNS, names).unwrap();
        serde_json::from_slice(&header.json(cells).unwrap()).unwrap()
    }

    #[test]
    fn cells_become_the_fields_that_they_mean() {
        let names = ["count", "sku", "more.size", "tags", "more.new", "more.code", "more.ean"];
        let cells = ["12", "a \"b\"", "0.50", "x|y z", "true", "007", "1234567890123456"];
        let expected = serde_json::json!({
            "sku": "a \"b\"", "tags": ["x", "y z"], "count": 12,
            "more": {"size": 0.50, "new": true, "code": "007", "ean": "1234567890123456"},
        });
        assert_eq!(json(&names, &cells), expected);
    }

    #[test]
    fn an_empty_cell_is_no_value() {
        let names = ["sku", "tags", "count", "more.size"];
        let expected = serde_json::json!({"tags": [], "more": {}});
        assert_eq!(json(&names, &["", "", "", ""]), expected);
        assert_eq!(json(&["sku", "tags"], &["", ""]), expected);
    }

    #[test]
    fn what_is_no_number_is_left_to_the_field() {
        for odd in ["12 ", "1.", "x", "+1", "1,5", "0x1", "01", "NaN", "-", "1e"] {
            assert_eq!(json(&["sku", "tags", "count"], &["a", "", odd])["count"], odd);
        }
        assert_eq!(json(&["sku", "tags", "count"], &["a", "", "-1e3"])["count"], -1000.0);
    }

    #[test]
    fn a_header_that_does_not_fit_is_refused_with_its_column() {
        for (names, code, pointer) in [
            (&["sku"][..], "missing-column", "/tags"),
            (&[], "missing-column", "/sku"),
            (&["sku", "tags", "colour"], "unknown-column", "/colour"),
            (&["sku", "tags", "more"], "unknown-column", "/more"),
            (&["sku", "tags", "sku"], "duplicate-column", "/sku"),
            (&["sku", "tags", "more.a", "more.a"], "duplicate-column", "/more.a"),
        ] {
            let problem = Header::read(COLUMNS, names).unwrap_err();
            let field = &problem.body().errors[0];
            assert_eq!((field.code.as_str(), field.pointer.as_str()), (code, pointer));
            assert_eq!(problem.body().status, 422);
        }
    }
}
