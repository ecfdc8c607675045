//! Many records in one transaction, each key once.

use std::collections::{BTreeMap, BTreeSet};

use outbox::{Tx, append_many};
use records::{Outcome, Reference};

use super::{ATTEMPTS_MAX, append_levels, open_locations};
use crate::{
    domain::{Location, Quantity, StockKey},
    error::Error,
    payload::{LOCATIONS, LocationPayload},
    store::{self, Locked},
};

/// Creates or replaces many locations.
pub(crate) async fn import_locations(
    tx: &Tx<'_>,
    locations: &[Location],
) -> Result<Vec<Outcome>, Error> {
    let payloads: Vec<_> = locations.iter().map(LocationPayload::from).collect();
    let stored = store::import_locations(tx, &payloads).await?;
    let (mut outcomes, mut changes) = (Vec::new(), Vec::new());
    for (location, payload) in locations.iter().zip(&payloads) {
        let id = location.id.as_str();
        // Of what was equal nothing is appended: without its lock, it may be another by now.
        outcomes.push(match stored.contains(id) {
            true => {
                changes.push((id, payload));
                Outcome::Stored(Reference::Known)
            }
            false => Outcome::Unchanged(Reference::Known),
        });
    }
    if !changes.is_empty() {
        append_many(tx, LOCATIONS, &changes).await?;
    }
    Ok(outcomes)
}

/// Sets what is on hand at many places; those that were unknown are created, with their locations.
pub(crate) async fn import_stock(
    tx: &Tx<'_>,
    counts: &[(StockKey, Quantity)],
) -> Result<Vec<Outcome>, Error> {
    let equal = store::find_equal(tx, counts).await?;
    let others = counts.iter().map(|(key, _)| key).filter(|key| !equal.contains_key(key));
    let others: BTreeSet<&StockKey> = others.collect();
    let (locked, created) = hold_all(tx, &others).await?;
    let (mut outcomes, mut changed) = (Vec::with_capacity(counts.len()), BTreeMap::new());
    for (key, on_hand) in counts {
        if let Some(reference) = equal.get(key) {
            outcomes.push(Outcome::Unchanged(*reference));
            continue;
        }
        let Locked { level, reference } = *locked.get(key).expect("all others are locked");
        outcomes.push(match level.counted(*on_hand) {
            Err(source) => Outcome::Refused(Error::Refused { stock: key.clone(), source }.into()),
            Ok(same) if same == level && !created.contains(key) => Outcome::Unchanged(reference),
            Ok(level) => {
                changed.insert(key.clone(), level);
                Outcome::Stored(reference)
            }
        });
    }
    if !changed.is_empty() {
        store::save_stocks(tx, &changed).await?;
        append_levels(tx, &changed).await?;
    }
    Ok(outcomes)
}

/// Takes the locks of all this stock and makes what there is not yet, which it answers too.
/// Locations come first, since whoever deletes one looks at its stock.
async fn hold_all(
    tx: &Tx<'_>,
    keys: &BTreeSet<&StockKey>,
) -> Result<(BTreeMap<StockKey, Locked>, BTreeSet<StockKey>), Error> {
    let mut created = BTreeSet::new();
    let Some(first) = keys.first() else { return Ok((BTreeMap::new(), created)) };
    let locations: BTreeSet<_> = keys.iter().map(|key| &key.location).collect();
    let locations: Vec<_> = locations.into_iter().collect();
    for _ in 0..ATTEMPTS_MAX {
        if open_locations(tx, &locations).await? {
            created.extend(store::open_stock(tx, keys.iter().copied()).await?);
            let locked = store::lock_stocks(tx, keys.iter().copied()).await?;
            if locked.len() == keys.len() {
                return Ok((locked, created));
            }
        }
    }
    Err(Error::Contended { stock: StockKey::clone(first) })
}
