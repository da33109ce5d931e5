//! The command line: commands, options, and their help. Values are checked here as far as one word tells; what they mean together is
//! decided where they are used.

mod backend;
mod bench;
mod copy;
mod ebpf;
mod look;
mod serve;
mod stages;

pub(crate) use bench::{BenchArgs, BenchCommand, BenchRunArgs, BenchStagesArgs};
pub(crate) use copy::{
    CompareArg, CompressArg, CopyArgs, DigestArg, DurabilityArg, NetworkArgs, PreserveArg, ProgressArg,
    SelectionArgs,
};
pub(crate) use ebpf::{EbpfArgs, EbpfAttachArgs, EbpfCommand, EbpfDetachArgs, EbpfLookArgs, TopArgs};
pub(crate) use look::{
    CatArgs, ConfigArgs, ConfigCommand, DoctorArgs, HashArgs, ListArgs, NodeArgs, NodeCommand, ShowArgs,
    StatArgs,
};
pub(crate) use serve::{CapArgs, ListenArgs, PollArg, ServeArgs, WorkerArgs};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::path::PathBuf;

/// The exit codes, as `--help` and the manual list them.
pub(crate) const EXIT_CODES: &[(u8, &str)] = &[
    (0, "done"),
    (1, "a failure without a code of its own"),
    (2, "wrong usage; nothing was done"),
    (3, "a destination directory or its parent is missing"),
    (4, "a named source is missing"),
    (5, "temporary: unreachable, retries used up, target busy"),
    (6, "refused by policy: read-only, `..`, unencrypted or unverified not allowed"),
    (7, "fatal on either end: no space, quota, I/O error, port or state directory in use"),
    (8, "--max-transfer was reached"),
    (9, "nothing to do (with --error-on-no-transfer)"),
    (11, "--max-duration was exceeded"),
    (12, "done, but reporting metrics failed"),
    (13, "wrong token, fingerprint or credential, or a file permission on either end"),
    (14, "no quorum"),
    (15, "a digest was wrong even after fetching again, or the source changed"),
    (16, "at least one file succeeded and one failed"),
    (20, "ended by SIGINT or SIGTERM"),
];

/// The text after `--help`.
pub(crate) fn exit_codes_help() -> String {
    let lines: Vec<String> = EXIT_CODES.iter().map(|(code, text)| format!("  {code:>2}  {text}")).collect();
    format!("Exit codes:\n{}", lines.join("\n"))
}

/// Moves files over every network wire at once: encrypted, verified, resumable.
#[derive(Debug, Parser)]
#[command(name = "xferctl", version, after_help = exit_codes_help(), max_term_width = 120)]
#[command(subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub(crate) struct GlobalArgs {
    /// Tell errors only
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Tell decisions; twice: also errors of operations that are tried again
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to colour what goes to the terminal
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: ColorArg,
    /// Write the log to this file instead of stderr
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,
    /// How the log is written [default: human on a terminal, else logfmt]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormatArg>,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorArg {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormatArg {
    /// For people
    Human,
    /// key=value pairs
    Logfmt,
    /// One object a line
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve directories: prints a link that gives access to them
    #[command(after_help = exit_codes_help())]
    Serve(Box<ServeArgs>),
    /// Copy files and directories to or from a node
    #[command(visible_alias = "transfer", after_help = exit_codes_help())]
    #[command(override_usage = "xferctl cp [OPTIONS] <SRC>... <DST>")]
    Cp(Box<CopyArgs>),
    /// List a directory of a node
    #[command(visible_alias = "list", after_help = exit_codes_help())]
    Ls(ListArgs),
    /// Describe files of a node
    #[command(after_help = exit_codes_help())]
    Stat(StatArgs),
    /// Write files of a node, or a range of each, to standard output, verified
    #[command(after_help = exit_codes_help())]
    Cat(CatArgs),
    /// Print BLAKE3 digests as b3sum does; those of a node's files are computed there
    #[command(after_help = exit_codes_help())]
    Hash(HashArgs),
    /// Give names to links, so that NAME:/path works wherever a link does
    #[command(after_help = exit_codes_help())]
    Node(NodeArgs),
    /// Measure what this machine and the engine on it allow
    #[command(after_help = exit_codes_help())]
    Bench(BenchArgs),
    /// Tell what this host can do, what holds it back, and how to change that; with a link also how to reach the node
    #[command(after_help = exit_codes_help())]
    Doctor(DoctorArgs),
    /// Look at the eBPF programs on this host's interfaces, ours and others'; attach and detach ours
    #[command(after_help = exit_codes_help())]
    Ebpf(EbpfArgs),
    /// Show what a node does, live, from its metrics: workers, queues, paths, its network
    #[command(after_help = exit_codes_help())]
    Top(TopArgs),
    /// Show settings and where they come from
    #[command(after_help = exit_codes_help())]
    Config(ConfigArgs),
    /// Print a completion script
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write manual pages
    Man {
        /// The directory to write them to
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

impl Command {
    /// Whether it runs a node until a signal ends it.
    pub(crate) fn is_node(&self) -> bool {
        match self {
            Command::Serve(_) => true,
            Command::Bench(args) => matches!(args.command, BenchCommand::Serve(_)),
            _ => false,
        }
    }
}
