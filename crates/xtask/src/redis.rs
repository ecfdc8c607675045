//! A private Redis, for streams or as the cache: closed, bounded, and trusted with nothing.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{home::Home, mesh::Transport, process};

/// What a Redis is for. They are two servers, since each forgets by another rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Carries changes. When memory is full it refuses instead of dropping what somebody has yet to
    /// read; what it forgets all the same, consumers read from the source's feed.
    Streams,
    /// Keeps composed views. When memory is full it drops what was not asked for longest.
    Cache,
}

impl Use {
    /// The servers of a mesh with this transport; the cache is there with each.
    pub(crate) const fn of(transport: Transport) -> &'static [Self] {
        match transport {
            Transport::Dapr | Transport::Redis => &[Self::Streams, Self::Cache],
            Transport::None => &[Self::Cache],
        }
    }

    /// The name of the part, and of its folder in the home.
    pub(crate) const fn part(self) -> &'static str {
        match self {
            Self::Streams => "redis",
            Self::Cache => "cache",
        }
    }

    const fn memory(self) -> [&'static str; 2] {
        match self {
            Self::Streams => ["maxmemory 1gb", "maxmemory-policy noeviction"],
            Self::Cache => ["maxmemory 256mb", "maxmemory-policy allkeys-lru"],
        }
    }
}

/// The server as it is to be started; its settings hold the password and so lie in a closed file.
pub(crate) fn server(
    home: &Home,
    program: &Path,
    (usage, port): (Use, u16),
    password: &str,
) -> Result<Command> {
    let folder = home.path(usage.part());
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let settings = folder.join("redis.conf");
    let _ = fs::remove_file(&settings);
    fs::File::options()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&settings)
        .and_then(|mut file| file.write_all(text(&folder, (usage, port), password).as_bytes()))
        .with_context(|| format!("writing {}", settings.display()))?;
    let mut command = process::tied(program, None);
    command.arg(&settings).current_dir("/");
    Ok(command)
}

/// Nothing is kept on disk.
fn text(folder: &Path, (usage, port): (Use, u16), password: &str) -> String {
    let [memory, policy] = usage.memory();
    let lines = [
        format!("bind {}", Ipv4Addr::LOCALHOST),
        format!("port {port}"),
        "protected-mode yes".to_owned(),
        format!("requirepass {password}"),
        format!("dir \"{}\"", folder.display()),
        "save \"\"".to_owned(),
        "appendonly no".to_owned(),
        memory.to_owned(),
        policy.to_owned(),
        String::new(),
    ];
    lines.join("\n")
}

/// Whether it answers a question.
pub(crate) fn answers(port: u16, password: &str) -> Result<(), String> {
    let limit = Duration::from_secs(1);
    let ask = || -> std::io::Result<String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.write_all(format!("AUTH {password}\r\nPING\r\nQUIT\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    match ask() {
        Ok(answer) if answer.contains("+PONG") => Ok(()),
        Ok(answer) => Err(answer.trim().replace("\r\n", ", ")),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_listens_on_a_closed_port() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        assert!(answers(port, "secret").is_err());
    }

    #[test]
    fn a_path_with_blanks_is_quoted() {
        assert!(text(Path::new("/a b"), (Use::Cache, 1), "x").contains("dir \"/a b\"\n"));
    }
}
