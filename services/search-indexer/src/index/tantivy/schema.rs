//! The index's fields, and how text becomes words.

use tantivy::schema::{
    FAST, Field, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::{
    Language, LowerCaser, RAW_TOKENIZER_NAME, RemoveLongFilter, SimpleTokenizer, Stemmer,
    StopWordFilter, TextAnalyzer,
};

/// Raised by whoever changes a field or the way text becomes words: an index of another version is
/// rebuilt at the next start.
pub(super) const VERSION: u32 = 1;

/// Longer words are not indexed.
const WORD_BYTES_MAX: usize = 64;

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
            body: builder.add_bytes_field("body", STORED),
            schema: builder.build(),
        }
    }
}

/// The words of a text in lower case.
pub(super) fn words(text: &str) -> Vec<String> {
    collect(TextAnalyzer::builder(SimpleTokenizer::default()).filter(LowerCaser).build(), text)
}

/// The stems of the words of a text; words that say nothing (the, of) and overlong ones have none.
pub(super) fn stems(text: &str) -> Vec<String> {
    let plain = TextAnalyzer::builder(SimpleTokenizer::default())
        .filter(RemoveLongFilter::limit(WORD_BYTES_MAX))
        .filter(LowerCaser);
    let stop = StopWordFilter::new(Language::English).expect("English has a list of stop words");
    collect(plain.filter(stop).filter(Stemmer::new(Language::English)).build(), text)
}

fn collect(mut analyzer: TextAnalyzer, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    analyzer.token_stream(text).process(&mut |token| found.push(token.text.clone()));
    found
}

/// The words of a text that are indexed as they are.
pub(super) fn indexed_words(text: &str) -> Vec<String> {
    let mut found = words(text);
    found.retain(|word| word.len() <= WORD_BYTES_MAX);
    found
}
