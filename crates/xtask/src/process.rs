//! Processes of this machine: telling ours from a stranger with the same number, and ending it.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};

/// A process as it can be recognised later: numbers are used again, a number with its start is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Its number.
    pub(crate) pid: i32,
    started: u64,
    boot: String,
}

impl Identity {
    /// Remembers the process that has this number now.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let pid = i32::try_from(pid).ok()?;
        Some(Self { pid, started: started(pid)?, boot: boot() })
    }

    /// Whether this very process still runs.
    pub(crate) fn is_alive(&self) -> bool {
        started(self.pid) == Some(self.started) && boot() == self.boot
    }

    /// Sends a signal, unless the number belongs to another process by now.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.checked() {
            // It may end between the check and the signal; that is what was wanted.
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends the process and all of its group at once.
    pub(crate) fn kill_group(&self) {
        if let Some(pid) = self.checked() {
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// Waits until it is gone; says whether it is.
    pub(crate) fn wait_gone(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.is_alive() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(20));
        }
        true
    }

    fn checked(&self) -> Option<Pid> {
        self.is_alive().then(|| Pid::from_raw(self.pid)).flatten()
    }
}

/// A command whose process dies with the thread that starts it and does not hear the terminal.
///
/// The signal at the parent's death follows the *thread*: start such a command only from one that
/// lives as long as its children should.
pub(crate) fn tied(program: &Path, user: Option<&str>) -> Command {
    let mut command = Command::new("setpriv");
    if let Some(user) = user {
        command.args(["--reuid", user, "--regid", user, "--init-groups"]);
    }
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).process_group(0);
    command
}

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// When the process started, in ticks since the machine did; nothing if it is gone or a zombie.
fn started(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything, brackets too.
    let mut fields = stat.get(stat.rfind(')')? + 2..)?.split(' ');
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_while_it_runs_and_not_afterwards() {
        let mut child = tied(Path::new("sleep"), None).arg("60").spawn().unwrap();
        let identity = Identity::of(child.id()).unwrap();
        assert!(identity.is_alive());

        identity.kill_group();
        child.wait().unwrap();
        assert!(!identity.is_alive());
        assert!(identity.wait_gone(Duration::ZERO));
    }

    #[test]
    fn another_process_with_the_same_number_is_a_stranger() {
        let own = Identity::of(std::process::id()).unwrap();
        let stranger = Identity { started: own.started + 1, ..own };
        assert!(!stranger.is_alive());
        stranger.kill_group();
    }
}
