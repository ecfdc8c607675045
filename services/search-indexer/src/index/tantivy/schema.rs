//! The index's fields, and how text becomes words.
//!
//! A word is a run of letters and digits, without case and accents: `Größe`, `GRÖSSE` and `grosse`
//! are one, however their characters are composed. What a script writes without blanks between
//! words (Chinese, Japanese, Thai) is one word up to the next blank or mark.

use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::{
    AsciiFoldingFilter, Language, LowerCaser, RAW_TOKENIZER_NAME, SimpleTokenizer, Stemmer,
    StopWordFilter, TextAnalyzer, WhitespaceTokenizer,
};
use unicode_normalization::UnicodeNormalization as _;

/// Raised by whoever changes a field or the way text becomes words: an index of another version is
/// rebuilt at the next start.
pub(super) const VERSION: u32 = 3;

/// Longer words are not indexed, so nothing is found by them.
const WORD_BYTES_MAX: usize = 64;
/// Accents of Latin, Greek and Cyrillic letters, where they stand by themselves.
const ACCENTS: std::ops::RangeInclusive<char> = '\u{300}'..='\u{36f}';

/// What a document consists of.
#[derive(Debug)]
pub(super) struct Fields {
    pub(super) schema: Schema,
    /// The SKU, one term; a fast field too, since it decides between equally good matches.
    pub(super) key: Field,
    /// The stems of the name.
    pub(super) name: Field,
    /// The stems of everything else: SKU, attribute values, names of categories.
    pub(super) text: Field,
    /// All words as they are, for the word that is still being typed.
    pub(super) words: Field,
    /// The categories that the document is in or below.
    pub(super) category: Field,
    /// What is counted: categories and attribute values, see `Facet`.
    pub(super) facet: Field,
    /// The name without case, then the SKU: the order by name.
    pub(super) order: Field,
    /// The effective price in ten thousandths, an integer so that nothing is rounded.
    pub(super) price: Field,
    /// With how many decimals the price is shown.
    pub(super) decimals: Field,
    /// The code of the price's currency.
    pub(super) currency: Field,
    /// Whether any is available.
    pub(super) in_stock: Field,
    /// What is answered, as JSON; the version is in it.
    pub(super) body: Field,
}

impl Fields {
    /// Name of the fast field `key`.
    pub(super) const KEY: &'static str = "key";
    /// Name of the fast field `order`.
    pub(super) const ORDER: &'static str = "order";
    /// Name of the fast field `facet`.
    pub(super) const FACET: &'static str = "facet";
    /// Name of the fast field `price`.
    pub(super) const PRICE: &'static str = "price";
    /// Name of the fast field `decimals`.
    pub(super) const DECIMALS: &'static str = "decimals";
    /// Name of the fast field `currency`.
    pub(super) const CURRENCY: &'static str = "currency";
    /// Name of the fast field `in_stock`.
    pub(super) const IN_STOCK: &'static str = "in_stock";

    pub(super) fn new() -> Self {
        let counted = TextOptions::default().set_fast(RAW_TOKENIZER_NAME);
        // The analyzers are applied here, not by Tantivy, so that an index opened without them
        // cannot exist: it sees words already, separated by blanks.
        let words = TextOptions::default().set_indexing_options(
            TextFieldIndexing::default()
                .set_tokenizer("whitespace")
                .set_index_option(IndexRecordOption::WithFreqs),
        );
        let mut builder = Schema::builder();
        Self {
            key: builder.add_text_field(Self::KEY, STRING | FAST),
            name: builder.add_text_field("name", words.clone()),
            text: builder.add_text_field("text", words.clone()),
            words: builder.add_text_field("words", words),
            category: builder.add_text_field("category", STRING),
            facet: builder.add_text_field(Self::FACET, counted.clone()),
            order: builder.add_text_field(Self::ORDER, counted),
            price: builder.add_u64_field(Self::PRICE, FAST),
            decimals: builder.add_u64_field(Self::DECIMALS, FAST),
            currency: builder.add_text_field(Self::CURRENCY, STRING | FAST),
            in_stock: builder.add_bool_field(Self::IN_STOCK, INDEXED | FAST),
            body: builder.add_bytes_field("body", STORED),
            schema: builder.build(),
        }
    }
}

/// The words of a text, without case and accents.
pub(super) fn words(text: &str) -> Vec<String> {
    let analyzer = TextAnalyzer::builder(SimpleTokenizer::default())
        .filter(LowerCaser)
        .filter(AsciiFoldingFilter)
        .build();
    collect(analyzer, &without_accents(text))
}

/// The stems of words as `words` answers them; those that say nothing (the, of) have none.
pub(super) fn stems(words: &[String]) -> Vec<String> {
    let stop = StopWordFilter::new(Language::English).expect("English has a list of stop words");
    let analyzer = TextAnalyzer::builder(WhitespaceTokenizer::default())
        .filter(stop)
        .filter(Stemmer::new(Language::English))
        .build();
    collect(analyzer, &words.join(" "))
}

/// The words of a text by which it is found.
pub(super) fn indexed_words(text: &str) -> Vec<String> {
    let mut found = words(text);
    found.retain(|word| is_indexed(word));
    found
}

/// Whether anything can be found by this word.
pub(super) fn is_indexed(word: &str) -> bool {
    word.len() <= WORD_BYTES_MAX
}

/// Takes characters apart, drops the accents, and puts the rest together again, so that all ways to
/// write one character are one. Letters that have no parts (ß, ø) are left to the folding filter.
fn without_accents(text: &str) -> String {
    text.nfkd().filter(|c| !ACCENTS.contains(c)).nfc().collect()
}

fn collect(mut analyzer: TextAnalyzer, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    analyzer.token_stream(text).process(&mut |token| found.push(token.text.clone()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_neither_case_nor_accents() {
        for (text, expected) in [
            ("Café", &["cafe"][..]),
            ("GRÖSSE", &["grosse"]),
            ("Größe", &["grosse"]),
            ("Gro\u{308}ße Cafe\u{301}", &["grosse", "cafe"]),
            ("İstanbul SMØRREBRØD", &["istanbul", "smorrebrod"]),
            ("Łódź, naïve; Ångström", &["lodz", "naive", "angstrom"]),
            ("ΆΝΩ άνω", &["ανω", "ανω"]),
            ("Ёлка елка", &["елка", "елка"]),
            ("Ｆｕｌｌ ﬁt", &["full", "fit"]),
            ("ガーデン カ\u{3099}ーテ\u{3099}ン", &["ガーデン", "ガーデン"]),
            ("한글 \u{1112}\u{1161}\u{11ab}글", &["한글", "한글"]),
            ("汉字分词", &["汉字分词"]),
            ("MH01-XS!", &["mh01", "xs"]),
            ("", &[]),
        ] {
            assert_eq!(words(text), expected, "{text:?}");
        }
    }

    #[test]
    fn stop_words_alone_have_no_stem() {
        let stems = |text| stems(&words(text));
        assert_eq!(stems("The Größen of running hoodies"), ["grossen", "run", "hoodi"]);
        assert!(stems("the of").is_empty());
        assert_eq!(stems(&"z".repeat(100)).len(), 1);
    }
}
