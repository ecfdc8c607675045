//! A Redis server of a test's own, which the test may kill, hang and start again.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{Servers, within};

const PASSWORD: &str = "what-tests-show-to-their-redis";
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// A private Redis without persistence; gone with this value, or with the thread that started it.
///
/// Start it on the test's own thread, not inside a task.
#[derive(Debug)]
pub struct RedisServer {
    program: String,
    policy: &'static str,
    address: SocketAddr,
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
        format!("redis://:{PASSWORD}@{}", self.address)
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
        self.child = spawn(&self.program, self.policy, self.address.port())?;
        self.answers().await;
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
        let program = Servers::from_env()?.redis_server;
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let child = spawn(&program, policy, address.port())?;
        let server = Self { program, policy, address, child };
        server.answers().await;
        Ok(server)
    }

    async fn answers(&self) {
        within(READY_TIMEOUT, "the private Redis answers", || async {
            let mut connection = TcpStream::connect(self.address).await?;
            connection.write_all(format!("AUTH {PASSWORD}\r\n").as_bytes()).await?;
            let mut answer = [0; 5];
            connection.read_exact(&mut answer).await?;
            Ok(answer == *b"+OK\r\n")
        })
        .await;
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

fn spawn(program: &str, policy: &str, port: u16) -> anyhow::Result<Child> {
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", program])
        .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
        .args(["--requirepass", PASSWORD])
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
        let answer = tokio::time::timeout(Duration::from_millis(200), connection.readable()).await;
        assert!(answer.is_err(), "a hanging server answered");
        server.resume()?;
        connection.readable().await?;
        Ok(())
    }
}
