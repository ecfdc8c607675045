//! A run in a file, which a later run is compared with.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::figures::{FORMAT, Figures, Run, State};

/// What is read first, whatever the rest looks like.
#[derive(Debug, Deserialize)]
struct Versioned {
    format: u32,
}

/// Writes a run into a file, whole or not at all. A stalled run is written without its figures.
pub fn save(run: &Run, path: &Path) -> Result<()> {
    let text = to_json(run)?;
    let unfinished = path.with_extension("json.unfinished");
    fs::write(&unfinished, text)
        .with_context(|| format!("writing the run to {}", unfinished.display()))?;
    fs::rename(&unfinished, path).with_context(|| format!("writing the run to {}", path.display()))
}

/// Reads a run from a file.
pub fn load(path: &Path) -> Result<Run> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("reading the run in {}", path.display()))?;
    from_json(&text).with_context(|| format!("reading the run in {}", path.display()))
}

fn to_json(run: &Run) -> Result<String> {
    let said = if run.state == State::Invalid { &without_figures(run) } else { run };
    let mut text = serde_json::to_string_pretty(said).context("writing a run as JSON")?;
    text.push('\n');
    from_json(&text).context("a figure of this run is not a number")?;
    Ok(text)
}

fn from_json(text: &str) -> Result<Run> {
    let versioned: Versioned = serde_json::from_str(text).context("this is not a run")?;
    ensure!(
        versioned.format == FORMAT,
        "it has format {}, and this program reads format {FORMAT}",
        versioned.format
    );
    serde_json::from_str(text).context("this is not a run")
}

/// A stalled run says why, and no number.
fn without_figures(run: &Run) -> Run {
    let mut run = run.clone();
    for round in &mut run.rounds {
        round.figures = Figures::default();
        round.limit = None;
    }
    run.targets.clear();
    run
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_run_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        save(&sample::run(), &path).unwrap();
        let loaded = load(&path).unwrap();
        assert_eq!(loaded.rounds.len(), sample::run().rounds.len());
        assert_eq!(loaded.machine, sample::run().machine);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn another_format_is_refused_by_its_number() {
        let error = from_json(r#"{"format": 7, "what": "else"}"#).unwrap_err();
        assert!(error.to_string().contains("format 7"), "{error}");
        assert!(from_json("{}").is_err());
    }

    #[test]
    fn a_run_without_a_reason_is_read() {
        let text = to_json(&sample::run()).unwrap().replace("\"reason\": null,", "");
        assert_eq!(from_json(&text).unwrap().reason, None);
    }

    #[test]
    fn a_figure_that_is_no_number_is_found_before_it_is_saved() {
        let mut run = sample::run();
        run.rounds[0].figures.applied = f64::NAN;
        assert!(to_json(&run).is_err());
    }

    #[test]
    fn a_stalled_run_is_saved_without_its_figures() {
        let run = from_json(&to_json(&sample::invalid()).unwrap()).unwrap();
        assert!(run.rounds.iter().all(|round| round.figures == Figures::default()));
        assert!(run.rounds.iter().all(|round| round.discarded.is_some() && round.limit.is_none()));
        assert!(run.targets.is_empty());
    }
}
