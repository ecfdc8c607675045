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
use records::{Answer, Demands, Error, Outcome, Reference, Written, answered, finish};

use crate::{
    boundaries::Boundaries,
    domain::{Effective, Price, Promotion, Terms, Time},
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
    finish(tx, change, &before, Written::default(), demands).await
}

/// Stores prices of different products and appends those that are not equal already; says of each
/// what became of it. The worker finds by itself what of them changes by itself.
pub(crate) async fn put_prices(tx: &Tx<'_>, prices: &[(Id, Price)]) -> Result<Vec<Outcome>, Error> {
    let found = store::read_prices(tx, prices).await?;
    let compared = prices.iter().zip(&found);
    let changed: Vec<_> =
        compared.filter_map(|(new, (old, _))| (*old != Some(new.1)).then_some(new)).collect();
    if !changed.is_empty() {
        let Locked { mut terms, now } = store::save_prices(tx, &changed).await?;
        let offered: BTreeSet<_> = terms
            .iter()
            .filter(|terms| !terms.offers.is_empty())
            .map(|terms| terms.sku.clone())
            .collect();
        let decided = decide(&mut terms, now);
        keep(tx, decided.iter().filter(|one| offered.contains(&one.terms.sku))).await?;
        publish(tx, &decided).await?;
    }
    let outcomes = prices.iter().zip(found).map(|(new, (old, reference))| {
        if old == Some(new.1) { Outcome::Unchanged(reference) } else { Outcome::Stored(reference) }
    });
    Ok(outcomes.collect())
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
    let mut named = named_by(promotion);
    named.extend(named_before.iter().map(String::as_str));
    let (until, now) = offer(&tx, &named, &[&promotion.id], &[promotion]).await?;
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
    let (until, now) = offer(&tx, &named, &[id], &[]).await?;
    let change = Append::delete(PROMOTIONS, id.as_str());
    let answer = finish(tx, change, &before, Written::default(), demands).await?;
    boundaries.announce(until, now);
    Ok(answer)
}

/// Stores different promotions, and with them the prices of the products that they name or named;
/// says of each what became of it.
pub(crate) async fn put_promotions(
    tx: &Tx<'_>,
    promotions: &[Promotion],
) -> Result<Vec<Outcome>, Error> {
    let ids: Vec<_> = promotions.iter().map(|promotion| promotion.id.as_str()).collect();
    let published = store::read_published(tx, PROMOTIONS, &ids).await?;
    let payloads: Vec<_> = promotions.iter().map(PromotionPayload::from).collect();
    let mut outcomes = Vec::new();
    let mut changed: Vec<(&Promotion, &PromotionPayload<'_>)> = Vec::new();
    for (promotion, payload) in promotions.iter().zip(&payloads) {
        let change = Append::upsert(PROMOTIONS, promotion.id.as_str(), payload)?;
        let old = published.get(promotion.id.as_str()).map(Vec::as_slice);
        outcomes.push(if change.payload() == old {
            Outcome::Unchanged(Reference::Known)
        } else {
            changed.push((promotion, payload));
            Outcome::Stored(Reference::Known)
        });
    }
    changed.sort_by_key(|(promotion, _)| &promotion.id);
    let mut named_before = Vec::new();
    for (promotion, _) in &changed {
        named_before.extend(store::save_promotion(tx, promotion).await?.named_before);
    }
    let changed_promotions: Vec<_> = changed.iter().map(|(promotion, _)| *promotion).collect();
    let mut named: BTreeSet<_> = named_before.iter().map(String::as_str).collect();
    named.extend(changed_promotions.iter().flat_map(|promotion| named_by(promotion)));
    let ids: Vec<_> = changed_promotions.iter().map(|promotion| &promotion.id).collect();
    offer(tx, &named, &ids, &changed_promotions).await?;
    let changes: Vec<_> =
        changed.iter().map(|(promotion, payload)| (promotion.id.as_str(), *payload)).collect();
    append_many(tx, PROMOTIONS, &changes).await?;
    Ok(outcomes)
}

fn named_by(promotion: &Promotion) -> BTreeSet<&str> {
    promotion.skus.iter().map(Id::as_str).collect()
}

/// Takes back what the promotions of these ids offered, makes what these offer instead, and decides
/// what these products cost; says when the first of them changes by itself, and by which time that
/// was decided.
async fn offer(
    tx: &Tx<'_>,
    skus: &BTreeSet<&str>,
    withdrawn: &[&Id],
    promotions: &[&Promotion],
) -> Result<(Option<Time>, Time), Error> {
    let skus: Vec<_> = skus.iter().copied().collect();
    let Locked { mut terms, now } = store::lock_prices(tx, &skus).await?;
    for terms in &mut terms {
        terms.withdraw(withdrawn);
        let mine = promotions.iter().filter(|promotion| promotion.skus.contains(&terms.sku));
        let offers: Vec<_> = mine.map(|promotion| promotion.offer()).collect();
        let added = terms.add(offers, now);
        added.map_err(|source| Error::Refused { pointer: "/skus".to_owned(), source })?;
    }
    let decided = decide(&mut terms, now);
    keep(tx, &decided).await?;
    publish(tx, &decided).await?;
    Ok((decided.iter().filter_map(Decided::until).min(), now))
}

/// Decides and publishes prices that have changed by themselves; their rows are locked.
///
/// None is equal to the published one, which says until when it holds, so nothing has to be forced
/// upon the outbox.
pub(crate) async fn turn(tx: &Tx<'_>, due: Locked) -> Result<(), Error> {
    let Locked { mut terms, now } = due;
    let decided = decide(&mut terms, now);
    keep(tx, &decided).await?;
    publish(tx, &decided).await
}

/// What a product costs, and why.
struct Decided<'a> {
    terms: &'a Terms,
    effective: Option<Effective>,
}

impl Decided<'_> {
    fn until(&self) -> Option<Time> {
        self.effective.as_ref()?.until
    }
}

/// Decides what these products cost, and forgets what no longer matters to that.
fn decide(all: &mut [Terms], now: Time) -> Vec<Decided<'_>> {
    all.sort_by(|one, other| one.sku.cmp(&other.sku));
    for terms in &mut *all {
        terms.forget(now);
    }
    all.iter().map(|terms| Decided { terms, effective: terms.effective(now) }).collect()
}

/// Keeps what was decided by, and until when it holds.
async fn keep<'a>(
    tx: &Tx<'_>,
    decided: impl IntoIterator<Item = &'a Decided<'a>>,
) -> Result<(), Error> {
    let kept: Vec<_> = decided.into_iter().map(|one| (one.terms, one.until())).collect();
    store::save_terms(tx, &kept).await
}

/// Appends the prices that are not equal to what is published.
async fn publish(tx: &Tx<'_>, decided: &[Decided<'_>]) -> Result<(), Error> {
    let payloads = decided.iter().filter_map(|Decided { terms, effective }| {
        Some(PricePayload::new(&terms.sku, terms.price?, effective.as_ref()?))
    });
    let payloads: Vec<_> = payloads.collect();
    let changes: Vec<_> = payloads.iter().map(|payload| (payload.sku(), payload)).collect();
    for changes in changes.chunks(store::ROWS_MAX) {
        append_many(tx, PRICES, changes).await?;
    }
    Ok(())
}

fn unknown(what: &'static str, key: &Id) -> Error {
    Error::Unknown { what, key: key.as_str().to_owned() }
}
