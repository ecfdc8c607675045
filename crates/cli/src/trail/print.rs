//! A trail for people: a line per hop, and what there is to say beside.

use chrono::{DateTime, Utc};

use super::{Consumer, Followers, Hop, State, Trail};
use crate::table::{Column, Table};

impl Trail {
    /// The trail as text.
    pub(crate) fn text(&self) -> String {
        let mut text = self.heading();
        let mut table = Table::new([
            Column::Left("hop"),
            Column::Left("where"),
            Column::Left("at (UTC)"),
            Column::Right("step ms"),
            Column::Right("total ms"),
            Column::Left(""),
        ]);
        for hop in &self.hops {
            row(&mut table, hop, String::new());
        }
        for consumer in &self.consumers {
            for hop in &consumer.hops {
                row(&mut table, hop, consumer.remark(hop));
            }
        }
        if !table.is_empty() {
            text.push('\n');
            text.push_str(&table.text());
        }
        text.push('\n');
        for line in self.remarks() {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    fn heading(&self) -> String {
        let Self { topic, key, .. } = self;
        let mut text = match self.version {
            Some(version) => {
                let op = if self.deleted == Some(true) { "deleted" } else { "upserted" };
                format!("{topic} {key}: version {version}, {op}")
            }
            None => format!("{topic} {key}: its latest version is not known"),
        };
        if let (Some(stream), Some(pn)) = (&self.stream, self.pn) {
            text.push_str(&format!(", number {pn} of {stream}"));
        }
        for (name, value) in [("event", &self.event), ("trace", &self.trace)] {
            text.extend(value.as_ref().map(|value| format!("\n{name} {value}")));
        }
        text.push('\n');
        text
    }

    fn remarks(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let of_source = self.source_remark();
        lines.extend(of_source.map(str::to_owned));
        if let (Some(at), Some(first)) = (self.confirmed_at, self.hops.first()) {
            let since = ms(at.timestamp_micros() - first.at.timestamp_micros());
            lines.push(format!("broker: had it {since} ms after the append"));
        }
        let says = self.consumers.iter().filter_map(|consumer| {
            Some(format!("{}: {}", consumer.service, consumer.says.as_ref()?))
        });
        lines.extend(says);
        lines.extend(self.away.iter().map(|away| format!("{}: {}", away.service, away.reason)));
        if self.goes_back() {
            lines.push("a hop before the one it follows: clocks of machines differ".to_owned());
        }
        lines.push(self.verdict());
        lines
    }

    fn source_remark(&self) -> Option<&'static str> {
        self.version?;
        let (is_numbered, is_published) = (self.pn.is_some(), self.knows("published"));
        match (self.knows("appended"), is_numbered, is_published, self.transport.as_deref()) {
            (false, ..) => Some("relay: keeps the change no longer; only its version is known"),
            (true, false, ..) => Some("relay: has yet to give the change its number"),
            (true, true, false, Some("none")) => {
                Some("relay: runs without a broker; consumers read the feed")
            }
            (true, true, false, _) => {
                Some("relay: when it published is known no longer, or has yet to happen")
            }
            (true, true, true, _) => None,
        }
    }

    fn knows(&self, hop: &str) -> bool {
        self.hops.iter().any(|known| known.hop == hop)
    }

    fn goes_back(&self) -> bool {
        let own = self.consumers.iter().flat_map(|consumer| &consumer.hops);
        self.hops.iter().chain(own).any(|hop| hop.step_us < 0)
    }

    fn verdict(&self) -> String {
        let followers = self.consumers.len();
        if self.version.is_none() {
            return "whether it arrived is not known".to_owned();
        }
        let there = self.consumers.iter().filter(|it| it.state == State::Arrived).count();
        let whether = match (self.arrived, followers) {
            _ if self.followers == Followers::Unlisted => {
                format!("arrived at {there} followers; who else follows it is not known")
            }
            (true, 0) => "nobody follows it".to_owned(),
            (true, 1) => "arrived at its one follower".to_owned(),
            (true, _) => format!("arrived at all {followers} followers"),
            (false, _) => format!("arrived at {there} of {followers} followers so far"),
        };
        let Some(way) = &self.end_to_end else { return whether };
        let steps: Vec<_> =
            way.hops.iter().skip(1).map(|hop| format!("{} {}", hop.hop, ms(hop.step_us))).collect();
        let last = way.hops.last().map_or("", |hop| hop.at_service.as_str());
        format!(
            "{whether}; last hop at {last} after {} ms = {}",
            ms(way.us),
            if steps.is_empty() { "nothing yet".to_owned() } else { steps.join(" + ") }
        )
    }
}

impl Consumer {
    /// What the line of a hop says in the end.
    fn remark(&self, hop: &Hop) -> String {
        match (hop.hop, &self.via, &self.steps) {
            ("received", Some(via), _) => format!("by {via}"),
            ("applied" | "stale" | "set aside", _, Some(steps)) => format!(
                "lock {}, gate {}, apply {}",
                ms(steps.lock_us),
                ms(steps.gate_us),
                ms(steps.apply_us)
            ),
            _ => String::new(),
        }
    }
}

fn row(table: &mut Table, hop: &Hop, remark: String) {
    table.row([
        hop.hop.to_owned(),
        hop.at_service.clone(),
        moment(hop.at),
        ms(hop.step_us),
        hop.since_append_us.map_or_else(String::new, ms),
        remark,
    ]);
}

fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

/// Microseconds as milliseconds, exactly.
fn ms(us: i64) -> String {
    let sign = if us < 0 { "-" } else { "" };
    let us = us.unsigned_abs();
    format!("{sign}{}.{:03}", us / 1000, us % 1000)
}
