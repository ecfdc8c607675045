//! Files of CSV in pieces of all sizes.

use super::*;
use crate::import::collection::Cell;

const COLUMNS: &[Column] = &[
    Column::required("id", Cell::Text),
    Column::required("name", Cell::Text),
    Column::optional("more", Cell::Members),
];

/// Line and JSON, or line and code of the refusal, of each record; and where each ends.
type Read = Vec<(u64, String, usize)>;

fn read(file: &[u8], piece_bytes: usize) -> Result<Read, Problem> {
    let mut csv = Csv::new(COLUMNS);
    let mut read = Vec::new();
    let end = |csv: &Csv| usize::try_from(csv.done.bytes()).unwrap();
    let told = |found: Found, end| {
        let text = match found.json {
            Ok(json) => String::from_utf8(json).unwrap(),
            Err(problem) => problem.body().errors[0].code.clone(),
        };
        (found.line, text, end)
    };
    for piece in file.chunks(piece_bytes) {
        let mut rest = piece;
        loop {
            let (used, found) = csv.next(rest)?;
            rest = &rest[used..];
            match found {
                Some(found) => read.push(told(found, end(&csv))),
                None if rest.is_empty() => break,
                None => {}
            }
        }
    }
    while let Some(found) = csv.end()? {
        read.push(told(found, end(&csv)));
    }
    assert_eq!(end(&csv), file.len(), "all is done at the end");
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
    let json = serde_json::json!({"id": id, "name": name, "more": {}});
    (line, json.to_string())
}

#[test]
fn records_are_the_same_however_the_file_is_cut() {
    let expected = [sound(2, "a", "A"), sound(4, "b", "B"), sound(5, "c", "a \"C\"")];
    assert_eq!(lines("id,name\r\na,A\r\n\r\nb,\"B\"\r\nc,\"a \"\"C\"\"\""), expected);
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
    for rest in ["", "\n", "\r", ",\"\"", "\"\""] {
        let file = format!("id,name\na,A\nb,\"B{rest}");
        assert_eq!(lines(&file), [sound(2, "a", "A"), unclosed.clone()], "{rest:?}");
    }
    for end in ["\n", "\r\n", "\r", "\n\n"] {
        let file = format!("id,name\na,A\nb,\"B{end}c,C{end}d,D");
        let after = if end == "\n\n" { [5, 7] } else { [4, 5] };
        let after = [sound(after[0], "c", "C"), sound(after[1], "d", "D")];
        assert_eq!(lines(&file)[..2], [sound(2, "a", "A"), unclosed.clone()], "{end:?}");
        assert_eq!(lines(&file)[2..], after, "{end:?}");
    }
    for rest in ["B\"", "\"", "\"\"\"", "B\"x"] {
        assert_ne!(lines(&format!("id,name\na,A\nb,\"{rest}"))[1].1, "unclosed-quote", "{rest:?}");
    }
}

#[test]
fn a_quote_that_closes_at_the_next_one_by_mistake_takes_no_line_with_it() {
    let number = |line| (line, "number-of-fields".to_owned());
    let file = "id,name\nb,\"B\nc,C\nd,\"D\",x\ne,E\n";
    assert_eq!(lines(file), [number(2), sound(3, "c", "C"), number(4), sound(5, "e", "E")]);
}

#[test]
fn a_member_may_hold_line_ends_and_a_name_may_not() {
    let member = (2, r#"{"id":"a","more":{"t":"x\r\ny,z"},"name":"A"}"#.to_owned());
    let last = r#"{"id":"c","more":{"t":"1\""},"name":"C"}"#.to_owned();
    let file = "id,name,more.t\r\na,A,\"x\r\ny,z\"\r\nb,\"B\r\nc,C,1\"\r\n";
    let unclosed = (4, "number-of-fields".to_owned());
    assert_eq!(lines(file), [member, unclosed, (5, last)]);
    let file = "id,name\nb,\"B\nc,C\nd,D\"\n";
    let unclosed = (2, "unclosed-quote".to_owned());
    assert_eq!(lines(file), [unclosed, sound(3, "c", "C"), sound(4, "d", "D\"")]);
}

#[test]
fn an_open_quote_is_given_up_after_a_mebibyte_and_all_lines_after_it_are_read() {
    let many = "c,C\n".repeat(LINE_BYTES_MAX / 2);
    let file = format!("id,name\nb,\"B\n{many}");
    let whole = read(file.as_bytes(), usize::MAX).unwrap();
    assert_eq!(whole.len(), LINE_BYTES_MAX / 2 + 1);
    assert_eq!(whole[0].1, "unclosed-quote");
    assert!(whole[1..].iter().all(|(_, text, _)| text.contains("\"c\"")));
    assert_eq!(read(file.as_bytes(), 99_991).unwrap(), whole);
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
