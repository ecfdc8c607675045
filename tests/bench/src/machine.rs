//! What a run took place on: the machine, the versions of what ran, and room for it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{IpAddr, ToSocketAddrs as _, UdpSocket};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::NoTls;
use tokio_postgres::config::Host;

use crate::figures::Machine;
use crate::stall::processors;

const SERVER_VERSION: &str = include_str!("../queries/server_version.sql");

/// What PostgreSQL writes at least at each commit.
const PAGE: [u8; 8_192] = [7; 8_192];
/// Pages of the file that is written round and round, as a log is that reuses its files.
const PAGES: u64 = 16;
/// How many writes the median is of.
const WRITES: u64 = 101;
/// What is said of a thing that this machine does not tell.
const UNKNOWN: &str = "unknown";

impl Machine {
    /// Looks at this machine; `folder` is where the databases lie.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            cpus: u32::try_from(processors()?.len())?,
            cpu: field(&read("/proc/cpuinfo")?, "model name").unwrap_or(UNKNOWN).to_owned(),
            memory_mib: memory_mib(&read("/proc/meminfo")?).context("no memory is told")?,
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            fdatasync_ms: fdatasync_ms(folder)?,
        })
    }
}

/// The versions of what runs, by name; the commit is that of the working directory.
pub async fn versions(
    database_url: &SecretString,
    redis_url: &SecretString,
    daprd: &Path,
) -> anyhow::Result<BTreeMap<String, String>> {
    let rustc = said(Command::new("rustc").arg("--version"));
    let rustc = rustc.as_deref().and_then(|text| text.split_whitespace().nth(1));
    let versions = [
        ("commit", commit()),
        ("rustc", rustc.unwrap_or(UNKNOWN).to_owned()),
        ("postgres", postgres(database_url).await?),
        ("redis", redis(redis_url).await?),
        ("daprd", said(Command::new(daprd).arg("--version")).unwrap_or(UNKNOWN.to_owned())),
    ];
    Ok(versions.map(|(name, version)| (name.to_owned(), version)).into())
}

/// The room that is left on the disk of a folder, in MiB.
pub fn free_mib(folder: &Path) -> anyhow::Result<u64> {
    let disk = rustix::fs::statvfs(folder);
    let disk = disk.with_context(|| format!("ask for the room in {}", folder.display()))?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize) / (1024 * 1024))
}

/// Whether the database is on this machine, so that its work is part of what is measured.
pub fn is_local(database_url: &SecretString) -> anyhow::Result<bool> {
    let config: tokio_postgres::Config =
        database_url.expose_secret().parse().context("read the database's URL")?;
    let addresses = config.get_hostaddrs();
    if !addresses.is_empty() {
        return Ok(addresses.iter().all(|address| is_own(*address)));
    }
    let hosts = config.get_hosts();
    Ok(!hosts.is_empty() && hosts.iter().all(is_local_host))
}

fn is_local_host(host: &Host) -> bool {
    let name = match host {
        Host::Tcp(name) => name,
        Host::Unix(_) => return true,
    };
    let Ok(addresses) = (name.as_str(), 0).to_socket_addrs() else { return false };
    let mut addresses = addresses.peekable();
    addresses.peek().is_some() && addresses.all(|address| is_own(address.ip()))
}

/// Only an address of this machine can be bound to.
fn is_own(address: IpAddr) -> bool {
    address.is_loopback() || UdpSocket::bind((address, 0)).is_ok()
}

fn read(path: &str) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {path}"))
}

/// The first value of a name, in the way that `/proc` writes both.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.find_map(|(key, value)| (key.trim() == name).then_some(value.trim()))
}

fn memory_mib(text: &str) -> Option<u64> {
    let kib: u64 = field(text, "MemTotal")?.strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024)
}

/// Removes its file when it is dropped.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // A file that cannot be removed is 128 KiB in a folder that is removed later.
        let _ = fs::remove_file(&self.0);
    }
}

/// The median of writes of a page that are durable when they return, in milliseconds.
fn fdatasync_ms(folder: &Path) -> anyhow::Result<f64> {
    let scratch = Scratch(folder.join(format!("fdatasync-{}", std::process::id())));
    let context = || format!("measure the disk with {}", scratch.0.display());
    let file = File::create_new(&scratch.0).with_context(context)?;
    let page_bytes = PAGE.len() as u64;
    for page in 0..PAGES {
        file.write_all_at(&PAGE, page * page_bytes).with_context(context)?;
    }
    file.sync_all().with_context(context)?;
    let mut took = Vec::new();
    for write in 0..WRITES {
        let began = Instant::now();
        file.write_all_at(&PAGE, write % PAGES * page_bytes).with_context(context)?;
        file.sync_data().with_context(context)?;
        took.push(began.elapsed());
    }
    took.sort();
    Ok(took.get(took.len() / 2).map_or(0.0, |middle| middle.as_secs_f64() * 1e3))
}

/// What a program prints, if it does and succeeds.
fn said(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success()).then_some(text)
}

fn commit() -> String {
    let head = said(Command::new("git").args(["rev-parse", "--short", "HEAD"]));
    let changes = said(Command::new("git").args(["status", "--porcelain"]));
    commit_name(head, changes.as_deref())
}

fn commit_name(head: Option<String>, changes: Option<&str>) -> String {
    match (head, changes) {
        (None, _) => UNKNOWN.to_owned(),
        (Some(head), Some("")) => head,
        (Some(head), _) => format!("{head}-dirty"),
    }
}

async fn postgres(url: &SecretString) -> anyhow::Result<String> {
    let connecting = tokio_postgres::connect(url.expose_secret(), NoTls).await;
    let (client, connection) = connecting.context("connect to PostgreSQL")?;
    let asking = async {
        let row = client.query_one(SERVER_VERSION, &[]).await?;
        anyhow::Ok(row.try_get::<_, String>("version")?)
    };
    tokio::select! {
        version = asking => version.context("ask PostgreSQL for its version"),
        ended = connection => {
            ended.context("talk to PostgreSQL")?;
            anyhow::bail!("PostgreSQL ended the connection")
        }
    }
}

async fn redis(url: &SecretString) -> anyhow::Result<String> {
    let client = ::redis::Client::open(url.expose_secret()).context("read the URL of Redis")?;
    let connecting = client.get_multiplexed_async_connection().await;
    let mut connection = connecting.context("connect to Redis")?;
    let mut ask = ::redis::cmd("INFO");
    let told: String =
        ask.arg("server").query_async(&mut connection).await.context("ask Redis for itself")?;
    Ok(field(&told, "redis_version").unwrap_or(UNKNOWN).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_tells_is_read() {
        let text = "MemTotal:       24683520 kB\nMemFree:  1 kB\n";
        assert_eq!(memory_mib(text), Some(24_105));
        assert_eq!(memory_mib("MemFree: 1 kB\n"), None);
        let text = "processor\t: 0\nmodel name\t: A Model\nmodel name\t: Another\n";
        assert_eq!(field(text, "model name"), Some("A Model"));
    }

    #[test]
    fn a_commit_with_changes_upon_it_is_marked() {
        let head = || Some("1c6fe1c".to_owned());
        assert_eq!(commit_name(head(), Some("")), "1c6fe1c");
        assert_eq!(commit_name(head(), Some(" M a")), "1c6fe1c-dirty");
        assert_eq!(commit_name(None, Some("")), "unknown");
    }

    #[test]
    fn databases_of_this_machine_are_told_from_others() {
        let local = |url: &str| is_local(&SecretString::from(url)).unwrap();
        assert!(local("postgres://a@127.0.0.1:5432/b"));
        assert!(local("postgres://a@[::1]/b"));
        assert!(local("postgres://a@%2Frun%2Fpostgresql/b"));
        assert!(local("host=elsewhere.invalid hostaddr=127.0.0.1"));
        // An address that is set aside for documentation, and a name that nobody can have.
        assert!(!local("postgres://a@192.0.2.1/b"));
        assert!(!local("postgres://a@127.0.0.1,192.0.2.1/b"));
        assert!(!local("postgres://a@elsewhere.invalid/b"));
    }

    #[test]
    fn a_disk_is_measured_and_left_as_it_was() {
        let folder = std::env::temp_dir().join(format!("bench-disk-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let machine = Machine::read(&folder).unwrap();
        assert!(machine.fdatasync_ms > 0.0 && machine.cpus > 0 && machine.memory_mib > 0);
        assert!(free_mib(&folder).unwrap() > 0);
        fs::remove_dir(&folder).unwrap();
        assert!(free_mib(&folder).is_err());
    }
}
