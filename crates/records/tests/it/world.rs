//! An owner of parcels, each of which waits for its street.

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderMap, Request, StatusCode},
    response::Response,
    routing::{get, post},
};
use clap::Parser as _;
use deadpool_postgres::Pool;
use outbox::{Append, Tx, append_many};
use records::{
    Answer, Before, Cell, Collection, Column, Demands, Error, Outcome, Reference, Upload, Written,
    answered, conclude, finish, import, uploads, written,
};
use service_kit::{Config, Json, Precondition, Problem, Service, migrate};
use testkit::Database;
use tower::ServiceExt as _;
use utoipa_axum::router::OpenApiRouter;

const TOPIC: &str = "post.parcels";
const TABLE: &str = "create table records.parcel (id text primary key, street text not null);
    grant all on records.parcel to syncline_service";
const SAVE: &str = "with saved as (
      insert into records.parcel (id, street) values ($1, $2)
      on conflict (id) do update set street = excluded.street
      returning xmax::text <> '0' as existed)
    select existed, version, null::text as digest from saved left join outbox.current on key = $1";
const SAVE_MANY: &str = "insert into records.parcel (id, street)
    select * from unnest($1::text[], $2::text[]) order by 1";

/// Streets that are known.
const KNOWN: &str = "High Street";

#[derive(clap::Parser)]
struct Settings {
    #[command(flatten)]
    service: Config,
}

#[derive(Debug, serde::Serialize, serde::Deserialize, validator::Validate)]
#[serde(deny_unknown_fields)]
struct Parcel {
    id: String,
    street: String,
}

fn waits_for(parcel: &Parcel) -> Option<String> {
    (parcel.street != KNOWN).then(|| format!("city.streets/{}", parcel.street))
}

async fn put(
    State(pool): State<Pool>,
    request: records::Request,
    body: Json<Parcel>,
) -> Result<Response, Problem> {
    let parcel = body.value;
    let demands = request.demands(Precondition::None, (TOPIC, &parcel.id), Some(&body.digest));
    Ok(written(save(&pool, &parcel, &demands).await?, &request))
}

async fn save(pool: &Pool, parcel: &Parcel, demands: &Demands) -> Result<Answer, Error> {
    let client = pool.get().await?;
    let tx = Tx::begin(&client);
    if let Some(answer) = answered(&tx, demands).await? {
        return Ok(answer);
    }
    let before = Before::of(&tx.query_one(SAVE, &[&parcel.id, &parcel.street]).await?)?;
    let change = Append::upsert(TOPIC, &parcel.id, parcel)?;
    let said = Written { waits_for: waits_for(parcel), ..Written::default() };
    finish(tx, change, &before, said, demands).await
}

/// A command whose answer is another thing than the record that it changes.
async fn send(
    State(pool): State<Pool>,
    Path(id): Path<String>,
    request: records::Request,
) -> Result<Response, Problem> {
    let demands = request.demands(Precondition::None, (TOPIC, &id), None);
    let carried_out = async {
        let client = pool.get().await?;
        let tx = Tx::begin(&client);
        if let Some(answer) = answered(&tx, &demands).await? {
            return Ok(answer);
        }
        let version = tx.append(&Append::upsert(TOPIC, &id, &"sent")?).await?;
        let receipt = format!("{{\"receipt\":{}}}", version.get()).into_bytes();
        let location = Some(format!("/receipts/{id}-{}", version.get()));
        let answer = Answer { status: 201, location, body: Some(receipt), ..Answer::default() };
        conclude(tx, answer, &demands).await
    };
    let answer: Result<Answer, Error> = carried_out.await;
    Ok(written(answer?, &request))
}

struct Parcels;

impl Collection for Parcels {
    const TOPIC: &'static str = TOPIC;
    const COLUMNS: &'static [Column] =
        &[Column::required("id", Cell::Text), Column::required("street", Cell::Text)];
    type Body = Parcel;
    type Record = Parcel;

    fn record(body: Parcel) -> Result<Parcel, Problem> {
        Ok(body)
    }

    fn key(record: &Parcel) -> String {
        record.id.clone()
    }

    /// Refuses parcels without a street; of those that are there already it complains to the
    /// database.
    async fn store(&self, tx: &Tx<'_>, records: &[Parcel]) -> Result<Vec<Outcome>, Error> {
        let good: Vec<&Parcel> = records.iter().filter(|one| !one.street.is_empty()).collect();
        let ids: Vec<&str> = good.iter().map(|one| one.id.as_str()).collect();
        let streets: Vec<&str> = good.iter().map(|one| one.street.as_str()).collect();
        tx.execute(SAVE_MANY, &[&ids, &streets]).await?;
        let changes: Vec<(&str, &Parcel)> = ids.into_iter().zip(good).collect();
        append_many(tx, TOPIC, &changes).await?;
        Ok(records
            .iter()
            .map(|one| match (one.street.as_str(), waits_for(one)) {
                ("", _) => Outcome::Refused(Problem::invalid("nobody lives there")),
                (_, None) => Outcome::Stored(Reference::Known),
                (_, Some(_)) => Outcome::Stored(Reference::Awaited),
            })
            .collect())
    }
}

async fn upload(State(pool): State<Pool>, upload: Upload) -> Result<Response, Problem> {
    import(&pool, &Parcels, upload).await
}

async fn read(
    State(pool): State<Pool>,
    Path(id): Path<String>,
    condition: Precondition,
) -> Result<Response, Problem> {
    records::read(&pool, TOPIC, &id, &condition).await
}

/// One owner over one database.
pub(crate) struct World {
    pub(crate) database: Database,
    pub(crate) pool: Pool,
    app: Router,
}

/// What was answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl World {
    pub(crate) async fn create() -> anyhow::Result<Self> {
        let database = Database::create("records").await?;
        let mut client = database.connect().await?;
        migrate(&mut client, "outbox", outbox::MIGRATIONS).await?;
        migrate(&mut client, "records", records::MIGRATIONS).await?;
        client.batch_execute(TABLE).await?;
        let topic = "insert into outbox.topic (topic, lane, schema) values ($1, 'normal', '1')";
        client.execute(topic, &[&TOPIC]).await?;
        let pool = database.pool(4)?;
        let routes = Router::new()
            .route("/parcels", axum::routing::put(put))
            .route("/parcels/{id}", get(read))
            .route("/parcels/{id}/send", post(send));
        let imports = Router::new().route("/parcels/import", post(upload));
        let imports = uploads(OpenApiRouter::from(imports));
        let routes = routes.merge(imports.split_for_parts().0).with_state(pool.clone());
        let arguments = ["test", "--listen", "127.0.0.1:0", "--log-filter", "off"];
        let settings = Settings::try_parse_from(arguments)?;
        let app = Service::start("post", &settings.service)?.app(routes);
        Ok(Self { database, pool, app })
    }

    pub(crate) async fn send(
        &self,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        body: &str,
    ) -> Said {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).expect("a legal request");
        let response = self.app.clone().oneshot(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.expect("a whole body");
        Said { status: parts.status, headers: parts.headers, body }
    }

    /// How many answers, uploads and refusals are kept.
    pub(crate) async fn kept(&self) -> anyhow::Result<(i64, i64, i64)> {
        let counts = "select (select count(*) from records.answer) as answers,
            (select count(*) from records.import) as imports,
            (select count(*) from records.refusal) as refusals";
        let row = self.database.connect().await?.query_one(counts, &[]).await?;
        Ok((row.try_get("answers")?, row.try_get("imports")?, row.try_get("refusals")?))
    }
}

impl Said {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let value = self.headers.get(name)?;
        value.to_str().ok()
    }
}
