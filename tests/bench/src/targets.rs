//! What is wanted of Syncline, and what came of it: each figure met, or what was measured beneath.
//!
//! Every row is made of medians over clean rounds. What a mode does not run stays unmeasured.

use crate::figures::{Lane, Latency, Machine, Round, Target};
use crate::report::{Group, measured, number, of_limit, other, ratio};

mod floor;

use floor::Floor;

/// Of a part whose figure is a share or a number of things.
const NO_UNIT: &str = "";

/// All that is wanted, judged by these rounds on this machine.
pub fn evaluate(machine: &Machine, rounds: &[Round]) -> Vec<Target> {
    let judge = Judge { rounds, floor: Floor { machine, rounds } };
    let mut targets = judge.rates().to_vec();
    targets.extend(judge.latencies());
    targets.extend(judge.bursts());
    targets.push(judge.costs());
    targets.extend(judge.overhead());
    targets.push(judge.rot());
    targets.extend(judge.kills());
    targets.extend(judge.search());
    targets.push(judge.plain());
    targets
}

/// What a figure is held against.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Bound {
    Below(f64),
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    fn holds(self, figure: f64) -> bool {
        match self {
            Self::Below(bound) => figure < bound,
            Self::AtMost(bound) => figure <= bound,
            Self::AtLeast(bound) => figure >= bound,
        }
    }
}

/// One figure of a target.
#[derive(Debug)]
struct Part {
    name: &'static str,
    figure: Option<f64>,
    bound: Bound,
    unit: &'static str,
}

fn part(name: &'static str, figure: Option<f64>, bound: Bound, unit: &'static str) -> Part {
    Part { name, figure, bound, unit }
}

impl Part {
    fn met(&self) -> Option<bool> {
        self.figure.map(|figure| self.bound.holds(figure))
    }

    fn text(&self) -> Option<String> {
        let figure = self.figure?;
        let write = if self.unit == "x" { ratio } else { number };
        Some(format!("{} {} {}", self.name, write(figure), self.unit).trim().to_owned())
    }
}

/// A row made of its parts: met if all are, not met if one is not, open if one was not measured.
fn row(id: &str, wanted: &str, parts: &[Part], floor: impl FnOnce() -> Option<String>) -> Target {
    let verdicts: Vec<_> = parts.iter().map(Part::met).collect();
    let met = if verdicts.contains(&Some(false)) {
        Some(false)
    } else {
        verdicts.iter().all(Option::is_some).then_some(true)
    };
    let texts: Vec<_> = parts.iter().filter_map(Part::text).collect();
    Target {
        id: id.to_owned(),
        wanted: wanted.to_owned(),
        measured: (!texts.is_empty()).then(|| texts.join(", ")),
        met,
        floor: (met == Some(false)).then(floor).flatten(),
    }
}

struct Judge<'a> {
    rounds: &'a [Round],
    floor: Floor<'a>,
}

impl<'a> Judge<'a> {
    fn group(&self, scenario: &'a str, lane: Lane) -> Group<'a> {
        Group::of(self.rounds, scenario, lane)
    }

    fn median(
        &self,
        scenario: &'a str,
        lane: Lane,
        figure: impl Fn(&Round) -> Option<f64>,
    ) -> Option<f64> {
        self.group(scenario, lane).median(figure)
    }

    /// The highest median of Syncline's two lanes: what must be small in either.
    fn highest(&self, scenario: &'a str, figure: impl Fn(&Round) -> Option<f64>) -> Option<f64> {
        let medians = [Lane::Direct, Lane::Dapr].map(|lane| self.median(scenario, lane, &figure));
        medians.into_iter().flatten().max_by(f64::total_cmp)
    }

    /// The lowest median of Syncline's two lanes: what must be large in both.
    fn lowest(&self, scenario: &'a str, figure: impl Fn(&Round) -> Option<f64>) -> Option<f64> {
        let medians = [Lane::Direct, Lane::Dapr].map(|lane| self.median(scenario, lane, &figure));
        medians.into_iter().flatten().min_by(f64::total_cmp)
    }

    /// G1: how much of what this machine can do.
    fn rates(&self) -> [Target; 2] {
        let [direct, dapr] = [Lane::Direct, Lane::Dapr].map(|lane| self.group("flood", lane));
        let of_direct = dapr.rate_of(&direct).map(|spread| spread.median);
        [
            row(
                "G1 direct",
                "direct at least 0.50 of the limit of the same round",
                &[part("share", direct.median(of_limit), Bound::AtLeast(0.5), "x")],
                || self.floor.rate("flood", Lane::Direct),
            ),
            row(
                "G1 Dapr",
                "through Dapr at least 0.50 of direct in the same round",
                &[part("share", of_direct, Bound::AtLeast(0.5), "x")],
                || self.floor.sidecars("flood"),
            ),
        ]
    }

    /// G2: how long at 1,000 changes per second.
    fn latencies(&self) -> [Target; 3] {
        let figure = |lane, latency: fn(&Round) -> Latency, pick: fn(Latency) -> f64| {
            self.median("steady-1000", lane, |round| measured(latency(round)).map(pick))
        };
        let commit: fn(&Round) -> Latency = |round| round.figures.commit_to_applied;
        let planned: fn(&Round) -> Latency = |round| round.figures.scheduled_to_applied;
        let through = |pick| figure(Lane::Dapr, commit, pick);
        [
            row(
                "G2 Dapr",
                "at 1,000/s through Dapr, commit to applied P50 below 6 ms, P95 below 25 ms, P99 \
                 below 50 ms",
                &[
                    part("P50", through(|latency| latency.p50), Bound::Below(6.0), "ms"),
                    part("P95", through(|latency| latency.p95), Bound::Below(25.0), "ms"),
                    part("P99", through(|latency| latency.p99), Bound::Below(50.0), "ms"),
                ],
                || self.floor.beside_plain(),
            ),
            row(
                "G2 planned",
                "at 1,000/s through Dapr, scheduled to applied P99 below 100 ms",
                &[part("P99", figure(Lane::Dapr, planned, |it| it.p99), Bound::Below(100.0), "ms")],
                || self.floor.steps(Lane::Dapr),
            ),
            row(
                "G2 direct",
                "at 1,000/s direct, commit to applied P95 below 10 ms",
                &[part("P95", figure(Lane::Direct, commit, |it| it.p95), Bound::Below(10.0), "ms")],
                || self.floor.steps(Lane::Direct),
            ),
        ]
    }

    /// G3: a high rate, an import, a backlog.
    fn bursts(&self) -> Vec<Target> {
        let mut rows = Vec::new();
        for (lane, name) in [(Lane::Direct, "direct"), (Lane::Dapr, "through Dapr")] {
            let figure = |figure: &str| self.median("steady-10000", lane, other(figure));
            let (lag, drained) = (figure("lag_end_s"), figure("drain_s"));
            let floor = || self.floor.rate("flood", lane);
            let mut parts = vec![part("lag", lag, Bound::AtMost(1.0), "s")];
            if let Some(sustained) = figure("sustained") {
                parts.push(part("rate held", Some(sustained), Bound::AtLeast(1.0), NO_UNIT));
            }
            rows.push(row(
                &format!("G3 rate {}", lane.name()),
                &format!("10,000/s for 30 s {name} with a lag of at most 1 s at the end"),
                &parts,
                floor,
            ));
            rows.push(row(
                &format!("G3 after {}", lane.name()),
                &format!("drained at most 5 s after 10,000/s {name}"),
                &[part("drained in", drained, Bound::AtMost(5.0), "s")],
                floor,
            ));
        }
        for (lane, name, most) in
            [(Lane::Direct, "direct", 5.0), (Lane::Dapr, "through Dapr", 10.0)]
        {
            let took = self.median("import", lane, other("import_applied_s"));
            rows.push(row(
                &format!("G3 import {}", lane.name()),
                &format!("100,000 records imported and applied in {most} s {name}"),
                &[part("applied in", took, Bound::AtMost(most), "s")],
                || self.floor.import(lane),
            ));
        }
        let drained = self.median("outage", Lane::Direct, other("drain_per_s"));
        rows.push(row(
            "G3 drain",
            "a backlog drained direct with at least 20,000/s",
            &[part("drained", drained, Bound::AtLeast(20_000.0), "/s")],
            || self.floor.rate("outage", Lane::Direct),
        ));
        rows
    }

    /// G4 is asserted without a clock; here is what the clocked runs used.
    fn costs(&self) -> Target {
        let mut texts = Vec::new();
        for (scenario, rate) in [("steady-1000", "1,000/s"), ("steady-10000", "10,000/s")] {
            let used = |name: &'static str| {
                self.highest(scenario, move |round| round.figures.per_change.get(name).copied())
            };
            let figures = [
                ("statements", used("statements")),
                ("fsyncs", used("fsyncs")),
                ("Redis commands", used("redis_commands")),
                ("Dapr calls", used("dapr_calls")),
            ];
            let said = figures
                .into_iter()
                .filter_map(|(name, figure)| Some(format!("{} {name}", number(figure?))));
            let said: Vec<_> = said.collect();
            if !said.is_empty() {
                texts.push(format!("per change at {rate}: {}", said.join(", ")));
            }
        }
        Target {
            id: "G4".to_owned(),
            wanted: "fixed costs per tick, envelope and delivery (asserted without a clock by the \
                     test `costs`)"
                .to_owned(),
            measured: (!texts.is_empty()).then(|| texts.join("; ")),
            met: None,
            floor: None,
        }
    }

    /// G5: what the source pays for being followed, and what following costs at rest.
    fn overhead(&self) -> [Target; 2] {
        let overhead = |name| self.highest("overhead", other(name));
        let idle = |name| self.highest("idle", other(name));
        let percent = |share: Option<f64>| share.map(|share| share * 100.0);
        let bound = Bound::Below(5.0);
        [
            row(
                "G5 source",
                "with the relay attached, P50 and rate of the source change by less than 5 %",
                &[
                    part("P50 longer by", percent(overhead("overhead_p50")), bound, "%"),
                    part("rate lower by", percent(overhead("overhead_rate")), bound, "%"),
                ],
                || self.floor.relay(),
            ),
            row(
                "G5 idle",
                "an idle relay takes less than 1 % of a processor and 25 queries/s",
                &[
                    part("processor", percent(idle("cpu_share")), Bound::Below(1.0), "%"),
                    part("queries", idle("queries_per_s"), Bound::Below(25.0), "/s"),
                ],
                || self.floor.relay(),
            ),
        ]
    }

    /// G6: a transaction held open for ten minutes.
    fn rot(&self) -> Target {
        let held = self.lowest("rot", other("held_rate"));
        let tail = self.highest("rot", other("clean_p95_ratio"));
        let slots = self.highest("rot", other("slot_mib"));
        let kept = self.lowest("rot", other("sustained"));
        row(
            "G6",
            "a writing transaction held open for 10 minutes at 1,000/s: at least 0.98 of the rate \
             applied, P95 within 2x of clean, outbox at most 256 MiB",
            &[
                part("rate", held, Bound::AtLeast(0.98), "x"),
                part("rate held", kept, Bound::AtLeast(1.0), NO_UNIT),
                part("P95", tail, Bound::AtMost(2.0), "x"),
                part("outbox", slots, Bound::AtMost(OUTBOX_MIB_MAX), "MiB"),
            ],
            || self.floor.outbox(slots.filter(|mib| *mib > OUTBOX_MIB_MAX)),
        )
    }

    /// G7: nothing lost and nothing backwards, whatever is killed. A stalled host excuses nothing,
    /// so discarded rounds count for what is counted.
    fn kills(&self) -> [Target; 2] {
        let all: Vec<_> = self.rounds.iter().filter(|round| round.scenario == "kills").collect();
        let sum = |pick: fn(&Round) -> u64| {
            (!all.is_empty()).then(|| all.iter().map(|round| pick(round)).sum::<u64>() as f64)
        };
        let kills = all.iter().filter_map(|round| other("kills")(round)).sum::<f64>();
        let duplicates = sum(|round| round.figures.duplicates);
        let changes = sum(|round| round.figures.changes);
        let mut counted = vec![
            part("changes", changes, Bound::AtLeast(1e6), NO_UNIT),
            part("lost", sum(|round| round.figures.lost), Bound::AtMost(0.0), NO_UNIT),
            part("backwards", sum(|round| round.figures.out_of_order), Bound::AtMost(0.0), NO_UNIT),
        ];
        if kills > 0.0 {
            let most = Bound::AtMost(kills * 2.0);
            counted.push(part("envelopes delivered again", duplicates, most, NO_UNIT));
        }
        let recovery = self.highest("kills", other("recovery_max_s"));
        [
            row(
                "G7 counts",
                "over 1,000,000 changes with a kill every 20 s none lost, none backwards, at most \
                 2 batches delivered again per kill",
                &counted,
                || duplicates.filter(|count| *count > 2.0 * kills).map(Floor::repeats),
            ),
            row(
                "G7 recovery",
                "back to steady lag within 2 s of each kill",
                &[part("longest", recovery, Bound::Below(2.0), "s")],
                || self.floor.steps(Lane::Direct),
            ),
        ]
    }

    /// G8: until a search finds it, and until a read by its id is fresh.
    fn search(&self) -> [Target; 2] {
        let found = self.highest("search", |round| {
            measured(round.figures.commit_to_found).map(|latency| latency.p95)
        });
        let fresh = |lane| {
            self.median("steady-1000", lane, |round| {
                measured(round.figures.commit_to_clean).map(|latency| latency.p95)
            })
        };
        [
            row(
                "G8 search",
                "found at 1,000/s with P95 below 120 ms, at most 20 commits/s, at most 30 segments",
                &[
                    part("P95", found, Bound::Below(120.0), "ms"),
                    part(
                        "commits",
                        self.highest("search", other("commits_per_s")),
                        Bound::AtMost(20.0),
                        "/s",
                    ),
                    part(
                        "segments",
                        self.highest("search", other("segments")),
                        Bound::AtMost(30.0),
                        NO_UNIT,
                    ),
                ],
                || self.floor.index(),
            ),
            row(
                "G8 by id",
                "by its id at 1,000/s P95 below 30 ms, as commit to applied and clean cache",
                &[
                    part("direct P95", fresh(Lane::Direct), Bound::Below(30.0), "ms"),
                    part("Dapr P95", fresh(Lane::Dapr), Bound::Below(30.0), "ms"),
                ],
                || self.floor.steps(Lane::Dapr),
            ),
        ]
    }

    /// Against a plain Dapr app.
    fn plain(&self) -> Target {
        let [dapr, plain] = [Lane::Dapr, Lane::PlainDapr].map(|lane| self.group("flood", lane));
        let times = dapr.rate_of(&plain).map(|spread| spread.median);
        row(
            "plain",
            "through Dapr at least 3x the throughput of a plain Dapr app in the same run",
            &[part("ratio", times, Bound::AtLeast(3.0), "x")],
            || self.floor.rates_of(&dapr, &plain),
        )
    }
}

/// What the outbox may take: about half of what ten minutes at 1,000/s write, so that it holds only
/// if slots were emptied meanwhile.
const OUTBOX_MIB_MAX: f64 = 256.0;

#[cfg(test)]
mod tests;
