//! Figures on all matches of a question: the range of their prices, and how many are in stock.

use std::collections::BTreeMap;

use tantivy::DocId;
use tantivy::columnar::{Column, StrColumn};
use tantivy::fastfield::FastFieldReaders;

use super::schema::Fields;
use crate::domain::Amount;
use crate::index::PriceRange;

/// Figures on the matches of some segments.
#[derive(Debug, Default)]
pub(super) struct Figures {
    ranges: BTreeMap<String, Range>,
    in_stock: u64,
}

/// Lowest and highest price in one currency, each with the decimals it is shown with.
#[derive(Debug, Clone, Copy)]
struct Range {
    min: (u64, u64),
    max: (u64, u64),
    count: u64,
}

impl Range {
    fn add(&mut self, other: Self) {
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.count += other.count;
    }
}

impl Figures {
    /// Takes in what was found elsewhere.
    pub(super) fn add(&mut self, other: Self) {
        self.in_stock += other.in_stock;
        for (currency, range) in other.ranges {
            self.ranges.entry(currency).and_modify(|all| all.add(range)).or_insert(range);
        }
    }

    /// The ranges in order of their currencies, and how many matches are in stock.
    pub(super) fn answer(self) -> (Vec<PriceRange>, u64) {
        let amount = |(parts, decimals)| Amount::of_parts(parts, decimals);
        let range = |(currency, range): (String, Range)| PriceRange {
            currency,
            min: amount(range.min),
            max: amount(range.max),
            count: range.count,
        };
        (self.ranges.into_iter().map(range).collect(), self.in_stock)
    }
}

/// The same for one segment, where an ordinal stands for a currency. A column is missing where no
/// document of the segment has a value.
pub(super) struct SegmentFigures {
    price: Option<Column<u64>>,
    decimals: Option<Column<u64>>,
    currency: Option<StrColumn>,
    in_stock: Option<Column<bool>>,
    /// By the currency's ordinal.
    ranges: Vec<Option<Range>>,
    are_in_stock: u64,
}

impl SegmentFigures {
    pub(super) fn new(fast: &FastFieldReaders) -> tantivy::Result<Self> {
        let currency = fast.str(Fields::CURRENCY)?;
        Ok(Self {
            price: fast.column_opt(Fields::PRICE)?,
            decimals: fast.column_opt(Fields::DECIMALS)?,
            in_stock: fast.column_opt(Fields::IN_STOCK)?,
            ranges: vec![None; currency.as_ref().map_or(0, |column| column.num_terms())],
            currency,
            are_in_stock: 0,
        })
    }

    /// Counts a match, and answers its price.
    pub(super) fn count(&mut self, doc: DocId) -> Option<u64> {
        let is_in_stock = self.in_stock.as_ref().and_then(|column| column.first(doc));
        self.are_in_stock += u64::from(is_in_stock == Some(true));
        let price = self.price.as_ref()?.first(doc)?;
        let decimals = self.decimals.as_ref().and_then(|column| column.first(doc));
        let shown = (price, decimals.unwrap_or_default());
        let range = Range { min: shown, max: shown, count: 1 };
        let ord = self.currency.as_ref().and_then(|column| column.ords().first(doc));
        let slot = ord.and_then(|ord| self.ranges.get_mut(usize::try_from(ord).ok()?));
        match slot {
            Some(Some(all)) => all.add(range),
            Some(none) => *none = Some(range),
            None => {}
        }
        Some(price)
    }

    pub(super) fn finish(self) -> tantivy::Result<Figures> {
        let mut ranges = BTreeMap::new();
        if let Some(currency) = &self.currency {
            for (ord, range) in (0..).zip(&self.ranges) {
                let Some(range) = range else { continue };
                let mut code = String::new();
                currency.ord_to_str(ord, &mut code)?;
                ranges.insert(code, *range);
            }
        }
        Ok(Figures { ranges, in_stock: self.are_in_stock })
    }
}
