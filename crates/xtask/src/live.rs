//! The live line: how many changes arrive per second, who lags, and how long they travel.
//!
//! A change that three copies take arrives three times. The time is that of a batch, counted from
//! its oldest change: at rest a batch is one change, under load it is the slowest of many.

use std::{
    collections::{BTreeMap, VecDeque},
    thread,
    time::{Duration, Instant},
};

use serde::Deserialize;

use crate::{
    mesh::{SERVICES, Service, Setting},
    plan::Plan,
    progress, sample,
};

/// How often the line is renewed.
const INTERVAL: Duration = Duration::from_secs(1);
/// Over how many of these a figure is taken.
const WINDOW: usize = 10;
/// The histogram of a consumer: from a change's commit at its owner to its commit there.
const HISTOGRAM: &str = "sync_duration_seconds_bucket{";

/// What a consumer says of its copies.
#[derive(Debug, Default, Deserialize)]
struct Status {
    #[serde(default)]
    topics: Vec<TopicStatus>,
    #[serde(default)]
    dirty: Vec<Dirty>,
}

#[derive(Debug, Deserialize)]
struct TopicStatus {
    lag_events: i64,
    streams: Vec<StreamStatus>,
}

#[derive(Debug, Deserialize)]
struct StreamStatus {
    position: String,
}

#[derive(Debug, Deserialize)]
struct Dirty {
    keys: i64,
}

/// One look at all consumers.
#[derive(Debug, Default)]
struct Look {
    /// Changes that arrived anywhere, since ever.
    arrived: i64,
    /// By consumer: changes and keys that it has yet to notice; none where it does not answer.
    behind: Vec<(&'static str, Option<i64>)>,
    /// How many batches took at most so many seconds, by bound in milliseconds.
    buckets: Buckets,
}

/// Cumulative counts by upper bound in microseconds.
type Buckets = BTreeMap<u64, u64>;

/// Shows the line until the mesh has ended.
pub(crate) fn show(plan: &Plan, has_ended: impl Fn() -> bool) {
    let client = sample::client();
    let mut looks: VecDeque<(Instant, Look)> = VecDeque::new();
    let mut step = progress::Step::begin("flow", "looking");
    while !has_ended() {
        let look = look(&client, plan);
        if let Some((since, first)) = looks.front() {
            step.doing(line(first, &look, since.elapsed()));
        }
        looks.push_back((Instant::now(), look));
        if looks.len() > WINDOW {
            looks.pop_front();
        }
        thread::sleep(INTERVAL);
    }
    step.drop_line();
}

/// How many changes and keys all consumers together have yet to notice; none while one is away.
pub(crate) fn behind(plan: &Plan) -> Option<i64> {
    let look = look(&sample::client(), plan);
    look.behind.into_iter().map(|(_, behind)| behind).sum()
}

/// The services that follow others.
fn consumers() -> impl Iterator<Item = &'static Service> {
    SERVICES.iter().filter(|service| {
        let follows = |setting: &Setting| matches!(setting, Setting::Peer(_, "relay"));
        service.settings.iter().any(follows)
    })
}

fn look(client: &ureq::Agent, plan: &Plan) -> Look {
    let mut look = Look::default();
    for consumer in consumers() {
        let ask = |path: &str| -> Option<String> {
            let url = format!("http://127.0.0.1:{}{path}", plan.port(consumer.name).ok()?);
            client.get(&url).call().ok()?.body_mut().read_to_string().ok()
        };
        let status = ask("/sync/status").and_then(|text| serde_json::from_str(&text).ok());
        let status: Option<Status> = status;
        look.behind.push((consumer.name, status.as_ref().map(Status::behind)));
        look.arrived += status.as_ref().map_or(0, Status::arrived);
        add(&mut look.buckets, &ask("/metrics").unwrap_or_default());
    }
    look
}

impl Status {
    fn behind(&self) -> i64 {
        let changes: i64 = self.topics.iter().map(|topic| topic.lag_events).sum();
        changes + self.dirty.iter().map(|dirty| dirty.keys).sum::<i64>()
    }

    fn arrived(&self) -> i64 {
        let streams = self.topics.iter().flat_map(|topic| &topic.streams);
        streams.filter_map(|stream| stream.position.parse::<i64>().ok()).sum()
    }
}

/// Adds the buckets of one consumer's metrics.
fn add(buckets: &mut Buckets, metrics: &str) {
    for line in metrics.lines().filter(|line| line.starts_with(HISTOGRAM)) {
        let bound = line.split_once("le=\"").and_then(|(_, rest)| rest.split_once('"'));
        let count = line.rsplit_once(' ').and_then(|(_, count)| count.parse::<f64>().ok());
        let (Some((bound, _)), Some(count)) = (bound, count) else { continue };
        let Ok(seconds) = bound.parse::<f64>() else { continue };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bounds and counts are positive; infinity becomes the largest number"
        )]
        let (micros, count) = ((seconds * 1e6) as u64, count as u64);
        *buckets.entry(micros).or_default() += count;
    }
}

/// The bound below which 95 of 100 of the batches between two looks lie, in words.
fn p95(before: &Buckets, after: &Buckets) -> String {
    let since = |bound: &u64| {
        after.get(bound).unwrap_or(&0).saturating_sub(*before.get(bound).unwrap_or(&0))
    };
    let total = after.keys().map(since).max().unwrap_or(0);
    if total == 0 {
        return "-".to_owned();
    }
    let enough = (total * 95).div_ceil(100);
    let mut last = 0;
    for bound in after.keys() {
        if since(bound) >= enough {
            return match *bound {
                u64::MAX => format!("above {} ms", last / 1000),
                bound => format!("at most {} ms", bound / 1000),
            };
        }
        last = *bound;
    }
    "-".to_owned()
}

fn line(before: &Look, now: &Look, took: Duration) -> String {
    let arrived = u32::try_from(now.arrived.saturating_sub(before.arrived)).unwrap_or(0);
    let rate = f64::from(arrived) / took.as_secs_f64().max(0.001);
    let lags: Vec<String> = now
        .behind
        .iter()
        .map(|(name, behind)| match behind {
            Some(behind) => format!("{name} {behind}"),
            None => format!("{name} away"),
        })
        .collect();
    let p95 = p95(&before.buckets, &now.buckets);
    format!("{rate:.0} arrivals/s, behind: {}; P95 commit to applied {p95}", lags.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "sync_duration_seconds_bucket{topic=\"a\",le=\"0.01\"} 100\n\
        sync_duration_seconds_bucket{topic=\"a\",le=\"0.05\"} 100\n\
        sync_duration_seconds_bucket{topic=\"a\",le=\"+Inf\"} 100\n";
    const AFTER: &str = "sync_duration_seconds_bucket{topic=\"a\",le=\"0.01\"} 190\n\
        sync_duration_seconds_bucket{topic=\"a\",le=\"0.05\"} 197\n\
        sync_duration_seconds_bucket{topic=\"a\",le=\"+Inf\"} 200\n";

    fn buckets(texts: &[&str]) -> Buckets {
        let mut buckets = Buckets::new();
        texts.iter().for_each(|text| add(&mut buckets, text));
        buckets
    }

    #[test]
    fn only_what_came_between_two_looks_counts() {
        assert_eq!(p95(&buckets(&[BEFORE]), &buckets(&[AFTER])), "at most 50 ms");
        assert_eq!(p95(&buckets(&[AFTER]), &buckets(&[AFTER])), "-");
        assert_eq!(p95(&buckets(&[]), &buckets(&[BEFORE, BEFORE])), "at most 10 ms");
    }

    #[test]
    fn what_is_beyond_every_bound_is_said_so() {
        let slow = "sync_duration_seconds_bucket{le=\"1\"} 0\n\
            sync_duration_seconds_bucket{le=\"+Inf\"} 5\n";
        assert_eq!(p95(&Buckets::new(), &buckets(&[slow])), "above 1000 ms");
    }

    #[test]
    fn the_line_names_every_consumer_and_who_is_away() {
        let look = |arrived, behind| Look {
            arrived,
            behind: vec![("gateway", behind), ("search-indexer", Some(0))],
            buckets: Buckets::new(),
        };
        let line = line(&look(10, Some(0)), &look(30, None), Duration::from_secs(2));
        let told = "10 arrivals/s, behind: gateway away, search-indexer 0; \
                    P95 commit to applied -";
        assert_eq!(line, told);
    }

    #[test]
    fn four_services_follow_others() {
        assert_eq!(consumers().count(), 4);
    }
}
