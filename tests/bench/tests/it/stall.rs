//! A stall of the host is told from the load of the benchmark itself.

use std::hint::black_box;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bench::stall::{Gaps, Sentinel, calibrate};

/// A real host may stall while a test runs: one quiet try of these shows that the load is no stall.
const TRIES: usize = 10;
const STALL: Duration = Duration::from_millis(50);

/// Runs something while four threads for each processor calculate without a pause.
fn under_load<T>(run: impl FnOnce() -> T) -> T {
    let ended = AtomicBool::new(false);
    let threads = 4 * thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut count = 0_u64;
                while !ended.load(Ordering::Relaxed) {
                    count = black_box(count.wrapping_mul(3) + 1);
                }
            });
        }
        let result = run();
        ended.store(true, Ordering::Relaxed);
        result
    })
}

fn watch_for(span: Duration) -> anyhow::Result<Gaps> {
    let sentinel = Sentinel::start()?;
    thread::sleep(span);
    sentinel.finish()
}

#[test]
fn a_load_that_fills_every_processor_is_no_stall() -> anyhow::Result<()> {
    let mut seen = Vec::new();
    for _ in 0..TRIES {
        let gaps = under_load(|| watch_for(Duration::from_millis(500)))?;
        seen.push(gaps);
        if gaps.host < STALL {
            return Ok(());
        }
    }
    panic!("our own load looks like a stall: {seen:?}");
}

#[test]
fn a_process_that_is_stopped_has_stalled() -> anyhow::Result<()> {
    let sentinel = Sentinel::start()?;
    let script = "kill -STOP $PPID; sleep 0.2; kill -CONT $PPID";
    assert!(Command::new("sh").args(["-c", script]).status()?.success());
    let gaps = sentinel.finish()?;
    assert!(gaps.host >= Duration::from_millis(150), "{gaps:?}");
    Ok(())
}

#[test]
fn a_load_that_fills_every_processor_does_not_slow_the_calibration() -> anyhow::Result<()> {
    let mut seen = Vec::new();
    for _ in 0..TRIES {
        let (quiet, loaded) = (calibrate()?, under_load(calibrate)?);
        seen.push((quiet, loaded));
        if loaded.0 > 0.7 * quiet.0 {
            return Ok(());
        }
    }
    panic!("our own load slows the calibration: {seen:?}");
}
