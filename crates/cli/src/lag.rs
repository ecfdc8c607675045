//! `syncline lag`: how far each consumer is behind, stream by stream and sink by sink.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use contracts::Pn;
use serde::Serialize;

use crate::answers::{CopyStatus, DirtyKeys, RelayStatus, StreamStatus, TopicStatus};
use crate::client::{Client, NoAnswer};
use crate::services::{Place, RELAY};
use crate::table::{Column, Table};
use crate::{Form, Outcome};

/// What `lag` is asked.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  syncline lag
  syncline lag --max-seconds 1 && echo in step
  syncline lag --watch

Exit codes: 0 everybody is in step, or no bound was given; 1 with --max-seconds somebody is behind
by more, does not answer, has a copy that does not serve, or records set aside.")]
pub(crate) struct Args {
    /// Fails if a stream or a dirty key is older than this, a copy does not serve, a record is set
    /// aside, or a service does not answer.
    #[arg(long, value_name = "SECONDS")]
    max_seconds: Option<f64>,
    /// Asks again and again; every how many seconds, 1 unless said otherwise.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1")]
    watch: Option<f64>,
}

/// The phase of a copy that follows its source.
const SERVING: &str = "serving";

/// Moves to the top left of a terminal and clears it.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Prints who is behind.
pub(crate) fn run(args: &Args, places: &[Place], form: Form) -> Result<Outcome> {
    let client = Client::new();
    loop {
        let lag = Lag::ask(&client, places);
        let clear = if args.watch.is_some() { CLEAR } else { "" };
        form.print(&lag, &format!("{clear}{}", lag.text()))?;
        let Some(seconds) = args.watch else {
            let is_behind = args.max_seconds.is_some_and(|max| lag.is_beyond(max));
            return Ok(if is_behind { Outcome::Behind } else { Outcome::Well });
        };
        thread::sleep(Duration::try_from_secs_f64(seconds.max(0.1))?);
    }
}

/// How far everybody is.
#[derive(Debug, Default, Serialize)]
struct Lag {
    streams: Vec<Stream>,
    dirty: Vec<Dirty>,
    sources: Vec<Source>,
    away: Vec<Away>,
}

#[derive(Debug, Serialize)]
struct Stream {
    consumer: String,
    topic: String,
    /// None of a copy that has yet to hear of one.
    stream: Option<String>,
    position: Option<Pn>,
    head: Option<Pn>,
    events: i64,
    seconds: f64,
    /// Since it was last told the head; it knows nothing of what came after.
    told_seconds_ago: Option<f64>,
    /// Of the whole topic.
    open_cases: i64,
    phase: String,
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Dirty {
    consumer: String,
    #[serde(flatten)]
    keys: DirtyKeys,
}

#[derive(Debug, Serialize)]
struct Source {
    source: String,
    state: String,
    unpublished: i64,
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Away {
    service: String,
    reason: String,
}

/// What one service answered.
enum Heard {
    Copies(CopyStatus),
    Relay(RelayStatus),
    /// It keeps no copies.
    Nothing,
}

impl Lag {
    /// Asks all services at once.
    fn ask(client: &Client, places: &[Place]) -> Self {
        let heard = thread::scope(|scope| {
            let asked: Vec<_> = places
                .iter()
                .map(|place| (place, scope.spawn(move || status(client, place))))
                .collect();
            let heard = asked.into_iter().map(|(place, asked)| (place, asked.join()));
            heard.collect::<Vec<_>>()
        });
        let mut lag = Self::default();
        for (place, heard) in heard {
            let service = place.service.clone();
            match heard {
                Ok(Ok(Heard::Copies(status))) => lag.add_copies(&service, status),
                Ok(Ok(Heard::Relay(status))) => lag.add_sources(status),
                Ok(Ok(Heard::Nothing)) => {}
                Ok(Err(error)) => lag.away.push(Away { service, reason: error.to_string() }),
                Err(_) => {
                    lag.away.push(Away { service, reason: "asking it broke off".to_owned() });
                }
            }
        }
        lag
    }

    fn add_copies(&mut self, consumer: &str, status: CopyStatus) {
        for mut topic in status.topics {
            let streams = std::mem::take(&mut topic.streams);
            if streams.is_empty() {
                self.streams.push(Stream::of(consumer, &topic, None));
            }
            let streams = streams.into_iter();
            self.streams.extend(streams.map(|it| Stream::of(consumer, &topic, Some(it))));
        }
        let dirty = status.dirty.into_iter();
        self.dirty.extend(dirty.map(|keys| Dirty { consumer: consumer.to_owned(), keys }));
    }

    fn add_sources(&mut self, status: RelayStatus) {
        self.sources.extend(status.sources.into_iter().map(|source| Source {
            source: source.source,
            state: source.state,
            unpublished: source.unpublished,
            error: source.error,
        }));
    }

    /// Whether anything is older than this, or cannot be told.
    fn is_beyond(&self, seconds: f64) -> bool {
        !self.away.is_empty()
            || self.streams.iter().any(|it| it.is_beyond(seconds))
            || self.dirty.iter().any(|it| it.keys.oldest_seconds > seconds)
            || self.sources.iter().any(|it| it.state != "leading")
    }

    fn text(&self) -> String {
        let mut parts = vec![self.streams_text()];
        if !self.dirty.is_empty() {
            parts.push(self.dirty_text());
        }
        parts.push(self.remarks());
        parts.retain(|part| !part.is_empty());
        parts.join("\n")
    }

    fn streams_text(&self) -> String {
        let mut table = Table::new([
            Column::Left("consumer"),
            Column::Left("stream"),
            Column::Right("position"),
            Column::Right("head"),
            Column::Right("behind"),
            Column::Right("seconds"),
            Column::Right("cases"),
            Column::Left(""),
        ]);
        for it in &self.streams {
            table.row([
                it.consumer.clone(),
                it.stream.as_ref().unwrap_or(&it.topic).clone(),
                it.position.map_or_else(|| "?".to_owned(), |position| position.to_string()),
                it.head.map_or_else(|| "?".to_owned(), |head| head.to_string()),
                it.events.to_string(),
                format!("{:.3}", it.seconds),
                it.open_cases.to_string(),
                it.remark(),
            ]);
        }
        if table.is_empty() { "no consumer answers\n".to_owned() } else { table.text() }
    }

    fn dirty_text(&self) -> String {
        let mut table = Table::new([
            Column::Left("consumer"),
            Column::Left("sink"),
            Column::Right("dirty keys"),
            Column::Right("oldest s"),
        ]);
        for Dirty { consumer, keys } in &self.dirty {
            let oldest = format!("{:.3}", keys.oldest_seconds);
            table.row([consumer.clone(), keys.sink.clone(), keys.keys.to_string(), oldest]);
        }
        table.text()
    }

    fn remarks(&self) -> String {
        let mut lines = Vec::new();
        for Source { source, state, unpublished, error } in &self.sources {
            if state != "leading" {
                let why = error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
                lines.push(format!("relay: source {source} is {state}{why}\n"));
            }
            if *unpublished > 0 {
                lines.push(format!("relay: {unpublished} changes of {source} to publish\n"));
            }
        }
        let away = self.away.iter().map(|away| format!("{}: {}\n", away.service, away.reason));
        lines.extend(away);
        lines.concat()
    }
}

impl Stream {
    /// One stream of a copy, or the copy itself, which has yet to hear of one.
    fn of(consumer: &str, topic: &TopicStatus, stream: Option<StreamStatus>) -> Self {
        Self {
            consumer: consumer.to_owned(),
            topic: topic.topic.clone(),
            position: stream.as_ref().map(|it| it.position),
            head: stream.as_ref().and_then(|it| it.head),
            events: stream.as_ref().map_or(0, |it| it.lag_events),
            seconds: stream.as_ref().map_or(0.0, |it| it.lag_seconds),
            stream: stream.map(|it| it.stream),
            told_seconds_ago: topic.answered_seconds_ago,
            open_cases: topic.open_cases,
            phase: topic.phase.clone(),
            error: topic.error.clone().or_else(|| topic.complaint.clone()),
        }
    }

    /// A copy that stands still is behind nothing it knows of, and in step with nobody.
    fn is_beyond(&self, seconds: f64) -> bool {
        let is_well = self.phase == SERVING && self.error.is_none() && self.open_cases == 0;
        // The source of a copy that serves may have no stream yet.
        let is_head_known = self.head.is_some() || self.stream.is_none();
        let is_told = is_head_known && self.told_seconds_ago.is_some_and(|it| it <= seconds);
        self.seconds > seconds || !is_well || !is_told
    }

    fn remark(&self) -> String {
        const SILENCE_MIN: f64 = 6.0;
        let told = self.told_seconds_ago.filter(|seconds| *seconds > SILENCE_MIN);
        let told = told.map(|seconds| format!("head of {seconds:.0} s ago"));
        let none = if self.stream.is_none() { "no stream yet" } else { "" };
        let phase = if self.phase == SERVING { "" } else { self.phase.as_str() };
        let error = self.error.as_deref().unwrap_or_default();
        let all = [none, told.as_deref().unwrap_or_default(), phase, error];
        let all: Vec<_> = all.into_iter().filter(|it| !it.is_empty()).collect();
        all.join(": ")
    }
}

fn status(client: &Client, place: &Place) -> Result<Heard, NoAnswer> {
    if place.service == RELAY {
        let status = client.get::<RelayStatus>(place, "/sync/status", &[])?;
        return Ok(status.map_or(Heard::Nothing, Heard::Relay));
    }
    let status = client.get::<CopyStatus>(place, "/sync/status", &[])?;
    Ok(status.map_or(Heard::Nothing, Heard::Copies))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lag(head: Option<&str>, seconds: f64) -> Lag {
        let topic = |topic: &str, head: Option<&str>, behind: i64, seconds: f64| {
            json!({
                "topic": topic, "phase": "serving", "open_cases": 0, "complaint": null,
                "error": null,
                "answered_seconds_ago": 0.2,
                "streams": [{
                    "stream": format!("{topic}.normal"), "position": "101", "head": head,
                    "lag_events": behind, "lag_seconds": seconds,
                }],
            })
        };
        let copies = json!({
            "topics": [
                topic("catalog.products", Some("101"), 0, 0.0),
                topic("pricing.prices", head, 2, seconds),
            ],
            "dirty": [{"sink": "index", "keys": 12, "oldest_seconds": 0.25}],
        });
        let relay = json!({"sources": [
            {"source": "catalog", "state": "leading", "error": null, "unpublished": 3,
             "consumers": []},
        ]});
        let mut lag = Lag::default();
        lag.add_copies("search-indexer", serde_json::from_value(copies).unwrap());
        lag.add_sources(serde_json::from_value(relay).unwrap());
        lag
    }

    #[test]
    fn positions_heads_and_dirty_keys_stand_in_tables() {
        let mut lag = lag(Some("103"), 1.5);
        lag.streams[0].open_cases = 2;
        lag.streams[1].phase = "loading".to_owned();
        let new = json!({"topics": [{
            "topic": "warehouse.stock", "phase": "new", "open_cases": 0, "complaint": null,
            "error": "ask relay: it took too long", "answered_seconds_ago": null, "streams": [],
        }]});
        lag.add_copies("gateway", serde_json::from_value(new).unwrap());
        let reason = "no answer from http://127.0.0.1:8080: connection refused".to_owned();
        lag.away.push(Away { service: "gateway".to_owned(), reason });
        insta::assert_snapshot!(lag.text());
        insta::assert_json_snapshot!(lag);
    }

    #[test]
    fn somebody_who_is_behind_or_silent_is_beyond_every_bound() {
        assert!(!lag(Some("103"), 1.5).is_beyond(2.0));
        assert!(lag(Some("103"), 1.5).is_beyond(1.0));
        assert!(lag(None, 0.0).is_beyond(60.0));
        let mut dirty = lag(Some("103"), 0.0);
        assert!(dirty.is_beyond(0.2) && !dirty.is_beyond(0.3));
        let mut deaf = lag(Some("103"), 0.0);
        deaf.streams[0].told_seconds_ago = Some(61.0);
        assert!(deaf.is_beyond(60.0) && !deaf.is_beyond(62.0));
        dirty.away.push(Away { service: "gateway".to_owned(), reason: "silent".to_owned() });
        assert!(dirty.is_beyond(60.0));
    }

    #[test]
    fn a_copy_that_does_not_serve_complains_or_set_records_aside_is_beyond_every_bound() {
        let with = |change: fn(&mut Stream)| {
            let mut lag = lag(Some("101"), 0.0);
            change(&mut lag.streams[1]);
            lag.is_beyond(60.0)
        };
        assert!(!with(|_| {}));
        for phase in ["new", "loading", "sweeping", "diverged"] {
            let mut lag = lag(Some("101"), 0.0);
            lag.streams[1].phase = phase.to_owned();
            assert!(lag.is_beyond(60.0), "{phase}");
        }
        assert!(with(|it| it.open_cases = 1));
        assert!(with(|it| it.error = Some("ask relay: it took too long".to_owned())));
        // Nothing was ever changed at the source: such a copy is in step once it was told so.
        let streamless = |it: &mut Stream| (it.stream, it.position, it.head) = (None, None, None);
        let mut lag = lag(Some("101"), 0.0);
        streamless(&mut lag.streams[1]);
        assert!(!lag.is_beyond(60.0));
        lag.streams[1].told_seconds_ago = None;
        assert!(lag.is_beyond(60.0));
    }
}
