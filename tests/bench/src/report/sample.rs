//! A run as a machine might have measured it, for the tests of the report.

use std::collections::BTreeMap;

use chrono::{TimeZone as _, Utc};

use crate::figures::{FORMAT, Figures, Lane, Latency, Limit, Machine, Round, Run, State, Target};

/// A whole run of three rounds: steady rates and a flood in all lanes, an import in two.
pub(crate) fn run() -> Run {
    let mut rounds = Vec::new();
    for number in 1..=3 {
        for lane in Lane::ALL {
            for scenario in ["steady-500", "steady-1000", "steady-10000", "flood", "import"] {
                if scenario != "import" || lane != Lane::PlainDapr {
                    rounds.push(round(scenario, lane, number));
                }
            }
        }
    }
    Run {
        format: FORMAT,
        began_at: Utc.with_ymd_and_hms(2026, 11, 21, 12, 0, 0).unwrap(),
        took_s: 480.0,
        mode: "quick".to_owned(),
        state: State::Complete,
        reason: None,
        machine: machine(),
        versions: [("commit", "0123abc"), ("postgres", "15.18"), ("redis", "7.0.15")]
            .map(|(name, version)| (name.to_owned(), version.to_owned()))
            .into(),
        rounds,
        targets: vec![Target {
            id: "G2".to_owned(),
            wanted: "P50 < 6 ms".to_owned(),
            measured: Some("P50 7 ms".to_owned()),
            met: Some(false),
            floor: Some("the steps at rest take 4 ms".to_owned()),
        }],
    }
}

/// Two processors and a quick disk.
pub(crate) fn machine() -> Machine {
    Machine {
        cpus: 2,
        cpu: "Example CPU".to_owned(),
        memory_mib: 16_384,
        kernel: "6.1.0".to_owned(),
        fdatasync_ms: 0.1,
    }
}

/// A clean round; the lanes differ, and the rounds by a little.
pub(crate) fn round(scenario: &str, lane: Lane, number: u32) -> Round {
    let slower = match lane {
        Lane::Direct => 1.0,
        Lane::Dapr => 2.0,
        Lane::PlainDapr => 8.0,
    };
    let noise = 1.0 + f64::from(number) / 100.0;
    let offered = scenario.strip_prefix("steady-").and_then(|rate| rate.parse().ok());
    Round {
        scenario: scenario.to_owned(),
        lane,
        number,
        discarded: None,
        limit: Some(Limit {
            commits: 14_000.0 * noise,
            added: 280_000.0,
            read: 290_000.0,
            upserted: 55_000.0,
            memory_read_ns: Some(40.0 * noise),
        }),
        longest_gap_ms: 4.0,
        calibration: 0.97,
        figures: figures(offered.unwrap_or(0.0), slower, noise),
    }
}

fn figures(offered: f64, slower: f64, noise: f64) -> Figures {
    let able = 8_000.0 / slower / noise;
    Figures {
        offered,
        changes: 30_000,
        applied: if offered > 0.0 { offered.min(able) } else { able },
        scheduled_to_applied: latency(3.5 * slower * noise),
        commit_to_applied: latency(2.5 * slower * noise),
        commit_to_clean: latency(3.0 * slower * noise),
        steps: [("detect", 1.0), ("publish", 0.4), ("commit", 0.5), ("zebra", 0.1)]
            .map(|(name, ms)| (name.to_owned(), latency(ms * slower)))
            .into(),
        cpu_us: named([("writer", 40.0), ("relay", 12.0), ("consumer", 20.0), ("postgres", 60.0)]),
        memory_mib: named([("relay", 22.0), ("consumer", 25.0)]),
        per_change: named([("wal_bytes", 1_720.0), ("statements", 2.1), ("fsyncs", 0.6)]),
        others: named([("lag_end_s", 0.2), ("import_applied_s", 3.0 * slower)]),
        ..Figures::default()
    }
}

/// Names with their figures.
pub(crate) fn named<const N: usize>(figures: [(&str, f64); N]) -> BTreeMap<String, f64> {
    figures.map(|(name, figure)| (name.to_owned(), figure)).into()
}

/// A latency with this median.
pub(crate) fn latency(p50: f64) -> Latency {
    let times = |factor: f64| p50 * factor;
    Latency {
        count: 30_000,
        p50,
        p95: times(2.0),
        p99: times(4.0),
        p999: times(8.0),
        max: times(16.0),
    }
}

/// The same round, stalled.
pub(crate) fn discarded(mut round: Round) -> Round {
    round.discarded = Some("no thread ran for a while".to_owned());
    round
}

/// The run, stalled throughout.
pub(crate) fn invalid() -> Run {
    let mut run = run();
    run.state = State::Invalid;
    run.rounds = run.rounds.into_iter().map(discarded).collect();
    run
}
