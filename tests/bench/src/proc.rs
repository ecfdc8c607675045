//! What the kernel says of processes: processor time and memory, with their children.

use std::fs;
use std::time::Duration;

/// Clock ticks per second of `/proc`, which Linux has fixed for programs.
const TICKS: u64 = 100;

/// What processes have used.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Processor time since their start, of children that have ended too.
    pub cpu: Duration,
    /// Memory that is theirs alone now, in bytes.
    pub memory: u64,
}

/// The usage of a process and all below it.
pub fn usage(pid: u32) -> Usage {
    let mut sum = one(pid);
    for child in children(pid) {
        let below = usage(child);
        sum.cpu += below.cpu;
        sum.memory += below.memory;
    }
    sum
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

fn one(pid: u32) -> Usage {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name stands in parentheses and may hold anything.
    let fields: Vec<u64> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().skip(1).map(|f| f.parse().unwrap_or(0)).collect())
        .unwrap_or_default();
    let ticks: u64 = fields.get(10..14).unwrap_or_default().iter().sum();
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let private = rollup
        .lines()
        .filter(|line| line.starts_with("Private_"))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    Usage {
        cpu: Duration::from_micros(ticks * (1_000_000 / TICKS)),
        memory: private.sum::<u64>() * 1_024,
    }
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
        let usage = usage(std::process::id());
        assert!(usage.cpu >= Duration::from_millis(20), "{usage:?}");
        assert!(usage.memory > 100_000, "{usage:?}");
    }
}
