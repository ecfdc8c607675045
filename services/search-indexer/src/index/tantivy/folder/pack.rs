//! Several small files in one: a line that names them and their lengths, then their bytes.
//!
//! Damage within a file shows in the checksum that Tantivy puts at its end; damage of the line
//! leaves files missing or cut off.

use std::path::PathBuf;

/// The bytes of a pack.
pub(super) fn encode<C: AsRef<[u8]>>(files: &[(PathBuf, C)]) -> serde_json::Result<Vec<u8>> {
    let lengths: Vec<_> =
        files.iter().map(|(name, content)| (name, content.as_ref().len())).collect();
    let mut pack = serde_json::to_vec(&lengths)?;
    pack.push(b'\n');
    for (_, content) in files {
        pack.extend_from_slice(content.as_ref());
    }
    Ok(pack)
}

/// The files of a pack; none where it is no whole pack.
pub(super) fn decode(pack: &[u8]) -> Option<Vec<(PathBuf, Vec<u8>)>> {
    let end = pack.iter().position(|byte| *byte == b'\n')?;
    let (line, mut rest) = pack.split_at_checked(end + 1)?;
    let lengths: Vec<(PathBuf, usize)> = serde_json::from_slice(line).ok()?;
    let mut files = Vec::with_capacity(lengths.len());
    for (name, length) in lengths {
        let (content, after) = rest.split_at_checked(length)?;
        files.push((name, content.to_vec()));
        rest = after;
    }
    rest.is_empty().then_some(files)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_pack_holds_what_was_packed_and_no_part_of_it_is_a_pack(
            files in proptest::collection::vec(
                ("[a-z0-9.]{1,20}", proptest::collection::vec(any::<u8>(), 1..200)), 1..10
            ),
            cut in 1_usize..100,
        ) {
            let files: Vec<(PathBuf, Vec<u8>)> =
                files.into_iter().map(|(name, content)| (name.into(), content)).collect();
            let pack = encode(&files).unwrap();
            prop_assert_eq!(decode(&pack), Some(files));
            prop_assert_eq!(decode(&pack[..pack.len().saturating_sub(cut)]), None);
        }
    }
}
