//! `cargo x daprd`: finds the Dapr sidecar, or builds a slim one from its published Go module.

use std::{
    fs::{self, File},
    io::{BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::{
    machine::{self, Found},
    progress::{self, Step},
    settings::Settings,
};

/// The version that is built, and that the behaviour of the bus was checked with.
pub(crate) const VERSION: &str = "1.18.3";
/// What a sidecar found elsewhere must be: other lines acknowledge failed deliveries otherwise.
const LINE: &str = "1.18.";
const MODULE: &str = "github.com/dapr/dapr";

/// The files that decide what is built.
const RECIPE: [(&str, &str); 4] = [
    ("go.mod", include_str!("../daprd/go.mod")),
    ("go.sum", include_str!("../daprd/go.sum")),
    ("main.go", include_str!("../daprd/main.go")),
    ("components/components.go", include_str!("../daprd/components/components.go")),
];

/// What `cargo x daprd` may be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Build it even if there is one
    #[arg(long)]
    build: bool,
}

/// Prints where the sidecar's program is, after building it if need be.
pub(crate) fn run(settings: &Settings, args: &Args) -> Result<ExitCode> {
    let found = if args.build { build(settings)? } else { find_or_build(settings)? };
    progress::say("daprd", &format!("{} ({})", found.path.display(), found.version));
    Ok(ExitCode::SUCCESS)
}

/// Finds the sidecar's program or builds it.
pub(crate) fn find_or_build(settings: &Settings) -> Result<Found> {
    match find(settings)? {
        Some(found) => Ok(found),
        None => build(settings),
    }
}

/// Looks where a sidecar may be: named, in PATH, where Dapr's own command puts it, in the cache.
pub(crate) fn find(settings: &Settings) -> Result<Option<Found>> {
    if let Some(named) = &settings.daprd {
        let version = said_version(named)
            .with_context(|| format!("$DAPRD names {}, which does not run", named.display()))?;
        return Ok(Some(Found { path: named.clone(), version }));
    }
    let usual = settings.user_home.join(".dapr/bin/daprd");
    let candidates = std::env::split_paths(&settings.path).map(|folder| folder.join("daprd"));
    let candidates = candidates.chain([usual, cached(settings)]);
    for path in candidates.filter(|path| path.is_file()) {
        match said_version(&path) {
            Some(version) if version.starts_with(LINE) => return Ok(Some(Found { path, version })),
            Some(version) => {
                let what = format!("{} is {version}, not {LINE}x: left alone", path.display());
                progress::say("daprd", &what);
            }
            None => {}
        }
    }
    Ok(None)
}

/// Builds the sidecar into the cache; whoever comes second waits for the first.
pub(crate) fn build(settings: &Settings) -> Result<Found> {
    let Some(go) = go(settings) else {
        bail!("there is no daprd {LINE}x and no Go to build it with; {MEND}");
    };
    let target = cached(settings);
    let cache = settings.cache().join("daprd");
    fs::create_dir_all(&cache).with_context(|| format!("making {}", cache.display()))?;
    let mut step = Step::begin("daprd", "waits for another build of it");
    let lock = File::create(cache.join("build.lock"))?;
    let mut waited = false;
    while lock.try_lock().is_err() {
        waited = true;
        step.tick();
        thread::sleep(Duration::from_millis(200));
    }
    if waited && said_version(&target).as_deref() == Some(VERSION) {
        step.done(&format!("{VERSION} built by another, {}", target.display()));
        return Ok(Found { path: target, version: VERSION.to_owned() });
    }
    let log = cache.join("build.log");
    let built = Build { go: &go, folder: cache.join("build"), log: &log }.run(&target, &mut step);
    if let Err(error) = built {
        step.drop_line();
        return Err(error
            .context(format!("building daprd {VERSION} failed, see {}; {MEND}", log.display())));
    }
    step.done(&format!("{VERSION} built, {}", target.display()));
    Ok(Found { path: target, version: VERSION.to_owned() })
}

/// What helps where no sidecar can be had.
pub(crate) const MEND: &str = concat!(
    "install Go 1.26 (https://go.dev/dl), or name a daprd 1.18 in $DAPRD, ",
    "or run without sidecars: cargo x up --transport none"
);

/// One build, in a folder of its own.
struct Build<'a> {
    go: &'a Path,
    folder: PathBuf,
    log: &'a Path,
}

impl Build<'_> {
    fn run(&self, target: &Path, step: &mut Step) -> Result<()> {
        let _ = fs::remove_dir_all(&self.folder);
        File::create(self.log)?;
        for (name, text) in RECIPE {
            let path = self.folder.join(name);
            fs::create_dir_all(path.parent().unwrap_or(&self.folder))?;
            fs::write(path, text)?;
        }
        step.doing(format!("fetching {MODULE} {VERSION}"));
        let source = self.download(step)?;
        step.doing("copying its sources");
        let copy = self.folder.join("dapr-src");
        copy_tree(&source, &copy)?;
        let registered = self.folder.join("components/components.go");
        fs::copy(registered, copy.join("cmd/daprd/components/zz_notag.go"))?;
        self.compile(step)?;
        let program = self.folder.join("daprd");
        if said_version(&program).as_deref() != Some(VERSION) {
            bail!("the program that was built does not say {VERSION}");
        }
        fs::rename(&program, target)?;
        fs::remove_dir_all(&self.folder)?;
        Ok(())
    }

    fn download(&self, step: &mut Step) -> Result<PathBuf> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Downloaded {
            dir: PathBuf,
        }
        let mut command = self.command();
        command.args(["mod", "download", "-json", &format!("{MODULE}@v{VERSION}")]);
        let answer = self.follow(command.stdout(Stdio::piped()), step, |_, _| {})?;
        let downloaded: Downloaded =
            serde_json::from_str(&answer).context("reading what `go mod download` answered")?;
        Ok(downloaded.dir)
    }

    fn compile(&self, step: &mut Step) -> Result<()> {
        let flags = format!("-s -w -X {MODULE}/pkg/buildinfo.version={VERSION}");
        let mut command = self.command();
        command.args([
            "build",
            "-v",
            "-mod=mod",
            "-buildvcs=false",
            "-trimpath",
            "-ldflags",
            &flags,
        ]);
        command.args(["-o", "daprd", "."]).env("CGO_ENABLED", "0").stdout(Stdio::piped());
        let mut packages = 0_u32;
        step.doing("compiling (about 4 minutes on two cores)");
        self.follow(&mut command, step, |line, step| {
            if !line.starts_with("go: ") {
                packages += 1;
                step.doing(format!("compiling (about 4 minutes), {packages} packages"));
            }
        })?;
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.go);
        command.current_dir(&self.folder).env("GOWORK", "off").stdin(Stdio::null());
        command
    }

    /// Runs a command, keeps what it says in the log, shows that it lives; answers its output.
    fn follow(
        &self,
        command: &mut Command,
        step: &mut Step,
        mut on_line: impl FnMut(&str, &mut Step),
    ) -> Result<String> {
        let mut child = command.stderr(Stdio::piped()).spawn().context("starting go")?;
        let mut log = File::options().append(true).open(self.log)?;
        let stderr = child.stderr.take().context("no error output to read")?;
        let lines = lines_of(BufReader::new(stderr));
        let stdout = child.stdout.take().context("no output to read")?;
        let answer = thread::spawn(move || std::io::read_to_string(stdout));
        loop {
            match lines.recv_timeout(Duration::from_millis(100)) {
                Ok(line) => {
                    writeln!(log, "{line}")?;
                    on_line(&line, step);
                }
                Err(RecvTimeoutError::Timeout) => step.tick(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = child.wait()?;
        let answer = answer.join().ok().context("reading the output of go")??;
        if !status.success() {
            let _ = log.write_all(answer.as_bytes());
            bail!("go ended with {status}");
        }
        Ok(answer)
    }
}

/// Reads lines in a thread, so that the reader can do something while none comes.
pub(crate) fn lines_of(reader: impl std::io::BufRead + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in reader.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Where the cache keeps the program that this recipe makes.
fn cached(settings: &Settings) -> PathBuf {
    settings.cache().join("daprd").join(format!("daprd-{VERSION}-{:08x}", fingerprint()))
}

/// FNV-1a over the recipe: any change of it names another program.
fn fingerprint() -> u32 {
    let bytes = RECIPE.iter().flat_map(|(name, text)| name.bytes().chain(text.bytes()));
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// A build without a release's number calls itself `edge`.
fn said_version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    text.lines().last().map(|line| line.trim().to_owned())
}

/// The Go that would build it.
pub(crate) fn go(settings: &Settings) -> Option<PathBuf> {
    let usual = PathBuf::from("/usr/local/go/bin/go");
    machine::in_path(settings, "go").or_else(|| Some(usual).filter(|path| path.is_file()))
}

/// Copies a folder; files of the module cache are read-only, the copies must not be.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::write(&target, fs::read(entry.path())?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_sidecar_that_does_not_run_is_an_error_and_not_replaced() {
        let settings = Settings { daprd: Some("/nonexistent".into()), ..Settings::for_tests() };
        assert!(find(&settings).is_err());
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        assert_eq!(find(&Settings::for_tests()).unwrap(), None);
    }
}
