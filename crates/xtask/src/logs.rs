//! `cargo x logs <part>`: what a part wrote, and what it writes.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _, stdout},
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    home::{Home, HomeArgs},
    settings::Settings,
};

/// What `cargo x logs` may be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    home: HomeArgs,
    /// Whose: a service, `<service>-sidecar`, `postgres`, `redis` or `supervisor`
    part: String,
    /// Go on as it writes, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
}

/// Prints the log of a part.
pub(crate) fn run(_settings: &Settings, args: &Args) -> Result<ExitCode> {
    let home = args.home.home()?;
    let path = home.log(&args.part);
    if !path.is_file() {
        bail!("there is no log of `{}`; there are: {}", args.part, names(&home).join(", "));
    }
    let mut file = open(&path)?;
    let mut out = stdout();
    loop {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        out.write_all(&bytes)?;
        out.flush()?;
        if !args.follow {
            return Ok(ExitCode::SUCCESS);
        }
        thread::sleep(Duration::from_millis(200));
        // A new start puts the log aside and begins another.
        if fs::metadata(&path)
            .is_ok_and(|now| file.metadata().is_ok_and(|old| old.ino() != now.ino()))
        {
            file = open(&path)?;
        }
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("opening {}", path.display()))
}

fn names(home: &Home) -> Vec<String> {
    let Ok(entries) = fs::read_dir(home.path("logs")) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            Some(entry.ok()?.file_name().to_str()?.strip_suffix(".log")?.to_owned())
        })
        .collect();
    names.sort();
    names
}
