//! The file as it comes, told from what is no UTF-8 by its first bytes, and remembered as a prefix.

use axum::{body::Bytes, http::StatusCode};
use contracts::Digest;
use service_kit::{BodyStream, Problem};
use sha2::{Digest as _, Sha256};

/// So much of a file shows its encoding.
const OPENING_BYTES: usize = 64;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// The pieces of a file.
#[derive(Debug)]
pub(super) struct Source {
    body: BodyStream,
    is_open: bool,
}

impl Source {
    pub(super) fn new(body: BodyStream) -> Self {
        Self { body, is_open: false }
    }

    /// The next piece; the first one is refused where it shows another encoding.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Problem>> {
        if self.is_open {
            return self.body.next().await;
        }
        self.is_open = true;
        let mut opening = Vec::new();
        while opening.len() < OPENING_BYTES {
            match self.body.next().await {
                Some(Ok(piece)) => opening.extend_from_slice(&piece),
                Some(Err(problem)) => return Some(Err(problem)),
                None => break,
            }
        }
        if is_foreign(opening.get(..OPENING_BYTES).unwrap_or(&opening)) {
            return Some(Err(foreign()));
        }
        Some(Ok(opening.into()))
    }

    /// Lets the caller, who may still be sending, see a refusal.
    pub(super) async fn discard(self) {
        self.body.discard().await;
    }
}

/// UTF-16 and UTF-32 begin with a mark or have zeros in their first characters.
fn is_foreign(opening: &[u8]) -> bool {
    opening.starts_with(b"\xff\xfe") || opening.starts_with(b"\xfe\xff") || opening.contains(&0)
}

pub(super) fn foreign() -> Problem {
    let title = "The file is in another encoding";
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-encoding", title)
        .detail("send UTF-8, with or without a byte order mark; nothing was stored")
}

/// The part of a file that was read, up to the end of a record.
#[derive(Debug, Clone, Default)]
pub(super) struct Prefix {
    bytes: u64,
    hasher: Sha256,
}

impl Prefix {
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.hasher.update(bytes);
    }

    /// Its length.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its SHA-256.
    pub(super) fn digest(&self) -> Digest {
        Digest::from(<[u8; 32]>::from(self.hasher.clone().finalize()))
    }

    /// Takes the byte order mark off the first piece.
    pub(super) fn pass_mark(&mut self, piece: &mut Bytes) {
        if self.bytes == 0 && piece.starts_with(BOM) {
            self.pass(BOM);
            drop(piece.split_to(BOM.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_encodings_are_known_by_their_first_bytes() {
        for foreign in [
            &b"\xff\xfe{\0"[..],
            b"\xfe\xff\0{",
            b"\0\0\xfe\xff",
            b"\xff\xfe\0\0",
            b"{\0\"\0",
            b"\0{",
            b"s\0k\0u\0",
        ] {
            assert!(is_foreign(foreign), "{foreign:?}");
        }
        for own in [&b"\xef\xbb\xbf{"[..], b"{\"sku\"", b"", "größe".as_bytes()] {
            assert!(!is_foreign(own), "{own:?}");
        }
    }

    #[test]
    fn a_prefix_does_not_depend_on_its_pieces() {
        let (mut one, mut two) = (Prefix::default(), Prefix::default());
        one.pass(b"abc");
        two.pass(b"a");
        two.pass(b"bc");
        assert_eq!((one.bytes(), one.digest()), (two.bytes(), two.digest()));
        assert_eq!(one.digest(), Digest::of(b"abc"));
    }
}
