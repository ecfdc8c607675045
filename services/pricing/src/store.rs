//! Rows to domain and back; the only file that runs SQL.

use std::{collections::BTreeMap, time::Duration};

use contracts::{Id, Invalid};
use deadpool_postgres::ClientWrapper;
use inbox::Transaction;
use outbox::Tx;
use records::{Before, Error, Published, Reference};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use service_kit::BoxError;
use tokio_postgres::{
    Row,
    types::{FromSql, Json, Type},
};

use crate::{
    domain::{Amount, Currency, Offer, Percent, Period, Price, Promotion, Terms, Time},
    payload::{PRICES, PROMOTIONS},
};

const SAVE_PRICE: &str = include_str!("../queries/save_price.sql");
const DELETE_PRICE: &str = include_str!("../queries/delete_price.sql");
const SAVE_PRICES: &str = include_str!("../queries/save_prices.sql");
const READ_PRICES: &str = include_str!("../queries/read_prices.sql");
const READ_PUBLISHED: &str = include_str!("../queries/read_published.sql");
const READ_PRICE: &str = include_str!("../queries/read_price.sql");
const LOCK_PRICES: &str = include_str!("../queries/lock_prices.sql");
const SAVE_TERMS: &str = include_str!("../queries/save_terms.sql");
const LOCK_PROMOTION: &str = include_str!("../queries/lock_promotion.sql");
const WEIGH_PROMOTION: &str = include_str!("../queries/weigh_promotion.sql");
const SAVE_PROMOTION: &str = include_str!("../queries/save_promotion.sql");
const DELETE_PROMOTION: &str = include_str!("../queries/delete_promotion.sql");
const TAKE_DUE: &str = include_str!("../queries/take_due.sql");
const NEXT_DUE: &str = include_str!("../queries/next_due.sql");
const WRITE_PRODUCTS: &str = include_str!("../queries/write_products.sql");

/// The most rows of one statement, so that none is long; many promotions of one file may name many
/// products.
pub(crate) const ROWS_MAX: usize = 1_000;

/// Rows that this transaction holds, in no order, and the time by which they are decided.
#[derive(Debug)]
pub(crate) struct Locked {
    pub(crate) terms: Vec<Terms>,
    pub(crate) now: Time,
}

/// A price that was stored.
#[derive(Debug)]
pub(crate) struct SavedPrice {
    pub(crate) before: Before,
    pub(crate) terms: Terms,
    pub(crate) now: Time,
    pub(crate) waits_for: Option<String>,
}

/// A promotion that was stored or deleted.
#[derive(Debug)]
pub(crate) struct SavedPromotion {
    pub(crate) before: Before,
    /// The products that it named until now.
    pub(crate) named_before: Vec<String>,
}

pub(crate) async fn save_price(tx: &Tx<'_>, sku: &Id, price: Price) -> Result<SavedPrice, Error> {
    let (code, amount) = (price.currency.code(), price.amount.value());
    let row = tx.query_one(SAVE_PRICE, &[&sku.as_str(), &code, &amount, &PRICES]).await?;
    Ok(SavedPrice {
        before: Before::of(&row)?,
        terms: terms(&row)?,
        now: row.try_get("decided_at")?,
        waits_for: waits_for(&row, sku)?,
    })
}

pub(crate) async fn delete_price(tx: &Tx<'_>, sku: &Id) -> Result<Before, Error> {
    Before::of(&tx.query_one(DELETE_PRICE, &[&sku.as_str(), &PRICES]).await?)
}

/// The price as it was published.
pub(crate) async fn read_price(
    client: &ClientWrapper,
    sku: &Id,
) -> Result<Option<Published>, Error> {
    let statement = client.prepare_cached(READ_PRICE).await?;
    let Some(row) = client.query_opt(&statement, &[&PRICES, &sku.as_str()]).await? else {
        return Ok(None);
    };
    Ok(Some(Published::of(&row)?.waiting(waits_for(&row, sku)?)))
}

/// What a price waits for whose product has not arrived here.
fn waits_for(row: &Row, sku: &Id) -> Result<Option<String>, Error> {
    let is_known: bool = row.try_get("is_known")?;
    Ok((!is_known).then(|| format!("catalog.products/{sku}")))
}

/// What these products cost so far, and whether they are known here, in their order; not locked.
pub(crate) async fn read_prices(
    tx: &Tx<'_>,
    prices: &[(Id, Price)],
) -> Result<Vec<(Option<Price>, Reference)>, Error> {
    let skus: Vec<_> = prices.iter().map(|(sku, _)| sku.as_str()).collect();
    let rows = tx.query(READ_PRICES, &[&skus]).await?;
    let found = rows.iter().map(|row| {
        let is_known: bool = row.try_get("is_known")?;
        Ok((price(row)?, if is_known { Reference::Known } else { Reference::Awaited }))
    });
    found.collect()
}

/// Stores these prices; locks their rows in order.
pub(crate) async fn save_prices(tx: &Tx<'_>, prices: &[&(Id, Price)]) -> Result<Locked, Error> {
    let skus: Vec<_> = prices.iter().map(|(sku, _)| sku.as_str()).collect();
    let codes: Vec<_> = prices.iter().map(|(_, price)| price.currency.code()).collect();
    let amounts: Vec<_> = prices.iter().map(|(_, price)| price.amount.value()).collect();
    locked(&tx.query(SAVE_PRICES, &[&skus, &codes, &amounts]).await?)
}

/// What is published of a topic under these keys.
pub(crate) async fn read_published(
    tx: &Tx<'_>,
    topic: &str,
    keys: &[&str],
) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let rows = tx.query(READ_PUBLISHED, &[&topic, &keys]).await?;
    rows.iter().map(|row| Ok((row.try_get("key")?, row.try_get("payload")?))).collect()
}

/// Locks the rows of these products, in order, whether or not they have a price.
pub(crate) async fn lock_prices(tx: &Tx<'_>, skus: &[&str]) -> Result<Locked, Error> {
    let mut all = Locked { terms: Vec::new(), now: Time::UNIX_EPOCH };
    for skus in skus.chunks(ROWS_MAX) {
        let some = locked(&tx.query(LOCK_PRICES, &[&skus]).await?)?;
        all.terms.extend(some.terms);
        all.now = all.now.max(some.now);
    }
    Ok(all)
}

/// Keeps what promotions offer, and until when the price holds, of rows that were locked.
pub(crate) async fn save_terms(
    tx: &Tx<'_>,
    changed: &[(&Terms, Option<Time>)],
) -> Result<(), Error> {
    for changed in changed.chunks(ROWS_MAX) {
        let skus: Vec<_> = changed.iter().map(|(terms, _)| terms.sku.as_str()).collect();
        let offers = changed.iter().map(|(terms, _)| terms.offers.iter().map(OfferRow::from));
        let offers: Vec<_> = offers.map(|offers| Json(offers.collect::<Vec<_>>())).collect();
        let until: Vec<_> = changed.iter().map(|(_, until)| *until).collect();
        tx.execute(SAVE_TERMS, &[&skus, &offers, &until]).await?;
    }
    Ok(())
}

pub(crate) async fn save_promotion(
    tx: &Tx<'_>,
    promotion: &Promotion,
) -> Result<SavedPromotion, Error> {
    let skus: Vec<_> = promotion.skus.iter().map(Id::as_str).collect();
    let periods = Json(promotion.periods.iter().map(PeriodRow::from).collect::<Vec<_>>());
    let percent_off = promotion.percent_off.value();
    let id = promotion.id.as_str();
    let saved = saved_promotion(&tx.query_one(LOCK_PROMOTION, &[&id, &PROMOTIONS]).await?)?;
    tx.execute(SAVE_PROMOTION, &[&id, &skus, &percent_off, &periods]).await?;
    Ok(saved)
}

/// How many products a promotion names so far.
pub(crate) async fn weigh_promotion(client: &ClientWrapper, id: &Id) -> Result<usize, Error> {
    let statement = client.prepare_cached(WEIGH_PROMOTION).await?;
    let row = client.query_opt(&statement, &[&id.as_str()]).await?;
    let named = row.map_or(Ok(0), |row| row.try_get::<_, i64>("named"))?;
    Ok(usize::try_from(named).unwrap_or(usize::MAX))
}

pub(crate) async fn delete_promotion(tx: &Tx<'_>, id: &Id) -> Result<SavedPromotion, Error> {
    saved_promotion(&tx.query_one(DELETE_PROMOTION, &[&id.as_str(), &PROMOTIONS]).await?)
}

fn saved_promotion(row: &Row) -> Result<SavedPromotion, Error> {
    Ok(SavedPromotion { before: Before::of(row)?, named_before: row.try_get("named_before")? })
}

/// Locks at most so many of the prices that have changed by themselves.
pub(crate) async fn take_due(tx: &Tx<'_>, limit: i64) -> Result<Locked, Error> {
    locked(&tx.query(TAKE_DUE, &[&limit]).await?)
}

/// How long until the next price changes by itself; nothing if it is due.
pub(crate) async fn next_due(client: &ClientWrapper) -> Result<Option<Duration>, Error> {
    let statement = client.prepare_cached(NEXT_DUE).await?;
    let wait_us: Option<i64> = client.query_one(&statement, &[]).await?.try_get("wait_us")?;
    Ok(wait_us.map(|wait_us| Duration::from_micros(u64::try_from(wait_us).unwrap_or(0))))
}

/// Notes which of these products there are.
pub(crate) async fn write_products(
    tx: &Transaction<'_>,
    changes: &[(&str, bool)],
) -> Result<(), tokio_postgres::Error> {
    let (skus, there): (Vec<&str>, Vec<bool>) = changes.iter().copied().unzip();
    let statement = tx.prepare_cached(WRITE_PRODUCTS).await?;
    tx.execute(&statement, &[&skus, &there]).await?;
    Ok(())
}

fn locked(rows: &[Row]) -> Result<Locked, Error> {
    let mut now = Time::UNIX_EPOCH;
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        now = now.max(row.try_get("decided_at")?);
        all.push(terms(row)?);
    }
    Ok(Locked { terms: all, now })
}

fn terms(row: &Row) -> Result<Terms, Error> {
    let Stored(sku) = row.try_get("sku")?;
    let Json(offers): Json<Vec<StoredOffer>> = row.try_get("offers")?;
    let offers = offers.into_iter().map(|StoredOffer(offer)| offer).collect();
    Ok(Terms { sku, price: price(row)?, offers })
}

fn price(row: &Row) -> Result<Option<Price>, Error> {
    let currency: Option<Stored<Currency>> = row.try_get("currency")?;
    let amount: Option<Decimal> = row.try_get("amount")?;
    Ok(currency.zip(amount).map(|(Stored(currency), amount)| Price {
        currency,
        amount: Amount::stored(amount, currency),
    }))
}

/// A value as the database holds it: read by its rules again.
#[derive(Debug)]
struct Stored<T>(T);

impl<'a> FromSql<'a> for Stored<Id> {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, BoxError> {
        Ok(Self(Id::parse(<&str>::from_sql(kind, raw)?)?))
    }

    fn accepts(kind: &Type) -> bool {
        <&str as FromSql<'a>>::accepts(kind)
    }
}

impl<'a> FromSql<'a> for Stored<Currency> {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, BoxError> {
        Ok(Self(Currency::parse(<&str>::from_sql(kind, raw)?)?))
    }

    fn accepts(kind: &Type) -> bool {
        <&str as FromSql<'a>>::accepts(kind)
    }
}

/// An offer as it lies in the row of its product.
#[derive(Debug, Deserialize)]
#[serde(try_from = "OfferRow")]
struct StoredOffer(Offer);

/// The same before it is read by its rules.
#[derive(Debug, Serialize, Deserialize)]
struct OfferRow {
    promotion: String,
    percent_off: String,
    periods: Vec<PeriodRow>,
}

/// A period as it lies in a row.
#[derive(Debug, Serialize, Deserialize)]
struct PeriodRow {
    starts_at: Time,
    ends_at: Time,
}

impl From<&Offer> for OfferRow {
    fn from(offer: &Offer) -> Self {
        Self {
            promotion: offer.promotion.as_str().to_owned(),
            percent_off: offer.percent_off.to_string(),
            periods: offer.periods.iter().map(PeriodRow::from).collect(),
        }
    }
}

impl From<&Period> for PeriodRow {
    fn from(period: &Period) -> Self {
        Self { starts_at: period.starts_at(), ends_at: period.ends_at() }
    }
}

impl TryFrom<OfferRow> for StoredOffer {
    type Error = Invalid;

    fn try_from(row: OfferRow) -> Result<Self, Invalid> {
        let periods = row.periods.iter().map(|row| Period::new(row.starts_at, row.ends_at));
        Ok(Self(Offer {
            promotion: Id::parse(&row.promotion)?,
            percent_off: Percent::parse(&row.percent_off)?,
            periods: periods.collect::<Result<_, _>>()?,
        }))
    }
}
