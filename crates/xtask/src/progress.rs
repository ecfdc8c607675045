//! Lines that say what is done and what is waited for, on a terminal and in a file alike.

use std::{
    io::{IsTerminal as _, Write as _, stdout},
    time::{Duration, Instant},
};

/// Without a terminal a step that takes longer than this says that it is still at it.
const FIRST_SIGN: Duration = Duration::from_secs(2);
const LATER_SIGNS: Duration = Duration::from_secs(10);

/// A step that has begun and will say how it ended.
///
/// On a terminal its line is there at once and is rewritten; elsewhere it is printed when it is
/// done, and before that only as a sign of life.
#[derive(Debug)]
pub(crate) struct Step {
    name: String,
    doing: String,
    since: Instant,
    next_sign: Instant,
    terminal: bool,
}

impl Step {
    /// Begins a step.
    pub(crate) fn begin(name: &str, doing: impl Into<String>) -> Self {
        Self::begin_at(Instant::now(), name, doing)
    }

    /// Begins a step that has been under way for a while.
    pub(crate) fn begin_at(since: Instant, name: &str, doing: impl Into<String>) -> Self {
        let mut step = Self {
            name: name.to_owned(),
            doing: doing.into(),
            since,
            next_sign: Instant::now() + FIRST_SIGN,
            terminal: stdout().is_terminal(),
        };
        if step.terminal {
            step.next_sign = since;
            step.tick();
        }
        step
    }

    /// Says what it is doing now.
    pub(crate) fn doing(&mut self, doing: impl Into<String>) {
        self.doing = doing.into();
        self.tick();
    }

    /// Gives a sign of life when one is due; to be called often.
    pub(crate) fn tick(&mut self) {
        let now = Instant::now();
        if now < self.next_sign {
            return;
        }
        if self.terminal {
            self.next_sign = now + Duration::from_millis(250);
            let line = self.line(&format!("{} ...", self.doing));
            print_raw(&format!("\r\x1b[2K{line}"));
        } else {
            self.next_sign = now + LATER_SIGNS;
            print_line(&self.line(&format!("{} ...", self.doing)));
        }
    }

    /// Ends the step well.
    pub(crate) fn done(self, what: &str) {
        self.clear();
        print_line(&self.line(what));
    }

    /// Ends the step without a word, because somebody else tells what became of it.
    pub(crate) fn drop_line(self) {
        self.clear();
    }

    fn clear(&self) {
        if self.terminal {
            print_raw("\r\x1b[2K");
        }
    }

    fn line(&self, what: &str) -> String {
        let text = format!("  {:<22} {what}", self.name);
        format!("{text:<84} {:>7}", duration(self.since.elapsed()))
    }
}

/// A line of its own.
pub(crate) fn say(name: &str, what: &str) {
    print_line(&format!("  {name:<22} {what}"));
}

/// A line as it is. Whoever read the output may be gone: that must not end a supervisor.
pub(crate) fn print_line(line: &str) {
    print_raw(&format!("{line}\n"));
}

/// The same without an end of line.
pub(crate) fn print_raw(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// A duration as people say it.
pub(crate) fn duration(taken: Duration) -> String {
    let seconds = taken.as_secs();
    if seconds < 60 {
        format!("{:.1} s", taken.as_secs_f32())
    } else {
        format!("{}m {:02}s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(duration(Duration::from_millis(140)), "0.1 s");
        assert_eq!(duration(Duration::from_secs(265)), "4m 25s");
    }
}
