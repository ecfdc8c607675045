//! The envelope survives its journey, and each way to be wrong is told apart.

use proptest::prelude::*;

use super::*;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

pub(super) fn header(first: i64, count: i64) -> Header {
    Header {
        source: Source::parse("catalog").unwrap(),
        stream: Stream::parse("catalog.products.normal").unwrap(),
        first: Pn::try_from(first).unwrap(),
        last: Pn::try_from(first + count - 1).unwrap(),
        term: Term::new(Uuid::from_u128(2)),
        previous: Term::new(Uuid::from_u128(1)),
        head: Pn::try_from(first + count - 1).unwrap(),
        time: DateTime::from_timestamp(1_767_225_600, 1_000).unwrap(),
        trace: Some(TraceContext::parse(TRACE).unwrap()),
    }
}

fn upsert(key: &str, version: i64, payload: &str) -> Change {
    Change {
        key: Key::parse(key).unwrap(),
        version: Version::try_from(version).unwrap(),
        op: Operation::Upsert,
        event: Uuid::from_u128(7),
        at: DateTime::from_timestamp(1_767_225_600, 0).unwrap(),
        trace: None,
        tenant: None,
        schema: "1".to_owned(),
        payload: Some(RawValue::from_string(payload.to_owned()).unwrap()),
    }
}

fn delete(key: &str, version: i64) -> Change {
    Change { op: Operation::Delete, payload: None, ..upsert(key, version, "null") }
}

#[test]
fn the_wire_shape_is_the_documented_one() {
    let changes = [upsert("MH01-XS-Black", 7, r#"{"price": 10.10}"#), delete("MH02", 3)];
    let bytes = header(101, 2).encode(&changes);
    let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    insta::assert_json_snapshot!(value);
}

#[test]
fn what_is_sound_is_read_in_one_pass() {
    let traced = Change { trace: header(1, 1).trace, ..upsert("a", 1, "{}") };
    let bytes = header(1, 2).encode(&[traced, delete("b", 4)]);
    assert!(Envelope::sound(&bytes).is_some());
}

#[test]
fn envelopes_that_follow_each_other_in_a_term_are_one() {
    let bytes = |first, keys: &[&str]| {
        let header = header(first, i64::try_from(keys.len()).unwrap());
        let header = Header { previous: header.term, ..header };
        header.encode(&keys.iter().map(|key| upsert(key, 1, "{}")).collect::<Vec<_>>())
    };
    let (one, next, later) = (bytes(5, &["a", "b"]), bytes(7, &["c"]), bytes(8, &["d"]));
    let [mut one, next, later] = [&one, &next, &later].map(|it| Envelope::parse(it).unwrap());
    assert!(!one.header.is_followed_by(&later.header), "7 is missing");
    assert!(!one.header.is_followed_by(&one.header));
    let other = Term::new(Uuid::from_u128(3));
    for stranger in [
        Header { term: other, ..next.header.clone() },
        Header { previous: other, ..next.header.clone() },
        Header { stream: Stream::parse("catalog.products.bulk").unwrap(), ..next.header.clone() },
        Header { source: Source::parse("pricing").unwrap(), ..next.header.clone() },
    ] {
        assert!(!one.header.is_followed_by(&stranger), "{stranger:?}");
    }
    one.append(next);
    one.append(later);
    assert_eq!((one.header.first.get(), one.header.last.get(), one.header.head.get()), (5, 8, 8));
    let keys = one.changes.iter().map(|change| change.as_ref().unwrap().key.as_str());
    assert_eq!(keys.collect::<Vec<_>>(), ["a", "b", "c", "d"]);
}

#[test]
fn a_payload_keeps_its_bytes() {
    let payload = r#"{"amount":10.10,  "big":12345678901234567890,"e":1e2,"s":"\u0000\u00e9"}"#;
    let bytes = header(1, 1).encode(&[upsert("a", 1, payload)]);
    let envelope = Envelope::parse(&bytes).unwrap();
    let change = envelope.changes.into_iter().next().unwrap().unwrap();
    assert_eq!(change.payload.unwrap().get(), payload);
}

#[test]
fn a_trace_that_cannot_be_read_spoils_neither_envelope_nor_change() {
    let traced = Change { trace: header(1, 1).trace, ..upsert("a", 1, "{}") };
    let bytes = header(1, 1).encode(&[traced]);
    let read = Envelope::parse(&bytes).unwrap();
    assert_eq!(read.header.trace, header(1, 1).trace);
    assert_eq!(read.changes[0].as_ref().unwrap().trace, header(1, 1).trace);
    let text = str::from_utf8(&bytes).unwrap();
    for ill in ["\"\"", "\"00-ff\"", "7", "{\"a\":[]}"] {
        let changed = text.replace(&format!("\"{TRACE}\""), ill);
        assert!(text.matches(TRACE).count() == 3 && !changed.contains(TRACE));
        let read = Envelope::parse(changed.as_bytes()).unwrap();
        assert_eq!(read.header.trace, None);
        assert_eq!(read.changes[0].as_ref().unwrap().trace, None);
    }
}

#[test]
fn numbers_that_contradict_the_count_are_told() {
    let bytes = header(1, 1).encode(&[upsert("a", 1, "{}")]);
    let text = str::from_utf8(&bytes).unwrap();
    for (from, to) in [
        (r#""last":"1""#, r#""last":"2""#),
        (r#""first":"1""#, r#""first":"0""#),
        (r#""first":"1""#, r#""first":"9""#),
        (r#""head":"1""#, r#""head":"0""#),
        (r#""subject":"catalog.products.normal""#, r#""subject":"catalog.prices.normal""#),
    ] {
        let wrong = text.replace(from, to);
        assert_ne!(wrong, text);
        let error = Envelope::parse(wrong.as_bytes()).unwrap_err();
        assert!(matches!(error, EnvelopeError::Contradiction(_)), "{error:?}");
    }
}

#[test]
fn another_type_or_no_json_is_told_apart() {
    let bytes = header(1, 1).encode(&[upsert("a", 1, "{}")]);
    let text = str::from_utf8(&bytes).unwrap();
    let newer = text.replace("syncline.changes.v1", "syncline.changes.v2");
    assert!(matches!(Envelope::parse(newer.as_bytes()), Err(EnvelopeError::UnknownType(_))));
    for wrong in ["", "{", "[]", "\u{0}", r#"{"type":"syncline.changes.v1"}"#] {
        assert!(matches!(Envelope::parse(wrong.as_bytes()), Err(EnvelopeError::Malformed(_))));
    }
}

#[test]
fn one_unreadable_change_spoils_no_other() {
    let bytes = header(1, 2).encode(&[upsert("a", 1, "{}"), upsert("b", 4, "{}")]);
    let text = str::from_utf8(&bytes).unwrap().replacen(r#""op":"upsert""#, r#""op":"merge""#, 1);
    let envelope = Envelope::parse(text.as_bytes()).unwrap();
    let unreadable = envelope.changes[0].as_ref().unwrap_err();
    assert_eq!(unreadable.key.as_ref().unwrap().as_str(), "a");
    assert_eq!(unreadable.version.unwrap().get(), 1);
    assert!(unreadable.reason.contains("merge"), "{}", unreadable.reason);
    assert_eq!(envelope.changes[1].as_ref().unwrap().key.as_str(), "b");
}

#[test]
fn what_can_be_read_of_an_unreadable_change_is_kept() {
    let bytes = header(1, 1).encode(&[upsert("a", 4, "{}")]);
    let sound = str::from_utf8(&bytes).unwrap();
    for (from, to, key, version) in [
        (r#""version":"4""#, r#""version":4"#, Some("a"), None),
        (r#""version":"4""#, r#""version":"four""#, Some("a"), None),
        (r#""key":"a""#, r#""key":["a"]"#, None, Some(4)),
        (r#""key":"a""#, r#""key":"""#, None, Some(4)),
        (r#""key":"a","#, "", None, Some(4)),
    ] {
        let text = sound.replacen(from, to, 1);
        assert_ne!(text, sound);
        let envelope = Envelope::parse(text.as_bytes()).unwrap();
        let unreadable = envelope.changes[0].as_ref().unwrap_err();
        assert_eq!(unreadable.key.as_ref().map(Key::as_str), key, "{to}");
        assert_eq!(unreadable.version.map(Version::get), version, "{to}");
    }
}

#[test]
fn fields_of_a_later_version_are_tolerated() {
    let bytes = header(1, 1).encode(&[upsert("a", 1, "{}")]);
    let text = str::from_utf8(&bytes).unwrap().replacen(r#""data":{"#, r#""data":{"new":1,"#, 1);
    assert!(Envelope::parse(text.as_bytes()).is_ok());
}

proptest! {
    #[test]
    fn one_pass_reads_what_is_sound_as_change_by_change(
        strokes in prop::collection::vec(
            (0_usize..4_096, prop::sample::select(b"{}[],:\"\\047an")),
            0..4,
        ),
    ) {
        let plain = upsert("a", 1, r#"{"a":[1,"\u00e9"]}"#);
        let traced = Change { trace: header(1, 1).trace, ..plain };
        let mut bytes = header(1, 2).encode(&[traced, delete("b", 4)]).to_vec();
        for (place, byte) in strokes {
            let place = place % bytes.len();
            bytes[place] = byte;
        }
        if let Some(sound) = Envelope::sound(&bytes) {
            let read = Envelope::one_by_one(&bytes).unwrap();
            prop_assert!(read.changes.iter().all(Result::is_ok));
            prop_assert_eq!(format!("{sound:?}"), format!("{read:?}"));
        }
    }

    #[test]
    fn parsing_any_bytes_never_panics(bytes: Vec<u8>) {
        let _ = Envelope::parse(&bytes);
    }

    #[test]
    fn what_is_encoded_is_read_back(
        first in 1..i64::MAX / 2,
        keys in proptest::collection::vec("[^\\p{Cc}]{1,20}", 1..20),
    ) {
        let changes: Vec<Change> =
            (1..).zip(&keys).map(|(version, key)| upsert(key, version, "{}")).collect();
        let sent = header(first, changes.len() as i64);
        let bytes = sent.encode(&changes);
        let received = Envelope::parse(&bytes).unwrap();
        prop_assert_eq!(&received.header, &sent);
        for (change, key) in received.changes.iter().zip(&keys) {
            prop_assert_eq!(change.as_ref().unwrap().key.as_str(), key);
        }
    }
}
