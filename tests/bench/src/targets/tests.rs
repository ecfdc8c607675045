//! Each target is met, missed and left open by figures that should do so.

use super::*;
use crate::report::sample::{self, discarded, named, round};

fn judged(rounds: &[Round], id: &str) -> Target {
    let targets = evaluate(&sample::machine(), rounds);
    targets.into_iter().find(|target| target.id == id).unwrap()
}

/// One clean round changed by `change`.
fn changed(scenario: &str, lane: Lane, change: impl FnOnce(&mut Round)) -> Round {
    let mut round = round(scenario, lane, 1);
    change(&mut round);
    round
}

fn with<const N: usize>(scenario: &str, lane: Lane, others: [(&str, f64); N]) -> Vec<Round> {
    vec![changed(scenario, lane, |round| round.figures.others = named(others))]
}

#[test]
fn every_target_has_its_row_and_an_empty_run_leaves_all_open() {
    let targets = evaluate(&sample::machine(), &[]);
    let ids: Vec<_> = targets.iter().map(|target| target.id.as_str()).collect();
    let wanted = [
        "G1 direct",
        "G1 Dapr",
        "G2 Dapr",
        "G2 planned",
        "G2 direct",
        "G3 rate direct",
        "G3 after direct",
        "G3 rate Dapr",
        "G3 after Dapr",
        "G3 import direct",
        "G3 import Dapr",
        "G3 drain",
        "G4",
        "G5 source",
        "G5 idle",
        "G6",
        "G7 counts",
        "G7 recovery",
        "G8 search",
        "G8 by id",
        "plain",
    ];
    assert_eq!(ids, wanted);
    for target in targets {
        let Target { measured, met, floor, .. } = target;
        assert_eq!((measured, met, floor), (None, None, None), "{}", target.id);
    }
}

#[test]
fn a_stalled_round_decides_nothing() {
    let rounds = [discarded(round("flood", Lane::Direct, 1))];
    assert_eq!(judged(&rounds, "G1 direct").measured, None);
}

#[test]
fn the_direct_lane_is_held_against_the_limit_of_its_round() {
    let rate = |applied| {
        [changed("flood", Lane::Direct, |round| {
            round.limit.as_mut().unwrap().commits = 10_000.0;
            round.figures.applied = applied;
        })]
    };
    let met = judged(&rate(5_000.0), "G1 direct");
    assert_eq!((met.met, met.measured.as_deref()), (Some(true), Some("share 0.50 x")));
    assert_eq!(met.floor, None);
    let missed = judged(&rate(4_900.0), "G1 direct");
    assert_eq!(missed.met, Some(false));
    let floor = missed.floor.unwrap();
    assert!(floor.contains("as many as go are 4,900/s"), "{floor}");
    assert!(floor.contains("at 132 us per change 2 processors give 15,152/s"), "{floor}");
    assert!(floor.contains("10,000 commits/s"), "{floor}");
}

#[test]
fn dapr_is_held_against_direct_and_plain_against_dapr() {
    let flood = |lane, applied| changed("flood", lane, |round| round.figures.applied = applied);
    let rounds = |dapr, plain| {
        [
            flood(Lane::Direct, 10_000.0),
            changed("flood", Lane::Dapr, |round| {
                round.figures.applied = dapr;
                round.figures.cpu_us.insert("relay-daprd".to_owned(), 30.0);
            }),
            flood(Lane::PlainDapr, plain),
        ]
    };
    assert_eq!(judged(&rounds(5_000.0, 1_600.0), "G1 Dapr").met, Some(true));
    assert_eq!(judged(&rounds(5_000.0, 1_600.0), "plain").met, Some(true));
    let slow = rounds(4_000.0, 1_600.0);
    let floor = judged(&slow, "G1 Dapr").floor.unwrap();
    assert!(floor.starts_with("the sidecars take 30 us of processor per change"), "{floor}");
    let plain = judged(&slow, "plain");
    assert_eq!((plain.met, plain.measured.as_deref()), (Some(false), Some("ratio 2.50 x")));
    let floor = plain.floor.unwrap();
    assert_eq!(floor, "Dapr 4,000/s with 162 us per change; plain 1,600/s with 132 us per change");
}

#[test]
fn each_percentile_of_the_latency_counts() {
    let rounds = |p50, p99| {
        [
            round("steady-500", Lane::Dapr, 1),
            changed("steady-1000", Lane::Dapr, |round| {
                round.figures.commit_to_applied.p50 = p50;
                round.figures.commit_to_applied.p99 = p99;
                round.figures.scheduled_to_applied.p99 = p99;
            }),
        ]
    };
    let met = judged(&rounds(5.9, 49.0), "G2 Dapr");
    assert_eq!(met.met, Some(true));
    assert_eq!(met.measured.as_deref(), Some("P50 5.90 ms, P95 10.1 ms, P99 49 ms"));
    assert_eq!(judged(&rounds(6.0, 49.0), "G2 Dapr").met, Some(false));
    let missed = judged(&rounds(5.9, 100.0), "G2 planned");
    let floor = missed.floor.unwrap();
    assert!(floor.starts_with("at 500/s the steps take 4 ms at P50 (commit 1, "), "{floor}");
    assert!(floor.contains("the longest step at 1,000/s is detect with P99 8 ms"), "{floor}");
    assert!(floor.ends_with("one fdatasync takes 0.100 ms"), "{floor}");
    assert_eq!(judged(&rounds(5.9, 49.0), "G2 direct").met, None);
}

#[test]
fn bursts_have_a_row_for_each_part() {
    let lag = |lag, held| {
        let others = [("lag_end_s", lag), ("drain_s", 2.0), ("sustained", held)];
        with("steady-10000", Lane::Dapr, others)
    };
    assert_eq!(judged(&lag(1.0, 1.0), "G3 rate Dapr").met, Some(true));
    assert_eq!(judged(&lag(1.1, 1.0), "G3 rate Dapr").met, Some(false));
    assert_eq!(judged(&lag(0.1, 0.0), "G3 rate Dapr").met, Some(false), "the rate was not held");
    assert_eq!(judged(&lag(9.0, 1.0), "G3 after Dapr").met, Some(true));
    assert_eq!(judged(&lag(9.0, 1.0), "G3 after direct").met, None);
    let import =
        |lane, took| with("import", lane, [("import_applied_s", took), ("import_answered_s", 4.0)]);
    assert_eq!(judged(&import(Lane::Dapr, 9.0), "G3 import Dapr").met, Some(true));
    let direct = judged(&import(Lane::Direct, 9.0), "G3 import direct");
    assert_eq!(direct.met, Some(false));
    let floor = direct.floor.unwrap();
    assert!(floor.contains("the source alone took 4 s"), "{floor}");
    assert!(floor.contains("upserting as many rows and nothing else takes 1.82 s"), "{floor}");
    let drain = |rate| with("outage", Lane::Direct, [("drain_per_s", rate)]);
    assert_eq!(judged(&drain(20_000.0), "G3 drain").met, Some(true));
    assert_eq!(judged(&drain(19_000.0), "G3 drain").met, Some(false));
}

#[test]
fn fixed_costs_are_reported_and_asserted_elsewhere() {
    let target = judged(&[round("steady-1000", Lane::Direct, 1)], "G4");
    assert!(target.wanted.contains("the test `costs`"));
    let measured = target.measured.as_deref();
    assert_eq!(measured, Some("per change at 1,000/s: 2.10 statements, 0.600 fsyncs"));
    assert_eq!((target.met, target.floor), (None, None));
}

#[test]
fn what_following_costs_is_judged_in_the_worse_lane() {
    let source = |direct, dapr| {
        let mut rounds =
            with("overhead", Lane::Direct, [("overhead_p50", direct), ("overhead_rate", 0.01)]);
        let others = [("overhead_p50", dapr), ("overhead_rate", 0.01)];
        rounds.extend(with("overhead", Lane::Dapr, others));
        rounds
    };
    assert_eq!(judged(&source(0.02, 0.04), "G5 source").met, Some(true));
    let missed = judged(&source(0.02, 0.06), "G5 source");
    assert_eq!(missed.met, Some(false));
    assert_eq!(missed.measured.as_deref(), Some("P50 longer by 6 %, rate lower by 1 %"));
    let idle = |share, queries| {
        with("idle", Lane::Direct, [("cpu_share", share), ("queries_per_s", queries)])
    };
    assert_eq!(judged(&idle(0.009, 24.0), "G5 idle").met, Some(true));
    assert_eq!(judged(&idle(0.009, 25.0), "G5 idle").met, Some(false));
}

#[test]
fn a_target_of_which_a_part_is_missing_is_missed_or_open_never_met() {
    let rounds = |share| with("idle", Lane::Direct, [("cpu_share", share)]);
    assert_eq!(judged(&rounds(0.001), "G5 idle").met, None);
    assert_eq!(judged(&rounds(0.02), "G5 idle").met, Some(false));
}

#[test]
fn a_held_transaction_slows_nothing() {
    let rot = |held, ratio, mib| {
        let rest = [("held_rate", held), ("clean_p95_ratio", ratio)];
        let others = [rest[0], rest[1], ("slot_mib", mib), ("sustained", 1.0)];
        judged(&with("rot", Lane::Direct, others), "G6").met
    };
    assert_eq!(rot(0.98, 2.0, 256.0), Some(true));
    assert_eq!(rot(0.97, 2.0, 256.0), Some(false));
    assert_eq!(rot(0.98, 2.1, 256.0), Some(false));
    assert_eq!(rot(0.98, 2.0, 300.0), Some(false));
}

#[test]
fn what_is_lost_on_a_stalled_host_is_lost() {
    let kills = |lost, duplicates| {
        changed("kills", Lane::Direct, |round| {
            round.figures.changes = 1_000_000;
            (round.figures.lost, round.figures.duplicates) = (lost, duplicates);
            round.figures.others = named([("recovery_max_s", 1.5), ("kills", 10.0)]);
        })
    };
    assert_eq!(judged(&[kills(0, 20)], "G7 counts").met, Some(true));
    assert_eq!(judged(&[kills(0, 21)], "G7 counts").met, Some(false));
    assert_eq!(judged(&[kills(0, 0)], "G7 recovery").met, Some(true));
    let stalled = judged(&[kills(0, 0), discarded(kills(1, 0))], "G7 counts");
    assert_eq!(stalled.met, Some(false));
}

#[test]
fn a_search_finds_soon_with_few_commits() {
    let search = |p95, commits| {
        [changed("search", Lane::Dapr, |round| {
            round.figures.commit_to_found = sample::latency(p95 / 2.0);
            round.figures.others = named([("commits_per_s", commits), ("segments", 12.0)]);
        })]
    };
    assert_eq!(judged(&search(119.0, 20.0), "G8 search").met, Some(true));
    assert_eq!(judged(&search(119.0, 21.0), "G8 search").met, Some(false));
    let floor = judged(&search(121.0, 20.0), "G8 search").floor.unwrap();
    assert!(floor.starts_with("the 9 syncs of a commit of the index take 0.900 ms"), "{floor}");
    assert_eq!(judged(&search(119.0, 20.0), "G8 by id").met, None);
}
