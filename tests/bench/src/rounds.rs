//! The rounds of a run: watched by the gate, repeated where they do not count.
#![expect(clippy::print_stdout, reason = "long work says how far it is")]

use std::time::{Duration, Instant};

use crate::clock::Moment;
use crate::figures::{Figures, Lane, Latency, Limit, Round};
use crate::plan::{Item, Plan};
use crate::stall::{Gate, Others, Sentinel, Verdict, Watched, calibrate};

/// Rounds beyond those that are wanted, to make up for discarded ones.
const EXTRA_MAX: u32 = 3;

/// How a run ended.
#[derive(Debug)]
pub enum End {
    /// All was carried out.
    Done,
    /// It ended early, for this reason.
    Broken(String),
    /// The machine stalled for so long that no number is said.
    Invalid(String),
}

/// The rounds so far.
#[derive(Debug)]
pub struct Rounds {
    gate: Gate,
    rounds: Vec<(Round, Watched)>,
    wanted: Vec<(String, Lane, u32)>,
    number: u32,
    invalid: Option<String>,
    began: Instant,
    /// This process and the servers: all that the run consists of lies below them.
    ours: Vec<u32>,
}

impl Rounds {
    /// None yet.
    pub fn begin(plan: &Plan, servers: &[(&str, u32)]) -> anyhow::Result<Self> {
        let wanted = plan
            .items
            .iter()
            .flat_map(|item| item.lanes.iter().map(|lane| (item.kind.name(), *lane, item.rounds)));
        Ok(Self {
            gate: Gate::new(calibrate()?, Moment::now()),
            rounds: Vec::new(),
            wanted: wanted.collect(),
            number: 0,
            invalid: None,
            began: Instant::now(),
            ours: servers.iter().map(|(_, pid)| *pid).chain([std::process::id()]).collect(),
        })
    }

    /// Begins another round, if one is wanted.
    pub fn next_round(&mut self) -> bool {
        let most = self.wanted.iter().map(|(.., rounds)| *rounds).max().unwrap_or(0);
        self.number += 1;
        self.number <= most + EXTRA_MAX && !self.is_complete()
    }

    /// What a lane is to do in this round.
    pub fn wanted(&self, plan: &Plan, lane: Lane) -> Vec<Item> {
        let of_lane = plan.items.iter().filter(|item| item.lanes.contains(&lane));
        let lacking = of_lane.filter(|item| self.clean(&item.kind.name(), lane) < item.rounds);
        lacking.cloned().collect()
    }

    /// Why the run says no number, if so.
    pub fn invalid(&mut self) -> Option<String> {
        self.invalid.take()
    }

    /// Carries one scenario out under watch, and keeps what came of it.
    pub async fn watch(
        &mut self,
        (scenario, lane): (String, Lane),
        limit: Option<Limit>,
        work: impl Future<Output = anyhow::Result<Figures>>,
    ) -> anyhow::Result<Figures> {
        let before = calibrate()?;
        let (sentinel, others) = (Sentinel::start()?, Others::start(self.ours.clone())?);
        let began = Instant::now();
        let worked = work.await;
        let (gaps, others) = (sentinel.finish()?, others.share()?);
        let figures = worked?;
        let watched = Watched { before, after: calibrate()?, longest_gap: gaps.host, others };
        let discarded = match self.gate.judge(&watched, Moment::now()) {
            Verdict::Clean => None,
            Verdict::Discarded(reason) => Some(reason),
            Verdict::Invalid(reason) => {
                self.invalid = Some(reason.clone());
                Some(reason)
            }
        };
        let round = Round {
            scenario,
            lane,
            number: self.number,
            discarded,
            limit,
            longest_gap_ms: gaps.host.as_secs_f64() * 1_000.0,
            calibration: self.gate.share(&watched),
            figures: figures.clone(),
        };
        self.say(&round, began.elapsed());
        self.rounds.push((round, watched));
        Ok(figures)
    }

    /// All rounds, judged once more now that the machine's best is known, and whether enough of
    /// them are clean.
    pub fn finish(mut self) -> (Vec<Round>, bool) {
        for (round, watched) in &mut self.rounds {
            round.discarded = self.gate.complaint(watched);
            round.calibration = self.gate.share(watched);
        }
        let is_complete = self.is_complete();
        (self.rounds.into_iter().map(|(round, _)| round).collect(), is_complete)
    }

    fn is_complete(&self) -> bool {
        self.wanted.iter().all(|(scenario, lane, rounds)| self.clean(scenario, *lane) >= *rounds)
    }

    fn clean(&self, scenario: &str, lane: Lane) -> u32 {
        let of = |round: &Round| {
            round.scenario == scenario && round.lane == lane && round.discarded.is_none()
        };
        let clean = self.rounds.iter().filter(|(round, _)| of(round)).count();
        u32::try_from(clean).unwrap_or(u32::MAX)
    }

    fn say(&self, round: &Round, took: Duration) {
        let at = self.began.elapsed().as_secs();
        let verdict = round.discarded.as_deref().unwrap_or("clean");
        let latency = round.figures.commit_to_applied;
        let took = took.as_secs_f64();
        let mut line = format!("{:>3}:{:02}  round {}", at / 60, at % 60, round.number);
        line.push_str(&format!(
            " {:<6} {:<15} took {took:>5.1} s",
            round.lane.name(),
            round.scenario
        ));
        if round.figures.applied > 0.0 {
            line.push_str(&format!("  {:>6.0}/s", round.figures.applied));
        }
        if latency.count > 0 {
            let Latency { p50, p95, p99, .. } = latency;
            line.push_str(&format!("  p50 {p50:.1} ms  p95 {p95:.1} ms  p99 {p99:.1} ms"));
        }
        println!("{line}  {verdict}");
    }
}
