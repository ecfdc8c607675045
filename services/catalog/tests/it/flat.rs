//! A large file needs no more memory than a small one.

use std::{convert::Infallible, fs};

use futures::{StreamExt as _, stream};

use crate::{program::Running, world::migrated};

/// Lines of a kilobyte.
const LINES: usize = 60_000;
/// How much the process may grow over what a small import made it need.
const GROWTH_KIB_MAX: u64 = 8 << 10;

fn lines(range: std::ops::Range<usize>) -> reqwest::Body {
    let pieces = range.step_by(100).map(|first| {
        let text: String = (first..first + 100)
            .map(|number| match number % 3 {
                // Refused, equal after the first time, and new.
                0 => format!("{{\"sku\":\"{number}\",\"name\":\"{}\"}}\n", "x".repeat(1000)),
                1 => product(number % 100, &"y".repeat(900)),
                _ => product(number, &"z".repeat(900)),
            })
            .collect();
        Ok::<_, Infallible>(text)
    });
    reqwest::Body::wrap_stream(stream::iter(pieces).boxed())
}

fn product(number: usize, text: &str) -> String {
    let attributes = format!("{{\"t\":\"{text}\"}}");
    format!(
        "{{\"sku\":\"S{number}\",\"name\":\"a\",\"categories\":[],\"attributes\":{attributes}}}\n"
    )
}

fn peak_kib(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or_else(|| anyhow::anyhow!("no peak in {status}"))?.parse()?)
}

#[tokio::test]
async fn a_file_of_sixty_megabytes_is_imported_in_constant_memory() -> anyhow::Result<()> {
    let database = migrated().await?;
    let catalog = Running::start(&database).await?;
    let import = async |range| -> anyhow::Result<(u64, u64)> {
        let request = reqwest::Client::new().post(catalog.url("/api/v1/products/import"));
        let request = request.header("content-type", "application/x-ndjson");
        let mut answer = request.body(lines(range)).send().await?;
        assert_eq!(answer.status(), 200);
        let (mut head, mut bytes) = (Vec::new(), 0);
        while let Some(piece) = answer.chunk().await? {
            bytes += piece.len() as u64;
            if head.len() < 200 {
                head.extend_from_slice(&piece);
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let refused = head.split("\"refused\":").nth(1).unwrap_or_default();
        Ok((refused.split(',').next().unwrap_or_default().parse()?, bytes))
    };
    import(0..3000).await?;
    let before = peak_kib(catalog.child.id())?;
    let (refused, bytes) = import(3000..3000 + LINES).await?;
    let grown = peak_kib(catalog.child.id())? - before;
    assert_eq!(refused, LINES as u64 / 3);
    assert!(bytes > refused * 50, "the answer names each refused line");
    assert!(grown < GROWTH_KIB_MAX, "grew by {grown} KiB from {before} KiB");
    Ok(())
}
