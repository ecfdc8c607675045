//! One pass over all matches: the next page of them, their number, and the facets of them all.

use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::ops::Bound;

use tantivy::collector::{Collector, SegmentCollector};
use tantivy::columnar::{Column, StrColumn};
use tantivy::query::Query;
use tantivy::schema::Value as _;
use tantivy::schema::document::TantivyDocument;
use tantivy::{DocAddress, DocId, Score, Searcher, SegmentOrdinal, SegmentReader, TantivyError};

use super::document::Facet;
use super::figures::{Figures, SegmentFigures};
use super::question::EvenStatistics;
use super::schema::Fields;
use crate::index::{CategoryCount, Hit, HitCategory, Page, Place, Question, Sort, ValueCount};

/// Attributes beyond these, by number of results that have them, are not answered.
const ATTRIBUTES_MAX: usize = 20;
/// Values beyond these, by number of results, are not answered.
const VALUES_MAX: usize = 50;
/// Scores closer than this are equal: sums of floats depend on the order of their terms.
const SCORE_STEPS: f32 = 100.0;
/// Above every price, and below the rank of what has none.
const PRICES_END: u64 = u64::MAX - 1;

/// Answers the question.
pub(super) fn find(
    searcher: &Searcher,
    fields: &Fields,
    query: &dyn Query,
    question: &Question,
) -> tantivy::Result<Page> {
    let window = Window {
        sort: question.sort,
        after: question.after.clone(),
        // One more than asked for tells whether anything follows.
        count: question.limit.saturating_add(1),
    };
    let mut found = searcher.search_with_statistics_provider(query, &window, &EvenStatistics)?;
    let more = found.places.len() > question.limit;
    found.places.truncate(question.limit);
    let next = found.places.last().filter(|_| more).map(|(place, _)| place.clone());
    let hits = found.places.iter().map(|(_, address)| hit(searcher, fields, *address));
    let hits = hits.collect::<tantivy::Result<Vec<Hit>>>()?;
    let (categories, attributes) = facets(found.facets);
    let (prices, in_stock) = found.figures.answer();
    Ok(Page { hits, total: found.total, categories, attributes, prices, in_stock, next })
}

fn hit(searcher: &Searcher, fields: &Fields, address: DocAddress) -> tantivy::Result<Hit> {
    let stored: TantivyDocument = searcher.doc(address)?;
    let body = stored.get_first(fields.body).and_then(|value| value.as_bytes()).unwrap_or_default();
    serde_json::from_slice(body)
        .map_err(|error| TantivyError::InternalError(format!("read a stored document: {error}")))
}

type Facets = (Vec<CategoryCount>, BTreeMap<String, Vec<ValueCount>>);

fn facets(counts: HashMap<String, u64>) -> Facets {
    let mut names: BTreeMap<String, (u64, u64, Option<String>)> = BTreeMap::new();
    let mut attributes: BTreeMap<String, Vec<ValueCount>> = BTreeMap::new();
    for (facet, count) in counts {
        match serde_json::from_str(&facet) {
            Ok(Facet::Category(id, name)) => {
                // While a new name spreads through the documents, the more frequent one is shown.
                let entry = names.entry(id).or_default();
                entry.0 += count;
                if (count, &name) > (entry.1, &entry.2) {
                    (entry.1, entry.2) = (count, name);
                }
            }
            Ok(Facet::Attribute(name, value)) => {
                attributes.entry(name).or_default().push(ValueCount { value, count });
            }
            Err(_) => {}
        }
    }
    let mut categories: Vec<CategoryCount> = names
        .into_iter()
        .map(|(id, (count, _, name))| CategoryCount { category: HitCategory { id, name }, count })
        .collect();
    categories
        .sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.category.id.cmp(&b.category.id)));
    categories.truncate(VALUES_MAX);
    (categories, most_frequent(attributes))
}

fn most_frequent(
    attributes: BTreeMap<String, Vec<ValueCount>>,
) -> BTreeMap<String, Vec<ValueCount>> {
    let total = |values: &[ValueCount]| values.iter().map(|value| value.count).sum::<u64>();
    let mut attributes: Vec<(String, Vec<ValueCount>)> = attributes.into_iter().collect();
    attributes.sort_by_key(|(_, values)| std::cmp::Reverse(total(values)));
    attributes.truncate(ATTRIBUTES_MAX);
    for (_, values) in &mut attributes {
        values
            .sort_by_cached_key(|value| (std::cmp::Reverse(value.count), value.value.to_string()));
        values.truncate(VALUES_MAX);
    }
    attributes.into_iter().collect()
}

/// The part of the order that is wanted.
struct Window {
    sort: Sort,
    after: Option<Place>,
    count: usize,
}

#[derive(Default)]
struct Found {
    total: u64,
    places: Vec<(Place, DocAddress)>,
    facets: HashMap<String, u64>,
    figures: Figures,
}

impl Collector for Window {
    type Fruit = Found;
    type Child = SegmentWindow;

    fn for_segment(
        &self,
        segment: SegmentOrdinal,
        reader: &SegmentReader,
    ) -> tantivy::Result<SegmentWindow> {
        let column = match self.sort {
            Sort::Relevance | Sort::Cheapest | Sort::Dearest => Fields::KEY,
            Sort::Name => Fields::ORDER,
        };
        let fast = reader.fast_fields();
        let ties = fast.str(column)?;
        let after = match (&self.after, &ties) {
            (Some(place), Some(ties)) => {
                let tie = Bound::Excluded(place.tie.as_bytes());
                let bounds = ties.dictionary().term_bounds_to_ord(tie, Bound::Unbounded)?;
                Some((place.rank, bounds.0))
            }
            _ => None,
        };
        let facets = fast.str(Fields::FACET)?;
        let terms = facets.as_ref().map_or(0, |facets| facets.num_terms());
        Ok(SegmentWindow {
            segment,
            sort: self.sort,
            after,
            count: self.count,
            ords: ties.as_ref().map(|ties| ties.ords().clone()),
            ties,
            facets,
            facet_counts: vec![0; terms],
            figures: SegmentFigures::new(fast)?,
            total: 0,
            first: BinaryHeap::new(),
        })
    }

    fn requires_scoring(&self) -> bool {
        self.sort == Sort::Relevance
    }

    fn merge_fruits(&self, segments: Vec<tantivy::Result<Found>>) -> tantivy::Result<Found> {
        let mut all = Found::default();
        for found in segments {
            let found = found?;
            all.total += found.total;
            all.places.extend(found.places);
            all.figures.add(found.figures);
            for (facet, count) in found.facets {
                *all.facets.entry(facet).or_default() += count;
            }
        }
        all.places.sort_unstable();
        all.places.truncate(self.count);
        Ok(all)
    }
}

/// The same for one segment, where an ordinal stands for the text that decides between ties.
struct SegmentWindow {
    segment: SegmentOrdinal,
    sort: Sort,
    after: Option<(u64, Bound<u64>)>,
    count: usize,
    ties: Option<StrColumn>,
    ords: Option<Column<u64>>,
    facets: Option<StrColumn>,
    facet_counts: Vec<u64>,
    figures: SegmentFigures,
    total: u64,
    /// The first ones so far, the last of them on top.
    first: BinaryHeap<(u64, u64, DocId)>,
}

impl SegmentCollector for SegmentWindow {
    type Fruit = tantivy::Result<Found>;

    fn collect(&mut self, doc: DocId, score: Score) {
        self.total += 1;
        let price = self.figures.count(doc);
        if let Some(facets) = &self.facets {
            for ord in facets.term_ords(doc) {
                let slot = usize::try_from(ord).ok().and_then(|ord| self.facet_counts.get_mut(ord));
                if let Some(count) = slot {
                    *count += 1;
                }
            }
        }
        let Some(tie) = self.ords.as_ref().and_then(|ords| ords.first(doc)) else { return };
        let rank = match self.sort {
            Sort::Relevance => rank(score),
            Sort::Name => 0,
            Sort::Cheapest => price.unwrap_or(u64::MAX),
            Sort::Dearest => price.map_or(u64::MAX, |price| PRICES_END - price),
        };
        let candidate = (rank, tie, doc);
        if !self.follows(rank, tie) {
            return;
        }
        if self.first.len() < self.count {
            self.first.push(candidate);
        } else if self.first.peek().is_some_and(|last| candidate < *last) {
            self.first.pop();
            self.first.push(candidate);
        }
    }

    fn harvest(self) -> tantivy::Result<Found> {
        let mut places = Vec::with_capacity(self.first.len());
        for (rank, ord, doc) in &self.first {
            let mut tie = String::new();
            if let Some(ties) = &self.ties {
                ties.ord_to_str(*ord, &mut tie)?;
            }
            places.push((Place { rank: *rank, tie }, DocAddress::new(self.segment, *doc)));
        }
        let facets = self.facets.as_ref().map_or_else(
            || Ok(HashMap::new()),
            |facets| named_counts(facets, &self.facet_counts),
        )?;
        Ok(Found { total: self.total, places, facets, figures: self.figures.finish()? })
    }
}

impl SegmentWindow {
    fn follows(&self, rank: u64, tie: u64) -> bool {
        let Some((last, bound)) = self.after else { return true };
        rank > last
            || rank == last
                && match bound {
                    Bound::Excluded(ord) => tie > ord,
                    Bound::Included(ord) => tie >= ord,
                    Bound::Unbounded => true,
                }
    }
}

fn named_counts(facets: &StrColumn, counts: &[u64]) -> tantivy::Result<HashMap<String, u64>> {
    let met = || (0_u64..).zip(counts).filter(|(_, count)| **count > 0);
    let ords: Vec<u64> = met().map(|(ord, _)| ord).collect();
    let mut counts = met().map(|(_, count)| *count);
    let mut named = HashMap::with_capacity(ords.len());
    facets.dictionary().sorted_ords_to_term_cb(&ords, |term| {
        let name = String::from_utf8_lossy(term).into_owned();
        named.insert(name, counts.next().unwrap_or_default());
    })?;
    Ok(named)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a score times its steps, clamped to half the range of the integer"
)]
fn rank(score: Score) -> u64 {
    u64::from(u32::MAX) - (score * SCORE_STEPS).round().clamp(0.0, 2e9) as u64
}
