//! How far away memory is now: what a machine cannot show by arithmetic.
//!
//! A virtual machine shares the host's last cache with others. When they are busy, what PostgreSQL
//! keeps there must come from memory, and each change costs up to half as much again, while no
//! thread stands still and no calculation becomes slower. Reads of which each needs the one before,
//! strewn over more than the caches of one processor, show it.

use std::hint::black_box;
use std::time::Duration;

use super::run_queue::RunQueue;

/// 16 MiB of places: beyond a processor's own caches, within the one it shares.
const PLACES: u32 = 4 << 20;
/// Reads that are timed: 15 to 75 ms, depending on the answer.
const READS: u32 = 500_000;
/// Reads before that, so that each time begins alike.
const WARM: u32 = 100_000;

/// Places that lead from one to the next, all of them in one ring, in no order.
#[derive(Debug)]
pub struct Memory(Vec<u32>);

impl Memory {
    /// Lays them out; takes some tenths of a second.
    pub fn lay_out() -> Self {
        let mut next: Vec<u32> = (0..PLACES).collect();
        let mut state: u64 = 88_172_645_463_325_252;
        // Only with places before it: that makes one ring of all.
        for place in (1..next.len()).rev() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            next.swap(place, usize::try_from(state).unwrap_or(0) % place);
        }
        Self(next)
    }

    /// Nanoseconds of one read; blocks the calling thread. Waits behind others of this machine do
    /// not count.
    pub fn read_ns(&self) -> anyhow::Result<f64> {
        let queue = RunQueue::open()?;
        let start = self.walk(0, WARM);
        let before = queue.now()?;
        black_box(self.walk(black_box(start), READS));
        let after = queue.now()?;
        let waited = after.waited.saturating_sub(before.waited);
        Ok(per_read(after.at - before.at, waited))
    }

    fn walk(&self, start: u32, reads: u32) -> u32 {
        let step = |place: u32, _| self.0.get(place as usize).copied().unwrap_or(0);
        (0..reads).fold(start, step)
    }
}

fn per_read(took: Duration, waited: Duration) -> f64 {
    took.saturating_sub(waited).as_secs_f64() * 1e9 / f64::from(READS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_are_one_ring() {
        let memory = Memory::lay_out();
        assert_eq!(memory.walk(0, PLACES), 0);
        let mut place = memory.walk(0, 1);
        let mut met = 1;
        while place != 0 {
            place = memory.walk(place, 1);
            met += 1;
        }
        assert_eq!(met, PLACES);
    }

    #[test]
    fn waiting_for_others_makes_no_read_longer() {
        let ms = Duration::from_millis;
        assert!((per_read(ms(25), ms(0)) - 50.0).abs() < 1e-6);
        assert!((per_read(ms(75), ms(50)) - 50.0).abs() < 1e-6);
    }
}
