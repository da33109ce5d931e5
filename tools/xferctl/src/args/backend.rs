//! What moves packets, as the command line says it.

use clap::{Args, ValueEnum};
use xfer_client::{BackendChoice, Wanted, XdpMode};

/// What moves the packets of either end.
#[derive(Clone, Debug, Args)]
pub(crate) struct BackendArgs {
    /// What moves the packets
    #[arg(long, value_name = "BACKEND", default_value = "auto")]
    pub(crate) backend: BackendArg,
    /// Interfaces that AF_XDP is used on [default: those of the addresses in use]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) interface: Vec<String>,
    /// Where the XDP program runs
    #[arg(long, value_name = "MODE", default_value = "native")]
    pub(crate) xdp_mode: XdpModeArg,
    /// Where kernel UDP moves the packets, drop malformed ones and those of no connection by XDP before; needs CAP_BPF, CAP_NET_ADMIN and
    /// CAP_PERFMON
    #[arg(long)]
    pub(crate) xdp_filter: bool,
    /// Let --backend auto use AF_XDP: an interface may lose its segmentation, or drop out for a moment, while a program is attached
    #[arg(long)]
    pub(crate) allow_xdp: bool,
}

/// What moves the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackendArg {
    /// The best that there is
    Auto,
    /// Kernel UDP
    Udp,
    /// AF_XDP, for interfaces of Ethernet, as root or with CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and CAP_PERFMON
    Xdp,
}

/// Where the XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum XdpModeArg {
    /// In the driver
    Native,
    /// In the kernel, for drivers without XDP
    Generic,
}

impl From<XdpModeArg> for XdpMode {
    fn from(mode: XdpModeArg) -> Self {
        match mode {
            XdpModeArg::Native => XdpMode::Native,
            XdpModeArg::Generic => XdpMode::Generic,
        }
    }
}

impl From<&BackendArgs> for BackendChoice {
    fn from(args: &BackendArgs) -> Self {
        BackendChoice {
            wanted: match args.backend {
                BackendArg::Auto => Wanted::Auto,
                BackendArg::Udp => Wanted::Udp,
                BackendArg::Xdp => Wanted::Xdp,
            },
            interfaces: args.interface.clone(),
            mode: args.xdp_mode.into(),
            filter: args.xdp_filter,
            allow_xdp: args.allow_xdp,
        }
    }
}
