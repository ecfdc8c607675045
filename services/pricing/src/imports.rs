//! Files of prices and of promotions: one record in each line.

use contracts::{Id, Invalid};
use deadpool_postgres::ClientWrapper;
use outbox::Tx;
use records::{Cell, Collection, Column, Error, Outcome};
use serde_json::{Value, json};
use service_kit::Problem;

use crate::{
    bodies::{PriceBody, PromotionBody},
    commands,
    domain::{Price, Promotion},
    payload::{PRICES, PROMOTIONS},
    store,
};

/// Lines of prices.
pub(crate) struct Prices;

/// Lines of promotions.
pub(crate) struct Promotions;

impl Collection for Prices {
    const TOPIC: &'static str = PRICES;
    const COLUMNS: &'static [Column] = &[
        Column::required("sku", Cell::Text),
        Column::required("currency", Cell::Text),
        Column::required("amount", Cell::Text),
    ];
    type Body = PriceBody;
    type Record = (Id, Price);

    fn record(body: PriceBody) -> Result<(Id, Price), Problem> {
        let sku = body.own_sku()?;
        let price = body.price(&sku)?;
        Ok((sku, price))
    }

    fn key((sku, _): &(Id, Price)) -> String {
        sku.as_str().to_owned()
    }

    async fn store(&self, tx: &Tx<'_>, records: &[(Id, Price)]) -> Result<Vec<Outcome>, Error> {
        commands::put_prices(tx, records).await
    }
}

impl Collection for Promotions {
    const TOPIC: &'static str = PROMOTIONS;
    const COLUMNS: &'static [Column] = &[
        Column::required("id", Cell::Text),
        Column::required("skus", Cell::List),
        Column::required("percent_off", Cell::Text),
        Column::required("periods", Cell::Value(periods)),
    ];
    type Body = PromotionBody;
    type Record = Promotion;

    fn record(body: PromotionBody) -> Result<Promotion, Problem> {
        let id = body.own_id()?;
        body.into_promotion(id)
    }

    fn key(promotion: &Promotion) -> String {
        promotion.id.as_str().to_owned()
    }

    /// Itself and the prices that change with it: of the products that it names, and of those that
    /// it named.
    async fn weight(&self, client: &ClientWrapper, promotion: &Promotion) -> Result<usize, Error> {
        Ok(1 + promotion.skus.len() + store::weigh_promotion(client, &promotion.id).await?)
    }

    async fn store(&self, tx: &Tx<'_>, records: &[Promotion]) -> Result<Vec<Outcome>, Error> {
        commands::put_promotions(tx, records).await
    }
}

/// Periods in one cell: `start/end`, joined by `|`.
fn periods(cell: &str) -> Result<Value, Invalid> {
    let periods = cell.split('|').map(|period| {
        let (starts_at, ends_at) = period.split_once('/').ok_or_else(|| {
            let reason = "must be periods as start/end, joined by |, such as \
                2026-12-01T00:00:00Z/2026-12-08T00:00:00Z";
            Invalid::new("malformed", reason)
        })?;
        Ok(json!({"starts_at": starts_at.trim(), "ends_at": ends_at.trim()}))
    });
    periods.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_holds_all_periods() {
        let two = json!([{"starts_at": "a", "ends_at": "b"}, {"starts_at": "c", "ends_at": "d"}]);
        assert_eq!(periods("a/b|c / d").unwrap(), two);
        for cell in ["a", "a/b|c", "a/b|"] {
            assert_eq!(periods(cell).unwrap_err().code, "malformed", "{cell:?}");
        }
    }
}
