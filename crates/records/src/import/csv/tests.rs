//! Files of CSV in pieces of all sizes.

use super::*;
use crate::import::collection::Cell;

const COLUMNS: &[Column] =
    &[Column::required("id", Cell::Text), Column::required("name", Cell::Text)];

/// Line and JSON, or line and code of the refusal, of each record; and where each ends.
type Read = Vec<(u64, String, usize)>;

fn read(file: &[u8], piece_bytes: usize) -> Result<Read, Problem> {
    let mut csv = Csv::new(COLUMNS);
    let (mut read, mut end) = (Vec::new(), 0);
    let told = |found: Found, end| {
        let text = match found.json {
            Ok(json) => String::from_utf8(json).unwrap(),
            Err(problem) => problem.body().errors[0].code.clone(),
        };
        (found.line, text, end)
    };
    for piece in file.chunks(piece_bytes) {
        let mut rest = piece;
        while !rest.is_empty() {
            let (used, found) = csv.next(rest)?;
            end += used;
            rest = &rest[used..];
            read.extend(found.map(|found| told(found, end)));
        }
    }
    read.extend(csv.end()?.map(|found| told(found, end)));
    Ok(read)
}

fn lines(file: &str) -> Vec<(u64, String)> {
    let whole = read(file.as_bytes(), usize::MAX).unwrap();
    for piece_bytes in 1..9 {
        assert_eq!(read(file.as_bytes(), piece_bytes).unwrap(), whole, "{piece_bytes} {file:?}");
    }
    whole.into_iter().map(|(line, text, _)| (line, text)).collect()
}

fn sound(line: u64, id: &str, name: &str) -> (u64, String) {
    let json = serde_json::json!({"id": id, "name": name});
    (line, json.to_string())
}

#[test]
fn records_are_the_same_however_the_file_is_cut() {
    let expected = [sound(2, "a", "A"), sound(4, "b", "B\r\nb"), sound(6, "c", "a \"C\"")];
    assert_eq!(lines("id,name\r\na,A\r\n\r\nb,\"B\r\nb\"\r\nc,\"a \"\"C\"\"\""), expected);
    let expected = [sound(3, "a", "A"), sound(5, "b", "B")];
    assert_eq!(lines("\nid,name\na,A\n\nb,B\n\n"), expected);
    assert_eq!(lines("id,name\ra,A\r\rb,B\r"), [sound(2, "a", "A"), sound(4, "b", "B")]);
}

#[test]
fn a_record_with_too_few_or_too_many_fields_is_refused() {
    let number = |line| (line, "number-of-fields".to_owned());
    let file = format!("id,name\na\nb,B,\nc,C\n{}\n", ",".repeat(5000));
    assert_eq!(lines(&file), [number(2), number(3), sound(4, "c", "C"), number(5)]);
}

#[test]
fn a_quote_that_is_not_closed_is_told_by_its_first_line() {
    let unclosed = (3, "unclosed-quote".to_owned());
    for rest in ["", "\n", "\nc,C\n", "\r", ",\"\"", "\"\""] {
        let file = format!("id,name\na,A\nb,\"B{rest}");
        assert_eq!(lines(&file), [sound(2, "a", "A"), unclosed.clone()], "{rest:?}");
    }
    for rest in ["B\"", "\"", "\"\"\"", "B\"x"] {
        assert_ne!(lines(&format!("id,name\na,A\nb,\"{rest}"))[1].1, "unclosed-quote", "{rest:?}");
    }
}

#[test]
fn a_record_beyond_the_limit_is_refused_and_those_after_it_are_not() {
    let fits = "x".repeat(LINE_BYTES_MAX - 2);
    for (name, is_sound) in [(fits.clone(), true), (format!("{fits}x"), false)] {
        let file = format!("id,name\na,{name}\nb,B\n");
        let read = read(file.as_bytes(), 100_000).unwrap();
        assert_eq!(read[0].1 != "line-too-long", is_sound);
        assert_eq!((read[1].0, read[1].2), (3, file.len()));
    }
}

#[test]
fn a_character_may_not_be_divided_between_two_fields() {
    assert_eq!(read(b"id,name\n\xc3,\xa9\n", 99).unwrap()[0].1, "not-utf8");
}

#[test]
fn a_header_that_cannot_be_read_refuses_the_file() {
    for file in [&b"id,\"name\n"[..], b"id,\xff\n", b"", b"\n\n", b"id\n"] {
        assert!(read(file, 3).is_err(), "{file:?}");
    }
    let wide = ",".repeat(5000);
    assert!(read(wide.as_bytes(), 99).is_err());
}
