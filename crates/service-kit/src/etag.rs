//! Optimistic writes: the state of a record as an `ETag`, and the caller's condition on it.

use std::fmt;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, StatusCode, header, request::Parts},
};
use contracts::Digest;

use crate::Problem;

/// The state of a record: `"{version}-{first 8 hex digits of its payload's digest}"`.
///
/// The version alone would not do: a source restored from a backup uses versions a second time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Etag {
    version: i64,
    digest: String,
}

/// What the caller demands of the record before its request is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    None,
    /// `If-Match: *`: there is such a record.
    Exists,
    /// `If-None-Match: *`: there is no such record.
    Absent,
    /// `If-Match`: the record is in one of these states; empty where no tag was one of ours, or
    /// all were weak.
    OneOf(Vec<Etag>),
    /// `If-None-Match`: the record is in none of these states, be their tags strong or weak.
    NoneOf(Vec<Etag>),
}

impl Etag {
    /// The tag of this version with this payload.
    pub fn of(version: i64, payload: &[u8]) -> Self {
        Self { version, digest: Digest::of(payload).prefix() }
    }

    /// The tag of this version, where the first 8 hex digits of the digest are known already.
    pub fn new(version: i64, digest: &str) -> Self {
        Self { version, digest: digest.to_owned() }
    }

    /// The version that the tag names.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// Reads the inside of a quoted tag; tags that are not ours match nothing and are no error.
    fn parse(raw: &str) -> Option<Self> {
        let (version, digest) = raw.split_once('-')?;
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let sound = digest.len() == 8 && digest.bytes().all(hex);
        let canonical = version.bytes().all(|b| b.is_ascii_digit()) && !version.starts_with('0');
        if !sound || !canonical {
            return None;
        }
        Some(Self { version: version.parse().ok()?, digest: digest.to_owned() })
    }
}

impl fmt::Display for Etag {
    /// As the value of header `ETag`, with its quotes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}-{}\"", self.version, self.digest)
    }
}

impl Precondition {
    /// Reads `If-Match` and `If-None-Match`; only one of them may be there.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, Problem> {
        let matching = tags(headers, &header::IF_MATCH, Comparison::Strong)?;
        let unlike = tags(headers, &header::IF_NONE_MATCH, Comparison::Weak)?;
        match (matching, unlike) {
            (None, None) => Ok(Self::None),
            (Some(Tags::Any), None) => Ok(Self::Exists),
            (Some(Tags::List(tags)), None) => Ok(Self::OneOf(tags)),
            (None, Some(Tags::Any)) => Ok(Self::Absent),
            (None, Some(Tags::List(tags))) => Ok(Self::NoneOf(tags)),
            (Some(_), Some(_)) => Err(malformed("send either If-Match or If-None-Match, not both")),
        }
    }

    /// Whether a record in this state, or none at all, satisfies the condition.
    pub fn holds(&self, current: Option<&Etag>) -> bool {
        match (self, current) {
            (Self::None, _) | (Self::Exists, Some(_)) | (Self::Absent | Self::NoneOf(_), None) => {
                true
            }
            (Self::Exists | Self::OneOf(_), None) | (Self::Absent, Some(_)) => false,
            (Self::OneOf(tags), Some(current)) => tags.contains(current),
            (Self::NoneOf(tags), Some(current)) => !tags.contains(current),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Precondition {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Self::from_headers(&parts.headers)
    }
}

enum Tags {
    Any,
    List(Vec<Etag>),
}

/// Whether a weak tag, which names no exact bytes, can match.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

fn tags(
    headers: &HeaderMap,
    name: &HeaderName,
    comparison: Comparison,
) -> Result<Option<Tags>, Problem> {
    let mut values = headers.get_all(name).iter().peekable();
    if values.peek().is_none() {
        return Ok(None);
    }
    let mut list = Vec::new();
    for value in values {
        let text = value.to_str().map_err(|_| malformed(&format!("{name} is no plain text")))?;
        let mut rest = text.trim_start_matches(BETWEEN);
        while !rest.is_empty() {
            let (tag, after) = next_tag(rest).ok_or_else(|| {
                malformed(&format!("{name} must be * or tags in double quotes, as ETag gave them"))
            })?;
            match tag {
                Tag::Any => return Ok(Some(Tags::Any)),
                Tag::Weak(_) if comparison == Comparison::Strong => {}
                Tag::Strong(inside) | Tag::Weak(inside) => list.extend(Etag::parse(inside)),
            }
            rest = after.trim_start_matches(BETWEEN);
        }
    }
    Ok(Some(Tags::List(list)))
}

/// What may stand between two tags; at least one of it a comma.
const BETWEEN: [char; 3] = [',', ' ', '\t'];

enum Tag<'a> {
    Any,
    Strong(&'a str),
    Weak(&'a str),
}

/// The first tag of a list, and what follows it. A comma within the quotes belongs to the tag.
fn next_tag(list: &str) -> Option<(Tag<'_>, &str)> {
    let (tag, after) = if let Some(after) = list.strip_prefix('*') {
        (Tag::Any, after)
    } else {
        let strong = list.strip_prefix("W/").unwrap_or(list);
        let (inside, after) = strong.strip_prefix('"')?.split_once('"')?;
        (if strong == list { Tag::Strong(inside) } else { Tag::Weak(inside) }, after)
    };
    let next = after.trim_start_matches([' ', '\t']);
    (next.is_empty() || next.starts_with(',')).then_some((tag, after))
}

fn malformed(detail: &str) -> Problem {
    let title = "The condition cannot be read";
    Problem::new(StatusCode::BAD_REQUEST, "malformed-condition", title).detail(detail)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn read(pairs: &[(&'static str, &str)]) -> Result<Precondition, Problem> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::try_from(*value).unwrap());
        }
        Precondition::from_headers(&headers)
    }

    #[test]
    fn a_tag_that_was_given_is_recognised() {
        let tag = Etag::of(7, b"abc");
        assert_eq!(tag.to_string(), "\"7-ba7816bf\"");
        let condition = read(&[("if-match", "\"7-ba7816bf\"")]).unwrap();
        assert!(condition.holds(Some(&tag)));
        assert!(!condition.holds(Some(&Etag::of(8, b"abc"))));
        assert!(!condition.holds(Some(&Etag::of(7, b"abd"))));
        assert!(!condition.holds(None));
    }

    #[test]
    fn lists_and_several_headers_are_one_condition() {
        let tags = [("if-match", "\"1-00000000\", W/\"7-ba7816bf\""), ("if-match", "\"x\"")];
        let condition = read(&tags).unwrap();
        assert_eq!(condition, Precondition::OneOf(vec![Etag::parse("1-00000000").unwrap()]));
        assert!(!condition.holds(Some(&Etag::of(7, b"abc"))));
    }

    #[test]
    fn a_tag_that_a_road_made_weak_still_names_the_copy_that_is_held() {
        let tag = Etag::of(7, b"abc");
        let weak = read(&[("if-none-match", "\"x\", W/\"7-ba7816bf\"")]).unwrap();
        assert!(!weak.holds(Some(&tag)));
        assert!(weak.holds(Some(&Etag::of(8, b"abc"))));
        assert!(weak.holds(None));
        assert!(!read(&[("if-match", "W/\"7-ba7816bf\"")]).unwrap().holds(Some(&tag)));
    }

    #[test]
    fn a_comma_within_quotes_separates_nothing() {
        let tag = Etag::of(7, b"abc");
        let condition = read(&[("if-match", "\"a,b\" ,, \"7-ba7816bf\",")]).unwrap();
        assert!(condition.holds(Some(&tag)));
        assert!(!read(&[("if-match", "\"a,7-ba7816bf\"")]).unwrap().holds(Some(&tag)));
    }

    #[test]
    fn a_star_asks_whether_there_is_anything() {
        let tag = Etag::of(1, b"x");
        assert!(read(&[("if-match", "*")]).unwrap().holds(Some(&tag)));
        assert!(!read(&[("if-match", "*")]).unwrap().holds(None));
        assert!(read(&[("if-none-match", "*")]).unwrap().holds(None));
        assert!(!read(&[("if-none-match", "*")]).unwrap().holds(Some(&tag)));
    }

    #[test]
    fn no_condition_always_holds() {
        assert!(read(&[]).unwrap().holds(None));
    }

    #[test]
    fn what_is_no_tag_is_refused() {
        for bad in ["7-ba7816bf", "\"open", "'7'", "\"a\"\"b\"", "\"a\" b", "*x", "w/\"a\""] {
            assert_eq!(read(&[("if-match", bad)]).unwrap_err().status(), StatusCode::BAD_REQUEST);
        }
        assert!(read(&[("if-match", "*"), ("if-none-match", "*")]).is_err());
    }
}
