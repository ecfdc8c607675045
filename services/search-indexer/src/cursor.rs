//! The opaque `after` of a page: a place in the order of one question, and which question that was.

use crate::domain::Amount;
use crate::index::{Place, Question};

/// Raised when a cursor's bytes get another meaning; older ones are then refused.
const VERSION: u8 = 2;

/// Text that is no cursor of this question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidCursor {
    /// It was not made here.
    #[error("it is not a cursor of this search")]
    Unreadable,
    /// It continues another search.
    #[error("it belongs to a search with other parameters")]
    OtherQuestion,
}

/// The cursor of the results behind `place`.
pub(crate) fn encode(question: &Question, place: &Place) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend(fingerprint(question).to_be_bytes());
    bytes.extend(place.rank.to_be_bytes());
    bytes.extend(place.tie.as_bytes());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The place that a cursor of this question names.
pub(crate) fn decode(question: &Question, cursor: &str) -> Result<Place, InvalidCursor> {
    let bytes = unhex(cursor).ok_or(InvalidCursor::Unreadable)?;
    let (version, rest) = bytes.split_first_chunk::<1>().ok_or(InvalidCursor::Unreadable)?;
    let (asked, rest) = rest.split_first_chunk::<8>().ok_or(InvalidCursor::Unreadable)?;
    let (rank, tie) = rest.split_first_chunk::<8>().ok_or(InvalidCursor::Unreadable)?;
    if *version != [VERSION] {
        return Err(InvalidCursor::Unreadable);
    }
    if u64::from_be_bytes(*asked) != fingerprint(question) {
        return Err(InvalidCursor::OtherQuestion);
    }
    let tie = String::from_utf8(tie.to_vec()).map_err(|_| InvalidCursor::Unreadable)?;
    Ok(Place { rank: u64::from_be_bytes(*rank), tie })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16)?).ok();
    let pairs = text.as_bytes().chunks_exact(2);
    let whole = pairs.remainder().is_empty();
    let bytes: Option<Vec<u8>> = pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect();
    bytes.filter(|_| whole)
}

/// FNV-1a over what decides the order of results; it guards against mistakes, not against malice.
fn fingerprint(question: &Question) -> u64 {
    let category = question.category.as_ref().map_or("", |category| category.as_str());
    let words = question.words.as_deref().unwrap_or("");
    let currency = question.currency.as_ref().map_or("", |currency| currency.as_str());
    // As a number, since `5` and `5.00` ask for the same.
    let price = |bound: Option<Amount>| bound.map_or_else(String::new, |it| it.parts().to_string());
    let (price_min, price_max) = (price(question.price_min), price(question.price_max));
    let in_stock = match question.in_stock {
        Some(true) => "true",
        Some(false) => "false",
        None => "",
    };
    [question.sort.as_str(), category, words, &price_min, &price_max, currency, in_stock]
        .into_iter()
        .flat_map(|part| part.bytes().chain([0]))
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::index::Sort;

    fn question(words: &str) -> Question {
        Question {
            words: Some(words.to_owned()),
            category: None,
            price_min: None,
            price_max: None,
            currency: None,
            in_stock: None,
            sort: Sort::Relevance,
            after: None,
            limit: 20,
        }
    }

    proptest! {
        #[test]
        fn a_cursor_comes_back_as_the_same_place(rank: u64, tie: String, words: String) {
            let (place, asked) = (Place { rank, tie }, question(&words));
            prop_assert_eq!(decode(&asked, &encode(&asked, &place)), Ok(place));
        }

        #[test]
        fn no_text_is_too_strange_to_be_refused(text: String) {
            prop_assert_eq!(decode(&question("hoodie"), &text), Err(InvalidCursor::Unreadable));
        }
    }

    #[test]
    fn a_cursor_of_another_search_is_refused() {
        let place = Place { rank: 7, tie: "MH01".to_owned() };
        let cursor = encode(&question("hoodie"), &place);
        assert_eq!(decode(&question("hat"), &cursor), Err(InvalidCursor::OtherQuestion));
        assert_eq!(decode(&question("hoodie"), &cursor[..8]), Err(InvalidCursor::Unreadable));
        assert_eq!(decode(&question("hoodie"), &cursor[1..]), Err(InvalidCursor::Unreadable));
    }

    #[test]
    fn every_filter_and_the_order_belong_to_the_search() {
        let amount = |raw: &str| Some(raw.parse().unwrap());
        let asked = Question { price_min: amount("5"), ..question("hoodie") };
        let cursor = encode(&asked, &Place { rank: 7, tie: "MH01".to_owned() });
        let same = Question { price_min: amount("5.00"), limit: 7, ..asked.clone() };
        assert!(decode(&same, &cursor).is_ok());
        for other in [
            Question { price_min: amount("5.01"), ..asked.clone() },
            Question { price_min: None, price_max: amount("5"), ..asked.clone() },
            Question { currency: Some("USD".parse().unwrap()), ..asked.clone() },
            Question { in_stock: Some(true), ..asked.clone() },
            Question { in_stock: Some(false), ..asked.clone() },
            Question { sort: Sort::Cheapest, ..asked.clone() },
            Question { sort: Sort::Dearest, ..asked.clone() },
        ] {
            assert_eq!(decode(&other, &cursor), Err(InvalidCursor::OtherQuestion), "{other:?}");
        }
    }
}
