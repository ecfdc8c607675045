//! A very small reader of Rust text: what is code, and what stands in string literals.
//!
//! It knows comments, strings, raw strings, characters and lifetimes, and nothing else.

/// Rust text taken apart. Both parts keep the line numbers of the original.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// The text with comments removed and string literals emptied.
    pub(super) code: String,
    /// The string literals.
    pub(super) literals: Vec<Literal>,
}

/// One string literal, as written (escapes are not resolved).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Literal {
    /// Line of its first character, counted from 1.
    pub(super) line: usize,
    pub(super) text: String,
}

/// Takes Rust text apart.
pub(super) fn parts(text: &str) -> Parts {
    let mut reader = Reader { rest: text, line: 1, parts: Parts::default() };
    while !reader.rest.is_empty() {
        reader.step();
    }
    reader.parts
}

/// Whether `word` stands in the code, not as a part of a longer name.
pub(super) fn names(code: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code.get(..at).and_then(|s| s.chars().next_back());
        let after = code.get(at + word.len()..).and_then(|s| s.chars().next());
        !before.is_some_and(is_name) && !after.is_some_and(is_name)
    })
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    parts: Parts,
}

impl<'a> Reader<'a> {
    fn step(&mut self) {
        if self.rest.starts_with("//") {
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.take(end);
        } else if self.rest.starts_with("/*") {
            self.block_comment();
        } else if self.rest.starts_with('"') {
            self.string();
        } else if let Some(hashes) = self.raw_string_hashes() {
            self.raw_string(hashes);
        } else if self.rest.starts_with('\'') {
            let length = character(self.rest).unwrap_or(1);
            self.take(length);
            self.parts.code.push('\'');
        } else {
            let length = self.rest.chars().next().map_or(1, char::len_utf8);
            let code = self.take(length);
            self.parts.code.push_str(code);
        }
    }

    /// Removes `length` bytes from the front, counting lines; keeps line ends that are dropped.
    fn take(&mut self, length: usize) -> &'a str {
        let (front, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.rest = rest;
        let lines = front.matches('\n').count();
        self.line += lines;
        if front != "\n" {
            self.parts.code.extend(std::iter::repeat_n('\n', lines));
        }
        front
    }

    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        loop {
            if self.rest.starts_with("/*") {
                depth += 1;
                self.take(2);
            } else if self.rest.starts_with("*/") {
                depth -= 1;
                self.take(2);
            } else {
                let length = self.rest.chars().next().map_or(0, char::len_utf8);
                let part = self.take(length);
                if part == "\n" {
                    self.parts.code.push('\n');
                }
            }
            if depth == 0 || self.rest.is_empty() {
                break;
            }
        }
    }

    fn string(&mut self) {
        let mut escaped = false;
        let inside = self.rest.get(1..).unwrap_or_default();
        let end = inside.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let end = end.unwrap_or(inside.len());
        self.literal(inside.get(..end).unwrap_or_default(), end + 2);
    }

    /// `Some(n)` if a raw string with `n` hashes begins here (after a possible `b` or `c`).
    fn raw_string_hashes(&self) -> Option<usize> {
        let ends_a_name = self.parts.code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let previous = self.parts.code.chars().next_back();
        if ends_a_name && !matches!(previous, Some('b' | 'c')) {
            return None;
        }
        let after = self.rest.strip_prefix('r')?;
        let hashes = after.len() - after.trim_start_matches('#').len();
        after.get(hashes..)?.starts_with('"').then_some(hashes)
    }

    fn raw_string(&mut self, hashes: usize) {
        let close = format!("\"{}", "#".repeat(hashes));
        let start = 2 + hashes;
        let inside = self.rest.get(start..).unwrap_or_default();
        let end = inside.find(&close).unwrap_or(inside.len());
        self.literal(inside.get(..end).unwrap_or_default(), start + end + close.len());
    }

    fn literal(&mut self, text: &str, length: usize) {
        self.parts.literals.push(Literal { line: self.line, text: text.to_owned() });
        self.parts.code.push_str("\"\"");
        self.take(length);
    }
}

/// Length of the character literal at the front, or `None` for a lifetime.
fn character(rest: &str) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first == '\\' {
        let (at, escape) = chars.next()?;
        let inside = rest.get(at + escape.len_utf8()..)?;
        return Some(at + escape.len_utf8() + inside.find('\'')? + 1);
    }
    let (at, second) = chars.next()?;
    (second == '\'').then_some(at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literals(text: &str) -> Vec<String> {
        parts(text).literals.into_iter().map(|literal| literal.text).collect()
    }

    #[test]
    fn strings_are_found_and_comments_are_not() {
        let text = r####"
            // "no"
            let a = "one \" two"; /* "no /* nested */ no" */
            let b = r#"three "four""#; let c = b"five"; let d = br"six";
            let e: &'static str = "seven"; let f = '"'; let g = '\''; let h = "eight";
        "####;
        assert_eq!(
            literals(text),
            [r#"one \" two"#, r#"three "four""#, "five", "six", "seven", "eight"]
        );
    }

    #[test]
    fn lines_are_kept_through_comments_and_long_strings() {
        let text = "/* a\nb */\n\"c\nd\"\n// e\n\"f\"\ng";
        let parts = parts(text);
        assert_eq!(parts.literals.iter().map(|literal| literal.line).collect::<Vec<_>>(), [3, 6]);
        assert_eq!(parts.code.lines().count(), text.lines().count());
        assert_eq!(parts.code.lines().last(), Some("g"));
    }

    #[test]
    fn a_name_is_matched_whole() {
        assert!(names("use tokio::sync;", "tokio"));
        assert!(!names("use tokio_util::sync;", "tokio"));
    }
}
