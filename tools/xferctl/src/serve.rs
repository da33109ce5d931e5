//! `serve`: runs a node until a signal ends it.

use crate::args::{CapArgs, PollArg, ServeArgs, WorkerArgs};
use crate::json;
use crate::output::Stdout;
use crate::signals;
use serde::Serialize;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use xfer_client::{BackendChoice, Class, EngineConfig, Error, Poll};
use xfer_node::{AuditTo, Caps, Node, NodeConfig, Roots};

/// The first line of `serve --json`.
#[derive(Serialize)]
struct Ready<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<&'a str>,
    control: Vec<String>,
    data: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<String>,
    version: &'static str,
}

/// Serves until SIGINT or SIGTERM.
pub(crate) fn run(args: &ServeArgs) -> Result<u8, Error> {
    if args.root.is_empty() {
        return Err(Error::new(Class::Usage, "serve needs --root DIR, or --root NAME=DIR several times"));
    }
    run_node(args, Roots::parse(&args.root)?)
}

/// Runs a node with these roots until SIGINT or SIGTERM.
pub(crate) fn run_node(args: &ServeArgs, roots: Roots) -> Result<u8, Error> {
    let config = config(args, roots)?;
    // Heard from here on, so that a signal during the start ends as one later does.
    let asked = signals::watch(
        Class::Interrupted.exit_code(),
        || tracing::info!("ending: running transfers sync their journals; another signal ends at once"),
        || {},
    )?;
    let node = Node::start(config)?;
    announce(args, &node)?;
    // The watching thread lives as long as the process: this ends by a signal.
    asked.told.recv().map_err(|_| Error::new(Class::Other, "nothing hears signals any more"))?;
    node.shut_down();
    Ok(0)
}

fn announce(args: &ServeArgs, node: &Node) -> Result<(), Error> {
    if let Some(path) = &args.node.link_file {
        write_link(path, node.link()).map_err(|cause| {
            let class = cause.raw_os_error().map_or(Class::Other, Class::of_errno);
            Error::new(class, "write the link").object(path.as_os_str().as_encoded_bytes()).because(cause)
        })?;
    }
    let mut stdout = Stdout::new();
    let link = args.node.link_file.is_none().then(|| node.link());
    if !args.node.json {
        let Some(link) = link else { return Ok(()) };
        stdout.write(link.as_bytes())?;
        stdout.write(b"\n")?;
        return stdout.flush();
    }
    let texts = |addresses: &[SocketAddr]| addresses.iter().map(SocketAddr::to_string).collect();
    let ready = Ready {
        link,
        control: texts(node.control_addresses()),
        data: texts(node.data_addresses()),
        metrics: node.metrics_address().map(|address| address.to_string()),
        version: env!("CARGO_PKG_VERSION"),
    };
    json::print(&mut stdout, "ready", &ready)
}

/// Whole or not at all: somebody may wait for the file.
fn write_link(path: &Path, link: &str) -> std::io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    file.write_all(link.as_bytes())?;
    file.write_all(b"\n")?;
    fs::rename(&partial, path)
}

fn caps(args: &CapArgs) -> Caps {
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    Caps {
        connections: count(args.max_connections),
        connections_per_client: count(args.max_connections_per_client),
        transfers: count(args.max_transfers),
        transfers_per_client: count(args.max_transfers_per_client),
        calls_per_client: args.max_calls_per_client,
        stall: args.max_stall,
    }
}

fn audit(asked: &Path) -> AuditTo {
    if asked == Path::new("-") { AuditTo::Stdout } else { AuditTo::File(asked.to_owned()) }
}

fn config(args: &ServeArgs, roots: Roots) -> Result<NodeConfig, Error> {
    let node = &args.node;
    let listen: Vec<SocketAddr> =
        node.listen.iter().map(|text| control_address(text)).collect::<Result<_, _>>()?;
    let data: Vec<SocketAddr> = node.data.iter().map(|text| data_address(text)).collect::<Result<_, _>>()?;
    let used = if data.is_empty() { &listen } else { &data };
    let addresses: Vec<IpAddr> = used.iter().map(SocketAddr::ip).collect();
    Ok(NodeConfig {
        roots,
        read_only: args.read_only,
        allow_plain: node.allow_plain,
        allow_unverified: args.allow_unverified,
        state_dir: state_dir(node.state.clone())?,
        caps: caps(&node.caps),
        audit: node.audit.as_deref().map(audit),
        metrics: node.metrics,
        watch_network: node.watch_network,
        engine: engine(&node.workers, &addresses)?,
        listen,
        data,
    })
}

/// The engine of an end that listens on `addresses`.
pub(crate) fn engine(args: &WorkerArgs, addresses: &[IpAddr]) -> Result<EngineConfig, Error> {
    Ok(EngineConfig {
        workers: workers(args)?,
        cores: args.cores.clone().unwrap_or_default(),
        poll: poll(args),
        backend: BackendChoice::from(&args.backend).choose(addresses).backend,
        ..EngineConfig::default()
    })
}

/// `--workers` as a count.
pub(crate) fn workers(args: &WorkerArgs) -> Result<Option<usize>, Error> {
    let count = args.workers.map(usize::try_from).transpose();
    count.map_err(|e| Error::new(Class::Usage, "--workers").because(e))
}

/// `--poll`.
pub(crate) fn poll(args: &WorkerArgs) -> Poll {
    match args.poll {
        PollArg::Busy => Poll::Busy,
        PollArg::Adaptive => Poll::Adaptive,
    }
}

fn control_address(text: &str) -> Result<SocketAddr, Error> {
    text.parse().map_err(|_| {
        Error::new(Class::Usage, format!("--listen {text} is not IP:PORT"))
            .because("an IPv6 address stands in brackets: [::1]:7700")
    })
}

/// `IP` or `IP:PORT`; port 0 stands for that of control.
fn data_address(text: &str) -> Result<SocketAddr, Error> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let ip = bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
    text.parse().or(ip).map_err(|_| Error::new(Class::Usage, format!("--data {text} is not IP or IP:PORT")))
}

fn state_dir(asked: Option<PathBuf>) -> Result<PathBuf, Error> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let usual =
        || absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    asked.or_else(|| usual().map(|state| state.join("xfer"))).ok_or_else(|| {
        Error::new(
            Class::Usage,
            "there is no place for the node's state: neither XDG_STATE_HOME nor HOME is set",
        )
        .because("name one with --state DIR")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_are_the_nodes_unless_told() {
        #[derive(clap::Parser)]
        struct Only {
            #[command(flatten)]
            caps: CapArgs,
        }
        let given = <Only as clap::Parser>::parse_from(["x"]);
        assert_eq!(caps(&given.caps), Caps::default());
    }

    #[test]
    fn addresses() {
        assert_eq!(data_address("::1").unwrap(), "[::1]:0".parse().unwrap());
        assert_eq!(data_address("[::1]").unwrap(), "[::1]:0".parse().unwrap());
        assert_eq!(data_address("[::1]:5").unwrap(), "[::1]:5".parse().unwrap());
        assert_eq!(data_address("10.0.0.1").unwrap(), "10.0.0.1:0".parse().unwrap());
        assert_eq!(control_address("10.0.0.1:0").unwrap(), "10.0.0.1:0".parse().unwrap());
        for wrong in ["", "x", "10.0.0.1:", "10.0.0.1:99999"] {
            assert_eq!(data_address(wrong).unwrap_err().class, Class::Usage, "{wrong}");
        }
        assert_eq!(control_address("10.0.0.1").unwrap_err().class, Class::Usage);
    }
}
