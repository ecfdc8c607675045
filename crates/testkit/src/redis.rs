//! A Redis server of a test's own, which the test may kill, hang and start again.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{Servers, quiet_ports, within};

const READY_TIMEOUT: Duration = Duration::from_secs(10);
/// Whoever listens there may hang.
const GREETING_TIMEOUT: Duration = Duration::from_secs(1);
/// How often another port is chosen after somebody else took one.
const STARTS_MAX: u32 = 5;

/// A private Redis without persistence; gone with this value, or with the thread that started it.
///
/// Start it on the test's own thread, not inside a task.
#[derive(Debug)]
pub struct RedisServer {
    program: String,
    policy: &'static str,
    address: SocketAddr,
    /// Its own, so that no server is mistaken for another.
    password: String,
    child: Child,
}

impl RedisServer {
    /// One that carries streams: when memory is full it refuses.
    pub async fn streams() -> anyhow::Result<Self> {
        Self::start("noeviction").await
    }

    /// One that is a cache: when memory is full it drops what was not asked for longest.
    pub async fn cache() -> anyhow::Result<Self> {
        Self::start("allkeys-lru").await
    }

    /// Its URL with its password; the same one after a restart.
    pub fn url(&self) -> String {
        format!("redis://:{}@{}", self.password, self.address)
    }

    /// Ends it at once: whatever it held is gone.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().context("kill Redis")?;
        self.child.wait().context("wait for the end of Redis")?;
        Ok(())
    }

    /// Kills it if it still runs, and starts it empty at the same address.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        self.child = spawn(&self.program, self.policy, self.address.port(), &self.password)?;
        let is_up = self.is_up().await?;
        anyhow::ensure!(is_up, "Redis ended: another may have taken {} meanwhile", self.address);
        Ok(())
    }

    /// Makes it hang: connections stay open, nothing is answered.
    pub fn pause(&self) -> anyhow::Result<()> {
        kill_process(self.pid()?, Signal::STOP).context("make Redis hang")
    }

    /// Lets it go on after [`RedisServer::pause`].
    pub fn resume(&self) -> anyhow::Result<()> {
        kill_process(self.pid()?, Signal::CONT).context("let Redis go on")
    }

    async fn start(policy: &'static str) -> anyhow::Result<Self> {
        for _ in 0..STARTS_MAX {
            let [port] = quiet_ports()?;
            if let Some(server) = Self::start_at(policy, port).await? {
                return Ok(server);
            }
        }
        anyhow::bail!("Redis ended {STARTS_MAX} times at its start")
    }

    /// None if it ended at once, as it does where another has the port.
    async fn start_at(policy: &'static str, port: u16) -> anyhow::Result<Option<Self>> {
        let program = Servers::from_env()?.redis_server;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let password = Uuid::new_v4().simple().to_string();
        let child = spawn(&program, policy, port, &password)?;
        let mut server = Self { program, policy, address, password, child };
        Ok(server.is_up().await?.then_some(server))
    }

    /// Waits until it answers, or has ended instead.
    async fn is_up(&mut self) -> anyhow::Result<bool> {
        let (address, password, child) = (self.address, &self.password, &mut self.child);
        within(READY_TIMEOUT, "the private Redis answers or ends", || {
            let ended = child.try_wait();
            async move {
                let greeted = timeout(GREETING_TIMEOUT, greets(address, password));
                Ok(ended?.is_some() || greeted.await??)
            }
        })
        .await;
        Ok(self.child.try_wait()?.is_none())
    }

    fn pid(&self) -> anyhow::Result<Pid> {
        let raw = i32::try_from(self.child.id())?;
        Pid::from_raw(raw).context("a process has a number")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Already dead is as good.
        let _ = self.kill();
    }
}

/// Whether a server with this password listens there.
async fn greets(address: SocketAddr, password: &str) -> anyhow::Result<bool> {
    let mut connection = TcpStream::connect(address).await?;
    connection.write_all(format!("AUTH {password}\r\n").as_bytes()).await?;
    let mut answer = [0; 5];
    connection.read_exact(&mut answer).await?;
    Ok(answer == *b"+OK\r\n")
}

fn spawn(program: &str, policy: &str, port: u16, password: &str) -> anyhow::Result<Child> {
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", program])
        .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
        .args(["--requirepass", password])
        .args(["--save", "", "--appendonly", "no", "--dir", "/"])
        .args(["--maxmemory", "256mb", "--maxmemory-policy", policy])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("start {program}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_at_the_port_of_another_is_not_taken_for_it() -> anyhow::Result<()> {
        let mut first = RedisServer::cache().await?;
        assert!(RedisServer::start_at("noeviction", first.address.port()).await?.is_none());
        let second = RedisServer::streams().await?;
        assert!(!greets(second.address, &first.password).await?);

        first.kill()?;
        let port = first.address.port();
        let thief = RedisServer::start_at("noeviction", port).await?.context("the port is free")?;
        assert!(first.restart().await.is_err());
        assert!(greets(thief.address, &thief.password).await?);
        Ok(())
    }

    #[tokio::test]
    async fn a_server_dies_comes_back_and_hangs_when_told() -> anyhow::Result<()> {
        let mut server = RedisServer::cache().await?;
        let url = server.url();
        server.kill()?;
        assert!(TcpStream::connect(server.address).await.is_err());
        server.restart().await?;
        assert_eq!(server.url(), url);

        let mut connection = TcpStream::connect(server.address).await?;
        server.pause()?;
        connection.write_all(b"PING\r\n").await?;
        let answer = timeout(Duration::from_millis(200), connection.readable()).await;
        assert!(answer.is_err(), "a hanging server answered");
        server.resume()?;
        connection.readable().await?;
        Ok(())
    }
}
