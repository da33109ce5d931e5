//! Decisions made up front, and how fast the copy can be: told before it, compared after it.

mod support;

use serde_json::Value;
use support::{Home, Node, Ran, content};

const MIB: usize = 1 << 20;
/// 8 MiB take 1.05 s at this rate.
const RATE: [&str; 2] = ["--rate", "64Mbit"];

fn stage() -> (Home, Node, String) {
    let home = Home::new();
    let bytes = content(8 * MIB, 31);
    let file = home.file("t/f", &bytes).to_str().unwrap().to_owned();
    home.file("root/f", &bytes);
    let node = home.serve(&home.path("root"));
    (home, node, file)
}

fn cp(home: &Home, words: &[&str]) -> Ran {
    home.run(&[&["cp"], words].concat())
}

/// The line that tells of the copy as a whole.
#[track_caller]
fn plan(ran: &Ran) -> Value {
    let lines = ran.lines();
    lines.iter().find(|line| line["type"] == "plan" && line.get("bounds").is_some()).unwrap().clone()
}

#[test]
fn a_dry_run_tells_paths_settings_and_time() {
    let (home, node, file) = stage();
    let wanted = ["--dry-run", "--explain", "--chunk", "4MiB", "--cc", "cubic", RATE[0], RATE[1]];
    for (from, to) in [(&file, &node.at("")), (&node.at("f"), &".".to_owned())] {
        let ran = cp(&home, &[&wanted[..], &[from, to]].concat()).code(0);
        for part in ["path 127.0.0.1 to 127.0.0.1:", "by lo: MTU", "workers", "chunks of 4 MiB", "cubic"] {
            assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
        }
        let predicted = "predicted: 8 MiB in 1.0s or more, limited by rate limit";
        let nearly = predicted.replace("1.0s", "1.1s");
        assert!(ran.stderr.contains(predicted) || ran.stderr.contains(&nearly), "{}", ran.stderr);
        assert!(ran.text().ends_with("(8 MiB)\n"), "{}", ran.text());
        let json = cp(&home, &[&wanted[..], &["--json", from, to]].concat()).code(0);
        let plan = plan(&json);
        assert_eq!((plan["chunk"].as_u64(), plan["cc"].as_str()), (Some(4 << 20), Some("cubic")), "{plan}");
        assert_eq!(
            (plan["limited_by"].as_str(), plan["total_bytes"].as_u64()),
            (Some("rate_limit"), Some(8 << 20))
        );
        assert!(plan["workers"].as_u64() > Some(0) && plan["paths"][0]["mtu"].as_u64() > Some(0), "{plan}");
        assert!(plan["bounds"].as_array().unwrap().len() >= 3, "{plan}");
        let seconds = plan["predicted_seconds"].as_f64().unwrap();
        assert!((1.04..1.5).contains(&seconds), "{plan}");
        let told = json.summary()["predicted_seconds"].as_f64().unwrap();
        assert!((1.04..1.5).contains(&told), "{told}");
    }
    assert!(!home.path("work/f").exists());
}

#[test]
fn a_copy_is_compared_with_what_was_predicted() {
    let (home, node, file) = stage();
    let ran = cp(&home, &["--json", "--explain", RATE[0], RATE[1], &file, &node.at("up")]).code(0);
    assert!(plan(&ran)["predicted_seconds"].is_null(), "nothing was listed yet");
    let summary = ran.summary();
    assert!((1.04..1.5).contains(&summary["predicted_seconds"].as_f64().unwrap()), "{summary}");
    let people = cp(&home, &["--explain", RATE[0], RATE[1], &node.at("f"), "down"]).code(0);
    let told = people.stderr.contains("; predicted 1.0s by rate limit, took 1.")
        || people.stderr.contains("; predicted 1.1s by rate limit, took 1.");
    assert!(told, "{}", people.stderr);
}

#[test]
fn what_nobody_asked_for_is_not_predicted() {
    let (home, node, file) = stage();
    let copied = cp(&home, &["--json", &file, &node.at("up")]).code(0);
    assert!(copied.summary()["predicted_seconds"].is_null());
    assert!(copied.lines().iter().all(|line| line["type"] != "plan"));
    let dry = cp(&home, &["--json", "--dry-run", &file, &node.at("up")]).code(0);
    assert!(dry.summary()["predicted_seconds"].is_null());
}

/// The size of standard input is not known.
#[test]
fn standard_input_has_a_rate_and_no_time() {
    let (home, node, _) = stage();
    let ran = cp(&home, &["--dry-run", "--explain", RATE[0], RATE[1], "-", &node.at("up")]).code(0);
    assert!(ran.stderr.contains("predicted: 64 Mbit/s or less, limited by rate limit"), "{}", ran.stderr);
}
