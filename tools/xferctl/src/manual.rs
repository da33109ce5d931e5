//! `man` and `completions`: the manual pages, one for each command, and completion scripts. Both are made of the grammar.

use crate::args::{self, EXIT_CODES};
use crate::output::Stdout;
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::fs;
use std::path::Path;
use xfer_client::{Class, Error};

/// Examples, by the name of the page.
const EXAMPLES: &[(&str, &[(&str, &str)])] = &[
    (
        "xferctl",
        &[
            ("Serve a directory; prints a link", "xferctl serve --root /data"),
            ("Copy a tree to the node of the link", "xferctl cp -r ./set LINK/"),
        ],
    ),
    (
        "xferctl-serve",
        &[
            ("Two directories, one port", "xferctl serve --root data=/data --root logs=/var/log/app"),
            (
                "Only for reading, on one address",
                "xferctl serve --root /pub --read-only --listen 10.0.1.2:7700",
            ),
        ],
    ),
    (
        "xferctl-cp",
        &[
            ("A tree into a directory of a node", "xferctl cp -r ./set n1:/backup/"),
            ("The contents of a directory", "xferctl cp -r n1:/set/. ./set"),
            (
                "Over two given wires, at most 5 Gbit/s",
                "xferctl cp --path 10.0.1.1 --path 10.0.2.1 --rate 5Gbit big n1:",
            ),
            ("From a program", "tar c ./set | xferctl cp - n1:/set.tar"),
        ],
    ),
    ("xferctl-ls", &[("All of a tree, for a program", "xferctl ls -r --json n1:/set")]),
    ("xferctl-stat", &[("With the digest of the content", "xferctl stat --digest n1:/big")]),
    ("xferctl-cat", &[("The second 4 KiB of a file", "xferctl cat --offset 4KiB --length 4KiB n1:/big")]),
    ("xferctl-hash", &[("Compare both ends", "xferctl hash ./big n1:/big")]),
    ("xferctl-node-add", &[("Keep the link out of the list of processes", "xferctl node add n1 @link.txt")]),
    (
        "xferctl-bench-run",
        &[
            ("What the engine and the network give, for ten seconds", "xferctl bench run LINK"),
            (
                "Content from the node, verified, for a program",
                "xferctl bench run --reverse --digest blake3 --json LINK",
            ),
            ("How long small messages take", "xferctl bench run --latency LINK"),
        ],
    ),
    (
        "xferctl-bench-serve",
        &[(
            "On one address, also without encryption",
            "xferctl bench serve --listen 10.0.1.2:7700 --allow-plain",
        )],
    ),
    ("xferctl-doctor", &[("This host and the way to a node", "xferctl doctor n1:")]),
    ("xferctl-top", &[("A node served with --metrics 127.0.0.1:9700", "xferctl top 127.0.0.1:9700")]),
    ("xferctl-ebpf-status", &[("All interfaces, for a program", "xferctl ebpf status --json")]),
    (
        "xferctl-ebpf-stats",
        &[("What became of packets on one interface", "xferctl ebpf stats --interface eth0")],
    ),
    (
        "xferctl-ebpf-attach",
        &[("For the node of an ordinary user", "xferctl ebpf attach --interface eth0 --user xfer")],
    ),
    ("xferctl-ebpf-detach", &[("Whatever was left by whom", "xferctl ebpf detach")]),
    ("xferctl-config-show", &[("Where the settings of cp come from", "xferctl config show --origin cp")]),
    ("xferctl-completions", &[("For bash", "xferctl completions bash > /etc/bash_completion.d/xferctl")]),
    ("xferctl-man", &[("For this host", "xferctl man /usr/local/share/man/man1")]),
];

/// Terms and what they mean.
type Terms = &'static [(&'static str, &'static str)];

/// Sections of their own, by the name of the page.
const SECTIONS: &[(&str, &str, Terms)] = &[
    ("xferctl-serve", "AUDIT", AUDIT),
    ("xferctl-bench-serve", "AUDIT", AUDIT),
    ("xferctl-ebpf", "CAPABILITIES", CAPABILITIES),
    ("xferctl-ebpf-attach", "CAPABILITIES", CAPABILITIES),
    ("xferctl-ebpf-status", "FIELDS", HOOKS),
    ("xferctl-ebpf-stats", "FIELDS", FIGURES),
];

/// What a process has to have for eBPF.
const CAPABILITIES: Terms = &[
    (
        "CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON",
        "To load and attach programs: the least set, which a test holds to. systemd: AmbientCapabilities=; by hand: setpriv \
         --ambient-caps=+bpf,+net_admin,+perfmon.",
    ),
    (
        "none",
        "To take over what `ebpf attach --user` pinned, below /sys/fs/bpf/xfer; CAP_NET_RAW where AF_XDP sockets are used, since the \
         kernel gives them to nobody else.",
    ),
    (
        "root",
        "To see the programs of other processes: `ebpf status` tells what it may, and exits with 13 when something was hidden.",
    ),
    ("without any", "A node moves bytes by the kernel's UDP sockets all the same."),
];

/// The fields of `ebpf status --json`.
const HOOKS: Terms = &[
    ("type, schema, ts", "`hook`, `xfer/1`, the time of the line: RFC 3339, UTC."),
    ("interface, point, mode", "Where: `xdp` (`native`, `generic` or null), `ingress` or `egress` (tcx)."),
    ("program, id", "The program as bpftool names it; `?` where this user may not ask."),
    ("ours, pinned", "Whether it is xfer's; whether it stays without a process."),
    ("alive", "Whether a node uses it; without one it passes everything. Null where this user may not look."),
    ("ports", "The UDP ports that it minds; it leaves all else untouched."),
];

/// The fields of `ebpf stats --json`.
const FIGURES: Terms = &[
    (
        "packets",
        "A line of this type for each `action` and `reason`. `redirected`: to AF_XDP. `passed`, to the kernel's socket: `handshake`; \
         `misplaced`, it came by another queue than its worker's; `socketless`, no AF_XDP socket; `stale`, no node; `split`, `train`, \
         `tagged`. `dropped`: `short`, `kind`, `length` (malformed), `unknown` connection, `handshake` (too many of one source). \
         `untracked`: no room for figures. `seen`, by tcx.",
    ),
    (
        "path",
        "A line of this type for each path: `connection`, as packets to that end name it, and `path`; `packets`, `bytes` of UDP payload, \
         `arrivals` (a train is one).",
    ),
    (
        "gaps, missing, late, late_max",
        "How often numbers were missing when a later one came, and how many; packets that came after one with a higher number, and the \
         largest distance. A sender leaves out a few numbers on purpose.",
    ),
    (
        "between_ns",
        "Times between arrivals, of which one in eight is measured: pairs of a bucket's end in nanoseconds (null: none) and how many fell into it.",
    ),
];

/// The fields of an audit line. They stay; what does not apply is null, zero or empty.
const AUDIT: Terms = &[
    (
        "--audit FILE",
        "A JSON object a line, for each transfer that ended or was refused and for each call that read ranges of files. A file is appended to and made anew when it was moved away, so \
         that whatever rotates it needs no signal; with `-` the lines go to standard output, where journald takes them.",
    ),
    ("type, schema, ts", "`audit`, `xfer/1`, the time of the line: RFC 3339, UTC."),
    (
        "result",
        "`done`; `partial`: some files failed; `failed`; `cancelled` by either end's user; `refused`: there was no transfer.",
    ),
    (
        "task",
        "The transfer's name at the node; null when it was refused, and of ranges that came with a call.",
    ),
    ("node", "The node: the fingerprint of its certificate, as links have it."),
    (
        "peer, credential",
        "The client: the address of its control connection, and by what it was admitted (`token`).",
    ),
    ("direction, bench", "`upload` or `download`, as the client sees it; whether it was a benchmark."),
    (
        "names, names_total",
        "What was asked for, up to 16 of them, and how many there were: `path`, with `path_b64` when it is not UTF-8.",
    ),
    ("paths", "Wires that carried it: `local`, `remote` and `bytes`."),
    ("started", "When its ticket was issued."),
    ("files, skipped, failed", "Files that were completed, were there already, failed."),
    (
        "bytes, reused_bytes, skipped_bytes",
        "Content written by this run, taken over from partial files, there already.",
    ),
    (
        "digest, verified, durability",
        "As in the summary of cp. Of a tree that is downloaded the names are those in the listing. Null when the transfer did not end well.",
    ),
    (
        "error",
        "`class` (the exit code), `side`, `path`, `offset`, `message`, `causes`; null without an error.",
    ),
    (
        "left_out",
        "Refusals that were not written since the last one that was: there are 1,000 lines in 10 s at most.",
    ),
    (
        "prev",
        "BLAKE3 of the line before, its end left out, in hex: a line that was removed or changed later shows.",
    ),
];

/// Files, as every page lists them.
const FILES: &[(&str, &str)] = &[
    ("./xfer.toml", "Settings of the working directory; may not set options that concern security."),
    ("$XDG_CONFIG_HOME/xfer/config.toml", "Settings of the user (~/.config/xfer/config.toml)."),
    ("/etc/xfer/config.toml", "Settings of the system."),
    ("$XDG_CONFIG_HOME/xfer/nodes.toml", "Names of links; readable by its owner alone."),
    ("$XDG_STATE_HOME/xfer", "Identity and token of a node (~/.local/state/xfer)."),
    ("/sys/fs/bpf/xfer", "Pinned eBPF programs, a folder for each interface and network namespace."),
    ("/var/lib/xfer, /run/xfer, /var/log/xfer", "State, link and audit of a node that systemd runs."),
    (".xfer-partial", "Beside the target of a copy: partial files and journals, removed when empty."),
];

/// Variables, as every page lists them.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("XFER_OPTION", "Sets --option, whichever it is: XFER_CONNECT_TIMEOUT=1m; of a list one value a line."),
    ("XFER_LINK", "A link; defines the node `link:`."),
    ("NO_COLOR", "Not empty: no colours."),
    ("XDG_CONFIG_HOME, XDG_STATE_HOME, XDG_CACHE_HOME", "Where files are, see FILES."),
];

/// Prints a completion script.
pub(crate) fn completions(shell: Shell) -> Result<u8, Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::Cli::command(), "xferctl", &mut script);
    let mut stdout = Stdout::new();
    stdout.write(&script)?;
    stdout.flush()?;
    Ok(0)
}

/// Writes the manual pages into a directory, which is made when it is missing.
pub(crate) fn pages(directory: &Path) -> Result<u8, Error> {
    let failed = |what: &str, path: &Path, cause: std::io::Error| {
        let class = cause.raw_os_error().map_or(Class::Other, Class::of_errno);
        Error::new(class, what).object(path.as_os_str().as_encoded_bytes()).because(cause)
    };
    if let Err(cause) = fs::create_dir(directory)
        && cause.kind() != std::io::ErrorKind::AlreadyExists
    {
        let missing = cause.kind() == std::io::ErrorKind::NotFound;
        let error = failed("make", directory, cause);
        return Err(if missing { Error { class: Class::NoDestination, ..error } } else { error });
    }
    let mut grammar = args::Cli::command();
    grammar.build();
    let mut found = Vec::new();
    collect(grammar, "", &mut found);
    for (name, command) in found {
        let path = directory.join(format!("{name}.1"));
        let text = page(&name, command).map_err(|e| failed("make", &path, e))?;
        fs::write(&path, text).map_err(|e| failed("write", &path, e))?;
    }
    Ok(0)
}

/// Each command under the name of its page.
fn collect(command: Command, prefix: &str, found: &mut Vec<(String, Command)>) {
    let name = format!("{prefix}{}", command.get_name());
    for inner in command.get_subcommands() {
        collect(inner.clone(), &format!("{name}-"), found);
    }
    found.push((name, command));
}

/// One page. The exit codes have their own section, so they are not repeated after the options.
fn page(name: &str, command: Command) -> std::io::Result<Vec<u8>> {
    let man = Man::new(command.after_help("").name(name.to_owned())).date("").manual("xfer");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    man.render_subcommands_section(&mut text)?;
    let codes: Vec<(String, &str)> =
        EXIT_CODES.iter().map(|(code, text)| (code.to_string(), *text)).collect();
    let owned = |pairs: &[(&str, &'static str)]| -> Vec<(String, &'static str)> {
        pairs.iter().map(|(term, text)| ((*term).to_owned(), *text)).collect()
    };
    for (_, title, terms) in SECTIONS.iter().filter(|(page, ..)| *page == name) {
        section(&mut text, title, &owned(terms))?;
    }
    section(&mut text, "EXIT STATUS", &codes)?;
    section(&mut text, "FILES", &owned(FILES))?;
    section(&mut text, "ENVIRONMENT", &owned(ENVIRONMENT))?;
    let examples = EXAMPLES.iter().find(|(page, _)| *page == name).map_or(&[][..], |(_, list)| *list);
    if !examples.is_empty() {
        let mut roff = Roff::new();
        roff.control("SH", ["EXAMPLES"]);
        for (what, line) in examples {
            roff.control("TP", []).text([roman(*what)]).text([bold(*line)]);
        }
        roff.to_writer(&mut text)?;
    }
    Ok(text)
}

/// A section of terms and what they mean.
fn section(text: &mut Vec<u8>, title: &str, pairs: &[(String, &str)]) -> std::io::Result<()> {
    let mut roff = Roff::new();
    roff.control("SH", [title]);
    for (term, meaning) in pairs {
        roff.control("TP", []).text([bold(term)]).text([roman(*meaning)]);
    }
    roff.to_writer(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_belong_to_pages_and_parse() {
        let mut grammar = args::Cli::command();
        grammar.build();
        let mut found = Vec::new();
        collect(grammar, "", &mut found);
        for (page, examples) in EXAMPLES {
            assert!(found.iter().any(|(name, _)| name == page), "{page}");
            for (_, line) in *examples {
                let line = line.split('|').next_back().unwrap_or_default();
                let words = line.split('>').next().unwrap_or_default().split_whitespace();
                let parsed = args::Cli::command().try_get_matches_from(words);
                assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            }
        }
    }

    #[test]
    fn sections_belong_to_pages_and_fields_are_told() {
        let mut grammar = args::Cli::command();
        grammar.build();
        let mut found = Vec::new();
        collect(grammar, "", &mut found);
        assert!(SECTIONS.iter().all(|(page, ..)| found.iter().any(|(name, _)| name == page)));
        let fields: Vec<&str> = AUDIT[1..].iter().flat_map(|(terms, _)| terms.split(", ")).collect();
        // The same as in the test of the lines themselves.
        let lines = include_str!("../tests/audit.rs");
        let listed = lines.split_once("const FIELDS").and_then(|(_, rest)| rest.split_once("];")).unwrap().0;
        let mut told: Vec<&str> = listed.split('"').skip(1).step_by(2).chain(["prev"]).collect();
        told.sort_unstable();
        let mut described = fields.clone();
        described.sort_unstable();
        assert_eq!(told, described);
    }

    #[test]
    fn a_page_has_its_sections() {
        let mut grammar = args::Cli::command();
        grammar.build();
        let cp = grammar.find_subcommand("cp").unwrap().clone();
        let text = String::from_utf8(page("xferctl-cp", cp).unwrap()).unwrap();
        for part in ["EXIT STATUS", "FILES", "ENVIRONMENT", "EXAMPLES", "max\\-duration"] {
            assert!(text.contains(part), "{part}");
        }
    }
}
