//! One quick run of the comparison as a user starts it: tables, results, charts and the report come of it, and nothing stays behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The programs that the comparison needs: named by variables, or built in the release profile.
fn program(variable: &str, name: &str) -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_compare")).ancestors().nth(2).unwrap();
    std::env::var_os(variable).map_or_else(|| beside.join("release").join(name), PathBuf::from)
}

#[test]
#[ignore = "needs root for the lab; `cargo xtask test` runs it with the lab's own tests"]
fn a_quick_cold_run_leaves_figures_and_nothing_else() {
    let out = tempfile::tempdir().unwrap();
    fs::write(out.path().join("RESULTS.md"), "# By hand\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_compare"));
    command.args(["--quick", "--only", "cold", "--runs", "1", "--no-install", "--peers", "xferctl", "--out"]);
    command.arg(out.path());
    command
        .env("XFERCTL_BIN", program("XFERCTL_BIN", "xferctl"))
        .env("XFER_LAB_BIN", program("XFER_LAB_BIN", "lab"));
    let ran = command.output().unwrap();
    let (text, errors) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{text}{errors}");
    for wire in ["1 KiB, a bare wire", "1 KiB, 1 Gbit/s, 50 ms RTT"] {
        assert!(text.contains(wire), "{text}");
    }
    let records = fs::read_to_string(out.path().join("results/cold.jsonl")).unwrap();
    let figures: Vec<serde_json::Value> =
        records.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(figures.len(), 4, "two ways of xferctl over two wires: {records}");
    for figure in &figures {
        assert_eq!(figure["values"].as_array().unwrap().len(), 1, "{figure} {errors}");
    }
    let report = fs::read_to_string(out.path().join("RESULTS.md")).unwrap();
    assert!(report.starts_with("# By hand\n") && report.contains("charts/cold.svg"), "{report}");
    assert!(fs::read_to_string(out.path().join("charts/cold-2.svg")).unwrap().contains("xferctl"));
    let namespaces = Command::new("ip").args(["netns", "list"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&namespaces.stdout).contains("xfer-cmp"), "the lab is still up");
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains("/run/xfer-compare-"), "{mounts}");
}
