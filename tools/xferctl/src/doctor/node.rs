//! The way to a node: each control address, then each pair of addresses for data.

use super::{Finding, Status};
use std::time::{Duration, Instant};
use xfer_client::doctor::{self, Probed};
use xfer_client::{Class, Client, Error, HostPort, Link, Remote};

/// How long one control address may take.
const CONTROL_PATIENCE: Duration = Duration::from_secs(5);

/// Looks at a node. Its exit code: that of what would keep a copy from running.
pub(super) fn look(remote: &Remote, tell: &mut dyn FnMut(Finding) -> Result<(), Error>) -> Result<u8, Error> {
    let mut reached = None;
    let mut refusal: Option<Error> = None;
    for address in &remote.link.addresses {
        let one = Link { addresses: vec![address.clone()], ..remote.link.clone() };
        let started = Instant::now();
        let answer = Client::connect(&one, &remote.node, CONTROL_PATIENCE).and_then(|client| {
            let serves = client.is_serving()?;
            client.stat(b"", false).map(|_| (client, serves))
        });
        match answer {
            Ok((client, serves)) => {
                tell(control(address, serves, started.elapsed()))?;
                reached.get_or_insert(client);
            }
            Err(error) => {
                tell(no_control(address, &error))?;
                refusal.get_or_insert(error);
            }
        }
    }
    let Some(client) = reached else {
        return Ok(refusal.map_or(Class::Temporary, |error| error.class).exit_code());
    };
    data(&client, remote, tell)
}

fn control(address: &HostPort, serves: bool, time: Duration) -> Finding {
    let text = format!(
        "TCP {address} answers with the right certificate and takes the token ({} ms)",
        time.as_millis()
    );
    let finding = Finding::new("control", if serves { Status::Ok } else { Status::Warn }, text)
        .fact("address", address.to_string())
        .fact("answers", true);
    if serves { finding } else { finding.advise("the node says that it is not serving; it may be ending") }
}

fn no_control(address: &HostPort, error: &Error) -> Finding {
    let finding =
        Finding::failed("control", error).fact("address", address.to_string()).fact("answers", false);
    match error.class {
        Class::Temporary => finding
            .advise(format!("open TCP {} to {}, or serve with --listen IP:PORT", address.port, address.host)),
        _ => finding,
    }
}

fn bench_node() -> Finding {
    Finding::new("serves", Status::Ok, "memory to `xferctl bench run`, and no files").fact("files", false)
}

/// Tries all pairs, each on its own.
fn data(
    client: &Client,
    remote: &Remote,
    tell: &mut dyn FnMut(Finding) -> Result<(), Error>,
) -> Result<u8, Error> {
    let scratch = Scratch::make()?;
    let probed = client.serves_benchmarks().and_then(|benchmarks| {
        if benchmarks {
            tell(bench_node())?;
        }
        doctor::probe(client, remote, benchmarks, &scratch.0)
    });
    let probed = match probed {
        Ok(probed) => probed,
        Err(error) => {
            tell(Finding::failed("data", &error))?;
            return Ok(error.class.exit_code());
        }
    };
    let first = probed.iter().find_map(|probed| probed.answer.as_ref().err());
    let code = match first {
        Some(error) if probed.iter().all(|probed| probed.answer.is_err()) => error.class.exit_code(),
        _ => 0,
    };
    for probed in &probed {
        tell(pair(probed))?;
    }
    Ok(code)
}

fn pair(probed: &Probed) -> Finding {
    let (local, remote) = (probed.pair.local, probed.pair.remote);
    let role = if probed.active { "used" } else { "standby" };
    let finding = |status, text: String| {
        Finding::new("data", status, text)
            .fact("local", local.to_string())
            .fact("remote", remote.to_string())
            .fact("role", role)
            .fact("answers", status == Status::Ok)
    };
    match &probed.answer {
        Ok(time) => {
            let ms = time.as_secs_f64() * 1e3;
            finding(Status::Ok, format!("{local} to UDP {remote} answers ({ms:.1} ms; {role})"))
        }
        Err(error) => finding(
            Status::Fail,
            format!("{local} to UDP {remote} ({role}): {}", crate::complain::render(error)),
        )
        .advise(format!(
            "open UDP {} to {}, or serve with --data IP:PORT",
            remote.port(),
            remote.ip()
        )),
    }
}

/// An empty directory that goes with this value.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn make() -> Result<Scratch, Error> {
        let path = std::env::temp_dir().join(format!("xferctl-doctor-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(|e| {
            Error::new(Class::Other, "make").object(path.as_os_str().as_encoded_bytes()).because(e)
        })?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(cause) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(directory = %self.0.display(), %cause, "an empty directory stays behind");
        }
    }
}
