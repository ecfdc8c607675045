//! What was measured beneath a figure that was missed: why this machine, today, gives no more.

use crate::figures::{Lane, Latency, Limit, Machine, Round};
use crate::report::{Group, applied, cpu_sum, measured, number, other, steady_rate};

/// Microseconds of a second.
const SECOND_US: f64 = 1e6;

/// Syncs of the disk that one commit of the index takes at least.
const SYNCS_PER_INDEX_COMMIT: f64 = 9.0;

/// Records of an import.
const IMPORT: f64 = 100_000.0;

/// The measured ground on which a missed figure stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Floor<'a> {
    pub(super) machine: &'a Machine,
    pub(super) rounds: &'a [Round],
}

impl<'a> Floor<'a> {
    /// Why no more changes per second.
    pub(super) fn rate(&self, scenario: &'a str, lane: Lane) -> Option<String> {
        let group = Group::of(self.rounds, scenario, lane);
        let mut texts = vec![];
        if let Some(rate) = group.median(applied) {
            texts.push(format!("as many as go are {}/s", number(rate)));
        }
        let alone = Group::of(self.rounds, "overhead", Lane::Direct);
        if let Some(rate) = alone.median(other("written_alone_per_s")) {
            let rate = number(rate);
            texts.push(format!("the source alone, followed by nobody, writes {rate}/s"));
        }
        texts.extend(self.processors(&group));
        texts.extend(limits(&group));
        said(&texts)
    }

    /// How much of the processors goes to the sidecars.
    pub(super) fn sidecars(&self, scenario: &'a str) -> Option<String> {
        let group = Group::of(self.rounds, scenario, Lane::Dapr);
        let daprd = group.median(|round| {
            let cpu = round.figures.cpu_us.iter().filter(|(name, _)| name.ends_with("-daprd"));
            let (count, sum) = cpu.fold((0, 0.0), |(count, sum), (_, us)| (count + 1, sum + us));
            (count > 0).then_some(sum)
        });
        let mut texts = vec![];
        if let Some(daprd) = daprd {
            texts.push(format!("the sidecars take {} us of processor per change", number(daprd)));
        }
        texts.extend(self.processors(&group));
        said(&texts)
    }

    /// How long the steps take at rest and which is longest at 1,000/s.
    pub(super) fn steps(&self, lane: Lane) -> Option<String> {
        let mut texts = vec![];
        if let Some((rate, at_rest)) = self.at_rest(lane) {
            let steps = steps(&at_rest, |latency| latency.p50);
            if !steps.is_empty() {
                let sum: f64 = steps.iter().map(|(_, ms)| ms).sum();
                let steps: Vec<_> =
                    steps.iter().map(|(name, ms)| format!("{name} {}", number(*ms))).collect();
                let (sum, steps) = (number(sum), steps.join(", "));
                texts.push(format!("at {rate}/s the steps take {sum} ms at P50 ({steps})"));
            }
        }
        let busy = Group::of(self.rounds, "steady-1000", lane);
        let longest =
            steps(&busy, |latency| latency.p99).into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((name, ms)) = longest {
            texts.push(format!("the longest step at 1,000/s is {name} with P99 {} ms", number(ms)));
        }
        texts.push(self.sync());
        said(&texts)
    }

    /// The steps through Dapr, and a plain Dapr app beside them where it was quicker: it publishes
    /// after its commit, so it has no outbox to read.
    pub(super) fn beside_plain(&self) -> Option<String> {
        let median = |lane, pick: fn(Latency) -> f64| {
            let group = Group::of(self.rounds, "steady-1000", lane);
            group.median(|round| measured(round.figures.commit_to_applied).map(pick))
        };
        let p50 = |lane| median(lane, |latency| latency.p50);
        let plain =
            p50(Lane::PlainDapr).filter(|plain| p50(Lane::Dapr).is_some_and(|p| *plain < p));
        let p95 = median(Lane::PlainDapr, |latency| latency.p95);
        let beside = plain.zip(p95).map(|(p50, p95)| {
            let (p50, p95) = (number(p50), number(p95));
            format!("a plain Dapr app, without an outbox to read, has P50 {p50} and P95 {p95} ms")
        });
        said(&beside.into_iter().chain(self.steps(Lane::Dapr)).collect::<Vec<_>>())
    }

    /// What an import cannot be faster than.
    pub(super) fn import(&self, lane: Lane) -> Option<String> {
        let group = Group::of(self.rounds, "import", lane);
        let mut texts = vec![];
        if let Some(answered) = group.median(other("import_answered_s")) {
            texts.push(format!("the source alone took {} s", number(answered)));
        }
        let upserted = group.median(|round| round.limit.map(|limit| limit.upserted));
        if let Some(upserted) = upserted.filter(|rate| *rate > 0.0) {
            let alone = number(IMPORT / upserted);
            texts.push(format!("upserting as many rows and nothing else takes {alone} s"));
        }
        texts.extend(self.processors(&group));
        said(&texts)
    }

    /// What the outbox grew to, if that is too much, and where the time went.
    pub(super) fn outbox(&self, slots: Option<f64>) -> Option<String> {
        let kept = slots.map(|mib| {
            let mib = number(mib);
            format!("one slot is written and none is emptied yet, so all {mib} MiB are kept")
        });
        said(&[kept, self.steps(Lane::Direct)].into_iter().flatten().collect::<Vec<_>>())
    }

    /// What kills make come again.
    pub(super) fn repeats(envelopes: f64) -> String {
        let envelopes = number(envelopes);
        format!(
            "a relay saves once a second how far it published, and its successor goes on from \
             there: {envelopes} envelopes came again, and none was applied twice"
        )
    }

    /// What following a source costs.
    pub(super) fn relay(&self) -> Option<String> {
        let group = Group::of(self.rounds, "steady-1000", Lane::Direct);
        let relay = group.median(|round| round.figures.cpu_us.get("relay").copied());
        let mut texts = vec![];
        if let Some(relay) = relay {
            texts.push(format!("at 1,000/s the relay takes {} us per change", number(relay)));
        }
        texts.push(self.sync());
        said(&texts)
    }

    /// What a commit of the index cannot be faster than.
    pub(super) fn index(&self) -> Option<String> {
        let syncs = number(SYNCS_PER_INDEX_COMMIT * self.machine.fdatasync_ms);
        let mut texts = vec![format!(
            "the {SYNCS_PER_INDEX_COMMIT} syncs of a commit of the index take {syncs} ms"
        )];
        for lane in [Lane::Direct, Lane::Dapr] {
            let group = Group::of(self.rounds, "search", lane);
            let applied = group.median(|round| {
                measured(round.figures.commit_to_applied).map(|latency| latency.p95)
            });
            if let Some(applied) = applied {
                let (lane, applied) = (lane.name(), number(applied));
                texts.push(format!("{lane}, it was in the database with P95 {applied} ms"));
            }
        }
        said(&texts)
    }

    /// What both of two lanes reach, and what a change costs each.
    pub(super) fn rates_of(&self, one: &Group<'_>, other: &Group<'_>) -> Option<String> {
        let of = |group: &Group<'_>| {
            let rate = number(group.median(applied)?);
            let cpu = group.median(cpu_sum).map(|us| format!(" with {} us per change", number(us)));
            Some(format!("{} {rate}/s{}", group.lane.name(), cpu.unwrap_or_default()))
        };
        said(&[of(one), of(other)].into_iter().flatten().collect::<Vec<_>>())
    }

    /// What the processors allow at this cost.
    fn processors(&self, group: &Group<'_>) -> Option<String> {
        let cost = group.median(cpu_sum).filter(|cost| *cost > 0.0)?;
        let cpus = self.machine.cpus;
        let most = number(f64::from(cpus) * SECOND_US / cost);
        Some(format!("at {} us per change {cpus} processors give {most}/s", number(cost)))
    }

    fn sync(&self) -> String {
        format!("one fdatasync takes {} ms", number(self.machine.fdatasync_ms))
    }

    /// The lowest steady rate at which the lane was measured.
    fn at_rest(&self, lane: Lane) -> Option<(u32, Group<'a>)> {
        let steady = self.rounds.iter().filter(|round| round.lane == lane);
        let rates = steady.filter(|round| round.discarded.is_none());
        let lowest =
            rates.filter_map(|round| Some((steady_rate(&round.scenario)?, &*round.scenario))).min();
        lowest.map(|(rate, scenario)| (rate, Group::of(self.rounds, scenario, lane)))
    }
}

/// Each step with the median of one of its percentiles.
fn steps(group: &Group<'_>, pick: fn(Latency) -> f64) -> Vec<(String, f64)> {
    let Some(first) = group.clean.first() else { return Vec::new() };
    let median = |name: &String| {
        group.median(|round| round.figures.steps.get(name).copied().and_then(measured).map(pick))
    };
    let names = first.figures.steps.keys();
    names.filter_map(|name| Some((name.clone(), median(name)?))).collect()
}

/// What this machine could do just before.
fn limits(group: &Group<'_>) -> Option<String> {
    let limit = |pick: fn(Limit) -> f64| group.median(|round| round.limit.map(pick)).map(number);
    Some(format!(
        "this machine alone does {} commits/s, adds {}/s, reads {}/s, upserts {}/s",
        limit(|limit| limit.commits)?,
        limit(|limit| limit.added)?,
        limit(|limit| limit.read)?,
        limit(|limit| limit.upserted)?
    ))
}

fn said(texts: &[String]) -> Option<String> {
    (!texts.is_empty()).then(|| texts.join("; "))
}
