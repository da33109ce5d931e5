//! The endpoint: HTTP/1.1, `GET /metrics`, one answer a connection. Bounded in connections, bytes and time; it tells figures only, and no
//! names, so it asks for no token. Whoever may not see them is kept out by the address that it listens on.

use crate::limits::{METRICS_CONNECTIONS_MAX, METRICS_REQUEST_LEN_MAX, METRICS_TIMEOUT};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// What a scrape gets.
pub(super) type Source = Arc<dyn Fn() -> String + Send + Sync>;

/// Answers scrapes until the runtime ends.
pub(super) async fn serve(listener: TcpListener, source: Source) {
    let places = Arc::new(Semaphore::new(METRICS_CONNECTIONS_MAX));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "a scrape was not accepted");
                sleep(crate::limits::ACCEPT_PAUSE).await;
                continue;
            }
        };
        // One more than there are places for is closed unheard.
        if let Ok(place) = places.clone().try_acquire_owned() {
            let source = source.clone();
            tokio::spawn(async move {
                match timeout(METRICS_TIMEOUT, answer(stream, &source)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(%error, "a scrape broke off"),
                    Err(_) => tracing::debug!("a scrape took too long"),
                }
                drop(place);
            });
        }
    }
}

async fn answer(mut stream: TcpStream, source: &Source) -> io::Result<()> {
    let Some(head) = read_head(&mut stream).await? else { return Ok(()) };
    let (status, kind, body) = match asked(&head) {
        Asked::Metrics => {
            let source = source.clone();
            let text = tokio::task::spawn_blocking(move || source()).await.map_err(io::Error::other)?;
            ("200 OK", "text/plain; version=0.0.4; charset=utf-8", text)
        }
        Asked::Elsewhere => {
            ("404 Not Found", "text/plain", "there is /metrics and nothing else\n".to_owned())
        }
        Asked::Otherwise => ("405 Method Not Allowed", "text/plain", "GET /metrics\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// The request up to its empty line; none when there is none within the limit.
async fn read_head(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    let mut part = [0; 1_024];
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let len = stream.read(&mut part).await?;
        if len == 0 || head.len() + len > METRICS_REQUEST_LEN_MAX {
            return Ok(None);
        }
        head.extend_from_slice(part.get(..len).unwrap_or_default());
    }
    Ok(Some(head))
}

/// What a request is for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Metrics,
    Elsewhere,
    Otherwise,
}

fn asked(head: &[u8]) -> Asked {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    match (method, path) {
        (b"GET", b"/metrics") => Asked::Metrics,
        (b"GET", _) => Asked::Elsewhere,
        _ => Asked::Otherwise,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_get_metrics_is_answered() {
        for (head, what) in [
            ("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", Asked::Metrics),
            ("GET /metrics?a=b HTTP/1.0\r\n\r\n", Asked::Metrics),
            ("GET / HTTP/1.1\r\n\r\n", Asked::Elsewhere),
            ("GET /metricsx HTTP/1.1\r\n\r\n", Asked::Elsewhere),
            ("POST /metrics HTTP/1.1\r\n\r\n", Asked::Otherwise),
            ("\r\n\r\n", Asked::Otherwise),
            ("", Asked::Otherwise),
        ] {
            assert_eq!(asked(head.as_bytes()), what, "{head:?}");
        }
    }
}
