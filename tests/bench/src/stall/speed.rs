//! How fast this machine calculates now, whatever else runs on it.

use std::hint::black_box;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;

use super::run_queue::RunQueue;
use super::{processors, stay_on};

/// About 50 ms of a processor of 2.6 GHz in a release build.
const STEPS: u32 = 30_000_000;
/// One standstill of some milliseconds says nothing about a round: the middle one of these counts.
const TRIES: usize = 3;

/// Millions of steps of a fixed calculation in a second, on the slowest processor.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Speed(pub f64);

/// Measures every processor at once, for about 150 ms; blocks the calling thread.
///
/// Our own load lengthens that, and does not change the answer: times in which the calculation
/// stood in the run queue do not count, and times that the host stole from it do.
pub fn calibrate() -> anyhow::Result<Speed> {
    let cpus = processors()?;
    let speeds = thread::scope(|scope| {
        let threads: Vec<_> = cpus.iter().map(|cpu| scope.spawn(|| speed_of(*cpu))).collect();
        let joined = threads.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a calibration died")))
        });
        joined.collect::<anyhow::Result<Vec<_>>>()
    })?;
    let slowest = speeds.into_iter().min_by(f64::total_cmp).context("there is no processor")?;
    Ok(Speed(slowest))
}

fn speed_of(cpu: usize) -> anyhow::Result<f64> {
    stay_on(cpu)?;
    let queue = RunQueue::open()?;
    let mut speeds = Vec::new();
    for _ in 0..TRIES {
        let before = queue.now()?;
        black_box(calculate(black_box(STEPS)));
        let after = queue.now()?;
        speeds.push(speed(after.at - before.at, after.waited.saturating_sub(before.waited)));
    }
    Ok(middle(speeds))
}

/// Nothing but arithmetic, each step of which needs the one before.
#[inline(never)]
fn calculate(steps: u32) -> u64 {
    let mut state: u64 = 88_172_645_463_325_252;
    for _ in 0..steps {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    state
}

fn speed(took: Duration, waited: Duration) -> f64 {
    f64::from(STEPS) / 1e6 / took.saturating_sub(waited).as_secs_f64().max(1e-9)
}

fn middle(mut speeds: Vec<f64>) -> f64 {
    speeds.sort_by(f64::total_cmp);
    speeds.get(speeds.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_others_makes_no_machine_slower_and_stolen_time_does() {
        let ms = Duration::from_millis;
        assert!((speed(ms(50), ms(0)) - 600.0).abs() < 1e-6);
        assert!((speed(ms(150), ms(100)) - 600.0).abs() < 1e-6);
        assert!((speed(ms(100), ms(0)) - 300.0).abs() < 1e-6);
    }

    #[test]
    fn one_bad_try_does_not_count() {
        assert!((middle(vec![600.0, 90.0, 610.0]) - 600.0).abs() < 1e-6);
    }
}
