//! Crate edges: which crate of the workspace may use which, and that versions stand in the workspace alone.
//!
//! The table is section 3 of the design: `proto` and `io` never see each other, `client` and `node` neither.

use super::Finding;
use super::files::{Files, Source};

/// Each crate and the crates of this workspace that it may use. A crate that is not here is a finding.
const EDGES: &[(&str, &[&str])] = &[
    ("xfer-proto", &[]),
    ("xfer-netem", &[]),
    ("xfer-dpdk-sys", &[]),
    ("xfer-ebpf", &[]),
    ("xfer-io", &["xfer-netem", "xfer-dpdk-sys", "xfer-ebpf"]),
    ("xfer-engine", &["xfer-proto", "xfer-io"]),
    ("xfer-client", &["xfer-engine"]),
    ("xfer-node", &["xfer-engine", "xfer-ebpf"]),
    ("libxfer", &["xfer-engine", "xfer-client"]),
    ("xferctl", &["xfer-client", "xfer-node", "xfer-ebpf"]),
    ("xfer-lab", &["xfer-netem"]),
    ("xfer-benches", &["xfer-engine", "xfer-io", "xfer-proto"]),
    ("xfer-fuzz", &["xfer-proto", "xfer-engine", "xfer-client", "xfer-node", "xferctl"]),
    ("xfer-compare", &["xfer-lab"]),
    ("xfer-quic", &[]),
    ("xfer-no-std", &["xfer-proto"]),
    ("xfer-header", &[]),
    ("xfer-loom", &[]),
    ("xtask", &[]),
];

/// What tests of every crate may use besides.
const TEST_EDGES: &[&str] = &["xfer-netem"];

/// What the tests of one crate may use besides: the tool's start clients and nodes in one process, with engines that they set up; the lab's
/// hostile peers speak the protocol by the crate's own codec; the library's start the node that a C program uses.
const TEST_EDGES_OF: [(&str, &str); 6] = [
    ("libxfer", "xfer-node"),
    ("xfer-ebpf", "xfer-proto"),
    ("xferctl", "xfer-engine"),
    ("xfer-lab", "xfer-client"),
    ("xfer-lab", "xfer-engine"),
    ("xfer-lab", "xfer-proto"),
];

/// A feature that only tests may ask for: faults below files.
const TEST_FEATURE: &str = "faults";

/// The crates that may depend on nothing at all.
const STD_ONLY: &[&str] = &["xtask", "xfer-netem"];

/// Sections of the workspace's own manifest.
const ROOT_SECTIONS: &[&str] = &["workspace", "profile", "patch"];

/// One dependency in a manifest.
#[derive(Debug, PartialEq)]
struct Dependency {
    line: usize,
    name: String,
    /// What stands after the name: `.workspace = true`, `= "1.2"`, `= { path = "x" }`.
    value: String,
    dev: bool,
}

pub(super) fn check(files: &Files) -> Vec<Finding> {
    files.manifests.iter().flat_map(check_manifest).collect()
}

fn check_manifest(manifest: &Source) -> Vec<Finding> {
    let finding = |line, message| Finding { file: manifest.path.clone(), line, rule: "edge", message };
    if manifest.path == "Cargo.toml" {
        let strange = foreign_sections(&manifest.text);
        return strange
            .map(|line| finding(line, "the workspace's manifest holds no crate".to_owned()))
            .collect();
    }
    let name = package_name(&manifest.text);
    let Some((_, allowed)) = EDGES.iter().find(|(known, _)| *known == name) else {
        return vec![finding(0, format!("`{name}` is not in the table of crates in tidy/edges.rs"))];
    };
    let mut findings = Vec::new();
    for dependency in dependencies(&manifest.text) {
        let used = dependency.name.as_str();
        let ours = EDGES.iter().any(|(known, _)| *known == used);
        if ours
            && !allowed.contains(&used)
            && !(dependency.dev && (TEST_EDGES.contains(&used) || TEST_EDGES_OF.contains(&(name, used))))
        {
            findings.push(finding(dependency.line, format!("`{name}` may not use `{used}`")));
        }
        if !ours && !dependency.dev && STD_ONLY.contains(&name) {
            findings.push(finding(dependency.line, format!("`{name}` uses std only, not `{used}`")));
        }
        if !dependency.dev && dependency.value.contains(&format!("\"{TEST_FEATURE}\"")) {
            let message = format!("only tests may ask for the feature `{TEST_FEATURE}`");
            findings.push(finding(dependency.line, message));
        }
        if !takes_version_from_workspace(&dependency.value) {
            let message = format!("the version of `{used}` belongs in [workspace.dependencies]");
            findings.push(finding(dependency.line, message));
        }
    }
    findings
}

fn takes_version_from_workspace(value: &str) -> bool {
    let keys: String = value.split_whitespace().collect();
    let local = keys.contains("path=") && !keys.contains("version=");
    keys.contains("workspace=true") || local
}

/// Lines of section headers that a workspace's manifest should not have.
fn foreign_sections(text: &str) -> impl Iterator<Item = usize> {
    let foreign = |line: &str| {
        let name = line.strip_prefix('[').map(|name| name.trim_start_matches('['));
        let first = name.and_then(|name| name.split(['.', ']']).next());
        first.is_some_and(|first| !ROOT_SECTIONS.contains(&first))
    };
    text.lines().enumerate().filter(move |(_, line)| foreign(line)).map(|(index, _)| index + 1)
}

fn package_name(text: &str) -> &str {
    let package = text.lines().skip_while(|line| line.trim() != "[package]");
    let name = package.filter_map(|line| line.trim().strip_prefix("name")).next();
    name.map_or("", |rest| rest.trim_matches(|c: char| c.is_whitespace() || c == '=' || c == '"'))
}

/// All dependencies: normal, dev, build, for all targets, as lines or as tables of their own.
fn dependencies(text: &str) -> Vec<Dependency> {
    let mut found: Vec<Dependency> = Vec::new();
    let mut section = Section::Other;
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = Section::of(header);
            if let Section::Table { name, dev } = &section {
                let (name, dev) = (name.clone(), *dev);
                found.push(Dependency { line: index + 1, name, value: String::new(), dev });
            }
            continue;
        }
        match &section {
            Section::List { dev } if line.contains('=') && !line.starts_with(['"', ']']) => {
                let end =
                    line.find(|c: char| !c.is_alphanumeric() && c != '-' && c != '_').unwrap_or(line.len());
                let (name, value) = line.split_at(end);
                found.push(Dependency { line: index + 1, name: name.into(), value: value.into(), dev: *dev });
            }
            Section::Table { .. } => {
                if let Some(last) = found.last_mut() {
                    last.value += line;
                    last.value.push(' ');
                }
            }
            _ => {}
        }
    }
    found
}

/// What a header of a manifest opens.
enum Section {
    /// `[dependencies]` and its kin.
    List {
        dev: bool,
    },
    /// `[dependencies.name]` and its kin.
    Table {
        name: String,
        dev: bool,
    },
    Other,
}

impl Section {
    fn of(header: &str) -> Section {
        if header.starts_with("workspace") {
            return Section::Other;
        }
        for (kind, dev) in
            [("dev-dependencies", true), ("build-dependencies", false), ("dependencies", false)]
        {
            let Some(at) = header.find(kind) else { continue };
            return match header[at + kind.len()..].strip_prefix('.') {
                Some(name) => Section::Table { name: name.trim_matches('"').to_owned(), dev },
                None => Section::List { dev },
            };
        }
        Section::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(path: &str, text: &str) -> Vec<String> {
        check_manifest(&Source::new(path, text)).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn dependencies_of_every_kind_are_read() {
        let text = "[package]\nname = \"x\"\n[dependencies]\na.workspace = true\nb = { workspace = true, features = [\n  \
                    \"c=d\",\n] }\n[target.'cfg(unix)'.dependencies]\ne = \"1\" # why\n[dev-dependencies.f]\n\
                    workspace = true\n[build-dependencies]\ng = { git = \"h\" }\n[features]\ni = []\n";
        let found: Vec<_> = dependencies(text).into_iter().map(|d| (d.line, d.name, d.dev)).collect();
        let expected = [(4, "a", false), (5, "b", false), (9, "e", false), (10, "f", true), (13, "g", false)];
        assert_eq!(found, expected.map(|(line, name, dev)| (line, name.to_owned(), dev)));
    }

    #[test]
    fn edges_outside_the_table_are_found() {
        let proto =
            |rest: &str| messages("a/Cargo.toml", &format!("[package]\nname = \"xfer-proto\"\n{rest}"));
        assert!(proto("[dependencies]\nsnow.workspace = true\n").is_empty());
        assert!(proto("[dev-dependencies]\nxfer-netem.workspace = true\n").is_empty());
        assert_eq!(proto("[dependencies]\nxfer-netem.workspace = true\n").len(), 1);
        assert_eq!(
            proto("[dev-dependencies]\nxfer-io.workspace = true\n"),
            ["`xfer-proto` may not use `xfer-io`"]
        );
        assert_eq!(messages("b/Cargo.toml", "[package]\nname = \"new\"\n").len(), 1);
        let std_only = "[package]\nname = \"xtask\"\n[dependencies]\nserde.workspace = true\n";
        assert_eq!(messages("c/Cargo.toml", std_only), ["`xtask` uses std only, not `serde`"]);
    }

    #[test]
    fn faults_outside_of_tests_are_found() {
        let tool = |section: &str| {
            let line = "xfer-client = { workspace = true, features = [\"faults\"] }";
            messages("a/Cargo.toml", &format!("[package]\nname = \"xferctl\"\n[{section}]\n{line}\n"))
        };
        assert_eq!(tool("dependencies"), ["only tests may ask for the feature `faults`"]);
        assert!(tool("dev-dependencies").is_empty());
    }

    #[test]
    fn versions_outside_the_workspace_are_found() {
        let io = |line: &str| {
            messages("a/Cargo.toml", &format!("[package]\nname = \"xfer-io\"\n[dependencies]\n{line}\n"))
                .len()
        };
        assert_eq!(io("libc.workspace = true"), 0);
        assert_eq!(io("xfer-netem = { path = \"../netem\" }"), 0);
        assert_eq!(io("libc = \"0.2\""), 1);
        assert_eq!(io("libc = { version = \"0.2\", default-features = false }"), 1);
        assert_eq!(io("libc = { git = \"somewhere\" }"), 1);
        assert_eq!(
            messages("Cargo.toml", "[workspace]\n[workspace.dependencies]\nlibc = \"1\"\n[profile.dev]\n")
                .len(),
            0
        );
        assert_eq!(messages("Cargo.toml", "[workspace]\n[dependencies]\n").len(), 1);
    }
}
