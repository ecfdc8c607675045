//! Work in stages: each with its time, one after another to the end, and a table of them all.

use std::{
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::progress::duration;

/// The stages so far.
#[derive(Debug, Default)]
pub(crate) struct Stages {
    ended: Vec<Ended>,
}

#[derive(Debug)]
struct Ended {
    name: String,
    taken: Duration,
    result: Result<String, String>,
}

impl Stages {
    /// Does a stage, says how it ended, and goes on either way; the answer is whether it went well.
    pub(crate) fn run(&mut self, name: &str, work: impl FnOnce() -> Result<String>) -> bool {
        println!("\n== {name}");
        let start = Instant::now();
        let result = work().map_err(|error| format!("{error:#}"));
        let stage = Ended { name: name.to_owned(), taken: start.elapsed(), result };
        println!("{}", stage.line());
        let well = stage.result.is_ok();
        self.ended.push(stage);
        well
    }

    /// Whether every stage so far went well.
    pub(crate) fn all_well(&self) -> bool {
        self.ended.iter().all(|stage| stage.result.is_ok())
    }

    /// Prints the table; success only if every stage went well and there was one.
    pub(crate) fn finish(self, title: &str) -> ExitCode {
        println!("\n== {title}");
        for stage in &self.ended {
            println!("{}", stage.line());
        }
        let taken = self.ended.iter().map(|stage| stage.taken).sum();
        let failed = self.ended.iter().filter(|stage| stage.result.is_err()).count();
        let stages = self.ended.len();
        println!("   {stages} stages, {failed} failed, in {}", duration(taken));
        if stages > 0 && failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl Ended {
    fn line(&self) -> String {
        let (mark, what) = match &self.result {
            Ok(what) => ("ok", what),
            Err(why) => ("FAILED", why),
        };
        let what = what.lines().next().unwrap_or_default();
        format!("   {:<12} {mark:<6} {:>8}  {what}", self.name, duration(self.taken))
    }
}

/// Runs a command that speaks for itself.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let status =
        command.status().with_context(|| format!("starting {:?}", command.get_program()))?;
    if !status.success() {
        bail!("it ended with {status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_stage_fails_the_whole_and_does_not_end_it() {
        let mut stages = Stages::default();
        assert!(!stages.run("one", || bail!("no")));
        assert!(stages.run("two", || Ok("fine".to_owned())));
        assert_eq!(stages.ended.len(), 2);
        assert_eq!(format!("{:?}", stages.finish("all")), format!("{:?}", ExitCode::FAILURE));
    }

    #[test]
    fn no_stage_at_all_is_no_success() {
        let code = Stages::default().finish("none");
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::FAILURE));
    }
}
