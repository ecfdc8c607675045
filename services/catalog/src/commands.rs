//! One use case = one function = one transaction: the record and its change together.

use contracts::{Digest, Version};
use deadpool_postgres::{ClientWrapper, Pool};
use outbox::{Append, Tx};
use service_kit::{Etag, Precondition};

use crate::{
    domain::{Category, Id, Product},
    error::Error,
    payload::{CATEGORIES, CategoryPayload, PRODUCTS, ProductPayload},
    store::{self, Answer, Before},
};

/// What a caller demands of a write, beside the write itself.
#[derive(Debug)]
pub(crate) struct Demands {
    /// The state that the record must be in.
    pub(crate) condition: Precondition,
    /// Makes a repeat of the request harmless.
    pub(crate) once: Option<Once>,
}

/// A request that is carried out once, however often it is sent.
#[derive(Debug)]
pub(crate) struct Once {
    /// The key that its repeats share.
    pub(crate) key: String,
    /// Digest of method, topic, record and body.
    pub(crate) request: Digest,
}

/// Creates or replaces a product.
pub(crate) async fn put_product(
    client: &ClientWrapper,
    product: &Product,
    demands: &Demands,
) -> Result<Answer, Error> {
    let tx = Tx::begin(client);
    if let Some(answer) = answered(&tx, demands).await? {
        return Ok(answer);
    }
    let before = store::save_product(&tx, product).await?;
    let payload = ProductPayload::from(product);
    let change = Append::upsert(PRODUCTS, product.sku.as_str(), &payload)?;
    finish(tx, change, &product.sku, &before, demands).await
}

/// Creates or replaces a category.
pub(crate) async fn put_category(
    client: &ClientWrapper,
    category: &Category,
    demands: &Demands,
) -> Result<Answer, Error> {
    let tx = Tx::begin(client);
    if let Some(answer) = answered(&tx, demands).await? {
        return Ok(answer);
    }
    let before = store::save_category(&tx, category).await?;
    let payload = CategoryPayload::from(category);
    let change = Append::upsert(CATEGORIES, category.id.as_str(), &payload)?;
    finish(tx, change, &category.id, &before, demands).await
}

/// Deletes a product.
pub(crate) async fn delete_product(
    client: &ClientWrapper,
    sku: &Id,
    demands: &Demands,
) -> Result<Answer, Error> {
    let tx = Tx::begin(client);
    if let Some(answer) = answered(&tx, demands).await? {
        return Ok(answer);
    }
    let before = store::delete_product(&tx, sku).await?;
    if !before.existed {
        return Err(Error::Unknown { what: "product", key: sku.as_str().to_owned() });
    }
    finish(tx, Append::delete(PRODUCTS, sku.as_str()), sku, &before, demands).await
}

/// Deletes a category; products that name it go on naming it.
pub(crate) async fn delete_category(
    client: &ClientWrapper,
    id: &Id,
    demands: &Demands,
) -> Result<Answer, Error> {
    let tx = Tx::begin(client);
    if let Some(answer) = answered(&tx, demands).await? {
        return Ok(answer);
    }
    let before = store::delete_category(&tx, id).await?;
    if !before.existed {
        return Err(Error::Unknown { what: "category", key: id.as_str().to_owned() });
    }
    finish(tx, Append::delete(CATEGORIES, id.as_str()), id, &before, demands).await
}

/// Forgets answers of more than a day ago; says how many.
pub(crate) async fn prune(pool: &Pool) -> Result<u64, Error> {
    let client = pool.get().await?;
    let mut pruned = 0;
    loop {
        let some = store::prune_answers(&client).await?;
        pruned += some;
        if some == 0 {
            return Ok(pruned);
        }
    }
}

/// The answer to an earlier sending of the same request, where there was one.
async fn answered(tx: &Tx<'_>, demands: &Demands) -> Result<Option<Answer>, Error> {
    let Some(once) = &demands.once else { return Ok(None) };
    if !store::lock_key(tx, &once.key).await? {
        return Err(Error::StillRunning);
    }
    match store::read_answer(tx, &once.key).await? {
        None => Ok(None),
        Some((request, answer)) if request == once.request.as_bytes() => Ok(Some(answer)),
        Some(_) => Err(Error::KeyReused),
    }
}

/// Appends the change, keeps the answer where it may be asked for again, and commits.
async fn finish(
    tx: Tx<'_>,
    change: Append<'_>,
    key: &Id,
    before: &Before,
    demands: &Demands,
) -> Result<Answer, Error> {
    let change = match expected(&demands.condition, before) {
        Ok(None) => change,
        Ok(Some(version)) => change.expecting(version),
        Err(Failed) => return Err(Error::Condition { key: key.as_str().to_owned() }),
    };
    let answer = |version: Version| match change.payload() {
        Some(payload) => Answer {
            status: if before.existed { 200 } else { 201 },
            etag: Some(Etag::of(version.get(), payload).to_string()),
            body: Some(payload.to_vec()),
        },
        None => Answer { status: 204, etag: None, body: None },
    };
    let Some(once) = &demands.once else {
        return Ok(answer(tx.append_and_commit(&change).await?));
    };
    let answer = answer(tx.append(&change).await?);
    store::keep_answer(&tx, &once.key, &once.request, &answer).await?;
    tx.commit().await?;
    Ok(answer)
}

/// A condition that does not hold.
#[derive(Debug, PartialEq, Eq)]
struct Failed;

/// The version that the append must still find, where the condition names a state: between the
/// save, which looked, and the append, which locks, another write may have been waited for.
fn expected(condition: &Precondition, before: &Before) -> Result<Option<Version>, Failed> {
    let holds = match condition {
        // Decided on the locked row, so nothing is left to be repeated.
        Precondition::None => return Ok(None),
        Precondition::Exists if before.existed => return Ok(None),
        Precondition::Exists => false,
        Precondition::Absent => !before.existed,
        Precondition::OneOf(_) | Precondition::NoneOf(_) => {
            condition.holds(before.published.as_ref())
        }
    };
    let seen = before.published.as_ref().map_or(0, Etag::version);
    match Version::try_from(seen) {
        Ok(version) if holds => Ok(Some(version)),
        _ => Err(Failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before(version: Option<i64>) -> Before {
        let published = version.map(|version| Etag::of(version, b"x"));
        Before { existed: version.is_some(), published }
    }

    #[test]
    fn a_named_state_must_still_hold_at_the_append() {
        let (old, now) = (before(None), before(Some(7)));
        let tagged = Precondition::OneOf(vec![Etag::of(7, b"x")]);
        assert_eq!(expected(&tagged, &now), Ok(Some(Version::try_from(7).unwrap())));
        assert_eq!(expected(&tagged, &before(Some(8))), Err(Failed));
        assert_eq!(expected(&tagged, &old), Err(Failed));
        let restored = Precondition::OneOf(vec![Etag::of(7, b"other")]);
        assert_eq!(expected(&restored, &now), Err(Failed));
    }

    #[test]
    fn whether_there_is_a_record_is_decided_on_the_lock() {
        assert_eq!(expected(&Precondition::None, &before(None)), Ok(None));
        assert_eq!(expected(&Precondition::Exists, &before(Some(7))), Ok(None));
        assert_eq!(expected(&Precondition::Exists, &before(None)), Err(Failed));
        assert_eq!(expected(&Precondition::Absent, &before(None)), Ok(Some(Version::ZERO)));
        assert_eq!(expected(&Precondition::Absent, &before(Some(7))), Err(Failed));
    }
}
