//! A private PostgreSQL: where its data lie, how it is made, started and asked.

use std::{
    ffi::OsStr,
    fs,
    net::Ipv4Addr,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    home::{self, Home},
    machine,
    mesh::{Database, SERVICES},
    plan::PostgresPlan,
    process,
    secrets::{SUPERUSER, Secrets},
};

/// Settings that differ from PostgreSQL's own; durability is left as it is, on.
const SETTINGS: &[&str] = &[
    "unix_socket_directories=",
    "max_connections=200",
    "max_prepared_transactions=50",
    "synchronous_commit=on",
    "jit=off",
    "timezone=UTC",
    "log_timezone=UTC",
    "log_line_prefix=%m [%p] %u@%d ",
];

/// Makes the groups that migrations grant to.
pub(crate) const GROUPS: &str = include_str!("../psql/groups.sql");

/// Where the data of a home lie, or will, and as whom PostgreSQL runs on them.
///
/// It refuses to run as root, so root needs a user for it, and that user a place that it can reach.
pub(crate) fn place(home: &Home, bin: PathBuf) -> Result<PostgresPlan> {
    let within = home.path("postgres");
    if !process::is_root() {
        return Ok(PostgresPlan { bin, data: within, user: None });
    }
    let user = machine::postgres_user()?;
    let data = if within.exists() || can_reach(&user, home.root()) {
        within
    } else {
        outside(home)?.join("postgres")
    };
    Ok(PostgresPlan { bin, data, user: Some(user) })
}

/// The major version that wrote the data of a home, if there are any.
pub(crate) fn data_version(home: &Home) -> Option<u32> {
    let folders = [home.path("postgres"), outside_path(home).join("postgres")];
    let text = folders.iter().find_map(|data| fs::read_to_string(data.join("PG_VERSION")).ok())?;
    machine::first_number(&text)
}

/// The folder below `/var/lib` for a home that PostgreSQL's user cannot reach.
pub(crate) fn outside_path(home: &Home) -> PathBuf {
    let bytes = home.root().as_os_str().as_encoded_bytes().iter();
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    PathBuf::from(format!("/var/lib/syncline/{hash:016x}"))
}

/// The command that makes the cluster, unless it is there; what is half made is made again.
pub(crate) fn preparation(plan: &PostgresPlan, password: &str) -> Result<Option<Command>> {
    if plan.data.join("PG_VERSION").exists() {
        forget_stale_lock(plan)?;
        return Ok(None);
    }
    let fresh = fresh_folder(plan);
    let _ = fs::remove_dir_all(&fresh);
    fs::create_dir_all(&fresh).with_context(|| format!("making {}", fresh.display()))?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o700))?;
    let secret = password_file(plan);
    home::write_text(&secret, password)?;
    if let Some(user) = &plan.user {
        let (uid, gid) = ids_of(user)?;
        chown(&fresh, Some(uid), Some(gid))?;
        chown(&secret, Some(uid), Some(gid))?;
    }
    let mut command = process::tied(&plan.bin.join("initdb"), plan.user.as_deref());
    command.arg("--pgdata").arg(&fresh).arg(format!("--pwfile={}", secret.display()));
    command.args(["--username", SUPERUSER, "--auth=scram-sha-256"]);
    command.args(["--encoding=UTF8", "--locale=C.UTF-8"]).current_dir("/");
    Ok(Some(command))
}

/// Makes the cluster, unless it is there, and waits for it.
pub(crate) fn initialise(plan: &PostgresPlan, password: &str, log: &Path) -> Result<()> {
    let Some(mut command) = preparation(plan, password)? else { return Ok(()) };
    let file = fs::File::options().create(true).append(true).open(log)?;
    let command = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let status = command.status().context("starting initdb")?;
    if !status.success() {
        bail!("initdb ended with {status}, see {}", log.display());
    }
    settle(plan)
}

/// Puts a cluster that was made well in its place.
pub(crate) fn settle(plan: &PostgresPlan) -> Result<()> {
    let _ = fs::remove_file(password_file(plan));
    fs::rename(fresh_folder(plan), &plan.data).context("putting the new cluster in its place")
}

fn fresh_folder(plan: &PostgresPlan) -> PathBuf {
    plan.data.with_extension("new")
}

fn password_file(plan: &PostgresPlan) -> PathBuf {
    plan.data.with_extension("password")
}

/// The server as it is to be started.
pub(crate) fn server(plan: &PostgresPlan, port: u16) -> Command {
    let mut command = process::tied(&plan.bin.join("postgres"), plan.user.as_deref());
    command.arg("-D").arg(&plan.data).arg("-c").arg(format!("port={port}"));
    command.args(["-c", &format!("listen_addresses={}", Ipv4Addr::LOCALHOST)]);
    for setting in SETTINGS {
        command.args(["-c", setting]);
    }
    command.current_dir("/");
    command
}

/// Whether it answers a question.
pub(crate) fn answers(plan: &PostgresPlan, port: u16, password: &str) -> Result<(), String> {
    let mut command = psql(&plan.bin, port, password);
    let output = command.args(["-c", "select"]).stdin(Stdio::null()).output();
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// The script that makes roles and databases of the mesh, as far as they are missing.
pub(crate) fn setup_script(secrets: &Secrets) -> Result<String> {
    let mut script = GROUPS.to_owned();
    for service in SERVICES.iter().filter(|service| service.has_database()) {
        for role in crate::secrets::roles(service) {
            let variables = [("role", role.as_str()), ("password", secrets.password(&role)?)];
            run_with(&mut script, &variables, include_str!("../psql/role.sql"));
        }
        let owner = service.owner_role();
        let variables =
            [("database", service.name), ("owner", owner.as_str()), ("role", service.name)];
        run_with(&mut script, &variables, include_str!("../psql/database.sql"));
        if service.database == Database::Masters {
            let relay = service.relay_role();
            let variables = [("database", service.name), ("role", relay.as_str())];
            run_with(&mut script, &variables, include_str!("../psql/relay.sql"));
        }
    }
    Ok(script)
}

/// PostgreSQL's own client, asking as superuser, quiet, ending at the first error.
pub(crate) fn psql(bin: &Path, port: u16, password: &str) -> Command {
    let mut command = Command::new(bin.join("psql"));
    command
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", SUPERUSER])
        .args(["-p", &port.to_string(), "-d", "postgres"])
        .env("PGPASSWORD", password)
        .env("PGCONNECT_TIMEOUT", "5");
    command
}

/// Names and passwords of ours need no quoting: letters, digits, `-` and `_`.
fn run_with(script: &mut String, variables: &[(&str, &str)], statements: &str) {
    for (name, value) in variables {
        script.push_str(&format!("\\set {name} '{value}'\n"));
    }
    script.push_str(statements);
}

fn outside(home: &Home) -> Result<PathBuf> {
    let folder = outside_path(home);
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    fs::write(folder.join("home"), home.root().as_os_str().as_encoded_bytes())?;
    Ok(folder)
}

fn can_reach(user: &str, folder: &Path) -> bool {
    let mut command = process::tied(Path::new("test"), Some(user));
    command.args([OsStr::new("-x"), folder.as_os_str()]).current_dir("/");
    command.status().is_ok_and(|status| status.success())
}

/// A lock file of a server that is gone keeps a new one out if its number was given to another.
fn forget_stale_lock(plan: &PostgresPlan) -> Result<()> {
    let lock = plan.data.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&lock) else { return Ok(()) };
    let pid = text.lines().next().unwrap_or_default();
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    if name.trim() == "postgres" {
        return Ok(());
    }
    fs::remove_file(&lock).with_context(|| format!("removing the stale {}", lock.display()))
}

fn ids_of(user: &str) -> Result<(u32, u32)> {
    let known = fs::read_to_string("/etc/passwd").context("reading /etc/passwd")?;
    let ids = known.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(user)).then_some(())?;
        let uid = fields.nth(1)?.parse().ok()?;
        Some((uid, fields.next()?.parse().ok()?))
    });
    ids.with_context(|| format!("there is no user {user}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_sets_its_variables_first() {
        let mut script = String::new();
        run_with(&mut script, &[("role", "a_b")], "alter role :\"role\";\n");
        assert_eq!(script, "\\set role 'a_b'\nalter role :\"role\";\n");
    }

    #[test]
    fn root_is_user_zero() {
        assert_eq!(ids_of("root").unwrap(), (0, 0));
    }
}
