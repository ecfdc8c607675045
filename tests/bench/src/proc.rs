//! What the kernel says of processes: processor time and memory, with their children.

use std::fs;
use std::time::Duration;

/// Clock ticks per second of `/proc`, which Linux has fixed for programs.
const TICKS: u64 = 100;

/// Processor time of a process and all below it since their start, of those that have ended too.
pub fn cpu(pid: u32) -> Duration {
    let below = children(pid).into_iter().map(cpu).sum::<Duration>();
    own_cpu(pid) + below
}

/// Memory in bytes that belongs to a process and all below it alone. It walks their page tables, so
/// this is not for the time of a measurement.
pub fn memory(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let private = rollup.lines().filter(|line| line.starts_with("Private_"));
    let kib = private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.sum::<u64>() * 1_024 + children(pid).into_iter().map(memory).sum::<u64>()
}

/// Pids of processes whose parent is this one.
fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let listed = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    listed
        .flat_map(|text| {
            text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()
        })
        .collect()
}

/// How long so many ticks are.
pub(crate) const fn of_ticks(ticks: u64) -> Duration {
    Duration::from_micros(ticks * (1_000_000 / TICKS))
}

fn own_cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name stands in parentheses and may hold anything.
    let fields: Vec<u64> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().skip(1).map(|f| f.parse().unwrap_or(0)).collect())
        .unwrap_or_default();
    of_ticks(fields.get(10..14).unwrap_or_default().iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_what_it_has_used() {
        let end = std::time::Instant::now() + Duration::from_millis(60);
        let mut sum = 0_u64;
        while std::time::Instant::now() < end {
            sum = sum.wrapping_mul(31).wrapping_add(7);
        }
        assert_ne!(sum, 1);
        let (cpu, memory) = (cpu(std::process::id()), memory(std::process::id()));
        assert!(cpu >= Duration::from_millis(20), "{cpu:?}");
        assert!(memory > 100_000, "{memory}");
    }
}
