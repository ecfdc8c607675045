//! One use case = one function = one transaction: the record and its change together, and with a
//! promotion the prices of all its products.
//!
//! Locks are taken in one order everywhere: the promotion, the rows of the products sorted by SKU,
//! and then the published records sorted by key. A price write and the boundary worker take the
//! same ones from the second on, so none of the three ever waits for another in a circle.

use std::collections::BTreeSet;

use contracts::Id;
use deadpool_postgres::ClientWrapper;
use outbox::{Append, Tx, append_many};
use records::{Answer, Demands, Written, answered, finish};

use crate::{
    boundaries::Boundaries,
    domain::{Effective, Price, Promotion, Terms, Time},
    error::Error,
    payload::{PRICES, PROMOTIONS, PricePayload, PromotionPayload},
    store::{self, Locked, SavedPrice, SavedPromotion},
};

/// Creates or replaces a price.
pub(crate) async fn put_price(
    client: &ClientWrapper,
    boundaries: &Boundaries,
    (sku, price): (&Id, Price),
    demands: &Demands,
) -> Result<Answer, Error> {
    let tx = Tx::begin(client);
    if let Some(answer) = answered(&tx, demands).await? {
        return Ok(answer);
    }
    let SavedPrice { before, mut terms, now, waits_for } =
        store::save_price(&tx, sku, price).await?;
    let effective = crate::domain::effective(price.amount, &terms.offers, now);
    // Without offers there is nothing to keep, which saves a round trip.
    if !terms.offers.is_empty() {
        terms.forget(now);
        store::save_terms(&tx, &[(&terms, effective.until)]).await?;
    }
    let change = Append::upsert(PRICES, sku.as_str(), &PricePayload::new(sku, price, &effective))?;
    let written = Written { waits_for, ..Written::default() };
    let answer = finish(tx, change, &before, written, demands).await?;
    boundaries.announce(effective.until, now);
    Ok(answer)
}

/// Deletes a price; promotions go on naming its product.
pub(crate) async fn delete_price(
    client: &ClientWrapper,
    sku: &Id,
    demands: &Demands,
) -> Result<Answer, Error> {
    let tx = Tx::begin(client);
    if let Some(answer) = answered(&tx, demands).await? {
        return Ok(answer);
    }
    let before = store::delete_price(&tx, sku).await?;
    if !before.existed {
        return Err(unknown("price", sku));
    }
    let change = Append::delete(PRICES, sku.as_str());
    Ok(finish(tx, change, &before, Written::default(), demands).await?)
}

/// Creates or replaces a promotion, and with it the prices of the products that it names or named.
pub(crate) async fn put_promotion(
    client: &ClientWrapper,
    boundaries: &Boundaries,
    promotion: &Promotion,
    demands: &Demands,
) -> Result<Answer, Error> {
    let tx = Tx::begin(client);
    if let Some(answer) = answered(&tx, demands).await? {
        return Ok(answer);
    }
    let SavedPromotion { before, named_before } = store::save_promotion(&tx, promotion).await?;
    let named =
        promotion.skus.iter().map(Id::as_str).chain(named_before.iter().map(String::as_str));
    let (until, now) = offer(&tx, named.collect(), &promotion.id, Some(promotion)).await?;
    let payload = PromotionPayload::from(promotion);
    let change = Append::upsert(PROMOTIONS, promotion.id.as_str(), &payload)?;
    let answer = finish(tx, change, &before, Written::default(), demands).await?;
    boundaries.announce(until, now);
    Ok(answer)
}

/// Deletes a promotion, and with it its effect on prices.
pub(crate) async fn delete_promotion(
    client: &ClientWrapper,
    boundaries: &Boundaries,
    id: &Id,
    demands: &Demands,
) -> Result<Answer, Error> {
    let tx = Tx::begin(client);
    if let Some(answer) = answered(&tx, demands).await? {
        return Ok(answer);
    }
    let SavedPromotion { before, named_before } = store::delete_promotion(&tx, id).await?;
    if !before.existed {
        return Err(unknown("promotion", id));
    }
    let named = named_before.iter().map(String::as_str).collect();
    let (until, now) = offer(&tx, named, id, None).await?;
    let change = Append::delete(PROMOTIONS, id.as_str());
    let answer = finish(tx, change, &before, Written::default(), demands).await?;
    boundaries.announce(until, now);
    Ok(answer)
}

/// Makes this promotion, or its absence, what these products are offered; says when the first of
/// them changes by itself, and by which time that was decided.
async fn offer(
    tx: &Tx<'_>,
    skus: BTreeSet<&str>,
    id: &Id,
    promotion: Option<&Promotion>,
) -> Result<(Option<Time>, Time), Error> {
    let skus: Vec<_> = skus.into_iter().collect();
    let Locked { mut terms, now } = store::lock_prices(tx, &skus).await?;
    for terms in &mut terms {
        terms.withdraw(id);
        if let Some(promotion) = promotion.filter(|promotion| promotion.skus.contains(&terms.sku)) {
            terms.offers.push(promotion.offer());
        }
    }
    Ok((decide_all(tx, &mut terms, now).await?, now))
}

/// Decides what these products cost, keeps it and appends the prices that it changes; says when the
/// first of them changes by itself. Their rows are locked.
///
/// A price that has changed by itself is never equal to the published one, which says until when
/// it holds, so nothing has to be forced upon the outbox.
pub(crate) async fn decide_all(
    tx: &Tx<'_>,
    all: &mut [Terms],
    now: Time,
) -> Result<Option<Time>, Error> {
    all.sort_by(|one, other| one.sku.cmp(&other.sku));
    for terms in &mut *all {
        terms.forget(now);
    }
    let decided: Vec<(&Terms, Option<Effective>)> =
        all.iter().map(|terms| (terms, terms.effective(now))).collect();
    let until = |held: &Option<Effective>| held.as_ref()?.until;
    let kept: Vec<_> = decided.iter().map(|(terms, held)| (*terms, until(held))).collect();
    store::save_terms(tx, &kept).await?;
    let payloads: Vec<_> = decided
        .iter()
        .filter_map(|(terms, held)| {
            Some(PricePayload::new(&terms.sku, terms.price?, held.as_ref()?))
        })
        .collect();
    let changes: Vec<_> = payloads.iter().map(|payload| (payload.sku(), payload)).collect();
    append_many(tx, PRICES, &changes).await?;
    Ok(kept.iter().filter_map(|(_, until)| *until).min())
}

fn unknown(what: &'static str, key: &Id) -> Error {
    records::Error::Unknown { what, key: key.as_str().to_owned() }.into()
}
