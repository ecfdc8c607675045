//! A user's question as a query. User text is never parsed as a query language, so no text is
//! wrong and none is expensive.

use std::ops::Bound;

use tantivy::Term;
use tantivy::query::{
    AllQuery, Bm25StatisticsProvider, BooleanQuery, BoostQuery, ConstScoreQuery, EmptyQuery,
    FuzzyTermQuery, Occur, Query, RangeQuery, TermQuery,
};
use tantivy::schema::{Field, IndexRecordOption};

use super::schema::{Fields, is_indexed, stems, words};
use crate::domain::Amount;
use crate::index::Question;

/// A shorter beginning of a word matches nearly everything and is looked up as it is.
const PREFIX_CHARS_MIN: usize = 2;
/// Who types a whole SKU wants that product first.
const KEY_BOOST: f32 = 20.0;
const NAME_BOOST: f32 = 3.0;
const PREFIX_BOOST: f32 = 0.5;

impl Fields {
    /// All words must match; the last may be the beginning of one.
    pub(super) fn query(&self, question: &Question) -> Box<dyn Query> {
        let text = question.words.as_deref().unwrap_or_default().trim();
        let mut clauses = vec![(Occur::Must, self.text_query(text))];
        for filter in self.filters(question) {
            clauses.push((Occur::Must, Box::new(ConstScoreQuery::new(filter, 0.0))));
        }
        Box::new(BooleanQuery::new(clauses))
    }

    /// What a result must be besides; none of it makes one a better match.
    fn filters(&self, question: &Question) -> Vec<Box<dyn Query>> {
        let mut filters = Vec::new();
        if let Some(category) = &question.category {
            filters.push(term(self.category, category.as_str()));
        }
        if question.price_min.is_some() || question.price_max.is_some() {
            let bound = |amount: Option<Amount>| {
                amount.map_or(Bound::Unbounded, |amount| {
                    Bound::Included(Term::from_field_u64(self.price, amount.parts()))
                })
            };
            let range = RangeQuery::new(bound(question.price_min), bound(question.price_max));
            filters.push(Box::new(range));
        }
        if let Some(currency) = &question.currency {
            filters.push(term(self.currency, currency.as_str()));
        }
        if let Some(in_stock) = question.in_stock {
            let is = Term::from_field_bool(self.in_stock, in_stock);
            filters.push(Box::new(TermQuery::new(is, IndexRecordOption::Basic)));
        }
        filters
    }

    fn text_query(&self, text: &str) -> Box<dyn Query> {
        if text.is_empty() {
            return Box::new(AllQuery);
        }
        let words = words(text);
        let Some(last) = words.last().cloned() else { return Box::new(EmptyQuery) };
        if !words.iter().all(|word| is_indexed(word)) {
            return Box::new(EmptyQuery);
        }
        let says = |word: &&String| !stems(std::slice::from_ref(*word)).is_empty();
        let telling: Vec<&String> = words.iter().filter(says).collect();
        let mut clauses: Vec<(Occur, Box<dyn Query>)> = Vec::new();
        for word in telling.iter().filter(|word| ***word != last) {
            clauses.push((Occur::Must, self.word(word, None)));
        }
        // A last word that says nothing counts only if it is all there is.
        if telling.contains(&&last) || telling.is_empty() {
            clauses.push((Occur::Must, self.word(&last, Some(self.beginning(&last)))));
        }
        clauses.push((Occur::Should, boosted(term(self.key, text), KEY_BOOST)));
        Box::new(BooleanQuery::new(clauses))
    }

    /// The name tells more than what stands beside it.
    fn word(&self, word: &String, beginning: Option<Box<dyn Query>>) -> Box<dyn Query> {
        let mut clauses: Vec<(Occur, Box<dyn Query>)> = Vec::new();
        for stem in stems(std::slice::from_ref(word)) {
            clauses.push((Occur::Should, boosted(term(self.name, &stem), NAME_BOOST)));
            clauses.push((Occur::Should, term(self.text, &stem)));
        }
        clauses.extend(beginning.map(|query| (Occur::Should, query)));
        Box::new(BooleanQuery::new(clauses))
    }

    fn beginning(&self, word: &str) -> Box<dyn Query> {
        let whole = Term::from_field_text(self.words, word);
        let query: Box<dyn Query> = if word.chars().count() < PREFIX_CHARS_MIN {
            Box::new(ConstScoreQuery::new(term(self.words, word), 1.0))
        } else {
            Box::new(FuzzyTermQuery::new_prefix(whole, 0, false))
        };
        boosted(query, PREFIX_BOOST)
    }
}

fn term(field: Field, text: &str) -> Box<dyn Query> {
    let term = Term::from_field_text(field, text);
    Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs))
}

fn boosted(query: Box<dyn Query>, boost: f32) -> Box<dyn Query> {
    Box::new(BoostQuery::new(query, boost))
}

/// Pretends that every word is equally rare and every text equally long.
///
/// Scores then depend on the document and the question alone, so that a merge of segments between
/// two pages moves no result; and since all words must match, their rarity would tell little.
pub(super) struct EvenStatistics;

impl Bm25StatisticsProvider for EvenStatistics {
    fn total_num_tokens(&self, _: Field) -> tantivy::Result<u64> {
        Ok(800)
    }

    fn total_num_docs(&self) -> tantivy::Result<u64> {
        Ok(100)
    }

    fn doc_freq(&self, _: &Term) -> tantivy::Result<u64> {
        Ok(10)
    }
}
