//! `serve`: runs a node until a signal ends it.

use crate::args::{PollArg, ServeArgs, WorkerArgs};
use crate::json;
use crate::output::{self, Stdout};
use crate::signals;
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use xfer_client::{Class, EngineConfig, Error, Poll};
use xfer_node::{Node, NodeConfig, Roots};

/// The first line of `serve --json`.
#[derive(Serialize)]
struct Ready<'a> {
    link: &'a str,
    control: Vec<String>,
    data: Vec<String>,
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
        || {
            output::tell("xferctl: ending; running transfers sync their journals (once more: end at once)");
        },
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
    let mut stdout = Stdout::new();
    if !args.node.json {
        stdout.write(node.link().as_bytes())?;
        stdout.write(b"\n")?;
        return stdout.flush();
    }
    let texts = |addresses: &[SocketAddr]| addresses.iter().map(SocketAddr::to_string).collect();
    let ready = Ready {
        link: node.link(),
        control: texts(node.control_addresses()),
        data: texts(node.data_addresses()),
        version: env!("CARGO_PKG_VERSION"),
    };
    json::print(&mut stdout, "ready", &ready)
}

fn config(args: &ServeArgs, roots: Roots) -> Result<NodeConfig, Error> {
    let node = &args.node;
    Ok(NodeConfig {
        roots,
        listen: node.listen.iter().map(|text| control_address(text)).collect::<Result<_, _>>()?,
        data: node.data.iter().map(|text| data_address(text)).collect::<Result<_, _>>()?,
        read_only: args.read_only,
        allow_plain: node.allow_plain,
        allow_unverified: args.allow_unverified,
        state_dir: state_dir(node.state.clone())?,
        engine: engine(&node.workers)?,
    })
}

/// The engine of either end.
pub(crate) fn engine(args: &WorkerArgs) -> Result<EngineConfig, Error> {
    Ok(EngineConfig {
        workers: workers(args)?,
        cores: args.cores.clone().unwrap_or_default(),
        poll: poll(args),
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
