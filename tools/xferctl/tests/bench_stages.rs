//! `bench stages`: every stage has a cost, every case the sum of its own.

mod support;

use serde_json::Value;
use support::{Home, Ran};

const SHORT: [&str; 4] = ["bench", "stages", "--seconds", "0.01"];

fn stages(home: &Home, more: &[&str]) -> Ran {
    let dir = home.directory("scratch").to_str().unwrap().to_owned();
    home.run(&[&SHORT[..], &["--dir", &dir], more].concat()).code(0)
}

fn sum(stages: &[Value], names: &[&str]) -> f64 {
    let cost = |name: &&str| {
        let what = |line: &&Value| {
            line["stage"] == **name && (**name != *"seal" || line["what"] == "chunk buffers to frames")
        };
        stages.iter().find(what).unwrap()["s_per_gb"].as_f64().unwrap()
    };
    names.iter().map(cost).sum()
}

#[test]
fn stages_add_up_to_the_limit() {
    let home = Home::new();
    let ran = stages(&home, &["--json", "--mtu", "9000"]);
    let (lines, summary) = (ran.lines(), ran.summary());
    let measured: Vec<Value> = lines.into_iter().filter(|line| line["type"] == "stage").collect();
    for line in &measured {
        let (cost, rate) = (line["s_per_gb"].as_f64().unwrap(), line["gb_per_s"].as_f64().unwrap());
        assert!(cost > 0.0 && (cost * rate - 1.0).abs() < 1e-6, "{line}");
    }
    assert_eq!((summary["mtu"].as_u64(), summary["payload"].as_u64()), (Some(9_000), Some(8_912)));
    assert_eq!(summary["cases"].as_array().unwrap().len(), 5);
    let first = &summary["cases"][0];
    let send = sum(&measured, &["read", "hash", "seal", "send"]);
    let receive = sum(&measured, &["receive", "open", "hash", "write"]);
    assert!((first["send"]["s_per_gb"].as_f64().unwrap() - send).abs() < 1e-9, "{summary}");
    assert!((first["receive"]["s_per_gb"].as_f64().unwrap() - receive).abs() < 1e-9, "{summary}");
    let limit = summary["limit_gbps"].as_f64().unwrap();
    assert!((limit - 8.0 / send.max(receive)).abs() < 1e-6, "{summary}");
    assert_eq!(std::fs::read_dir(home.path("scratch")).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn what_is_switched_off_is_not_measured() {
    let home = Home::new();
    let ran = stages(&home, &["--json", "--no-encrypt", "--digest", "none"]);
    let lines = ran.lines();
    assert!(lines.iter().all(|line| !["hash", "seal", "open"].iter().any(|name| line["stage"] == *name)));
    let summary = ran.summary();
    assert_eq!((summary["suite"].as_str(), summary["digest"].as_str()), (Some("plain"), Some("none")));
    assert_eq!(summary["cases"].as_array().unwrap().len(), 2);
    assert_eq!(summary["size"].as_u64(), Some(256 << 20));
    let people = stages(&home, &["--no-encrypt", "--digest", "none", "--size", "3MiB"]).text();
    assert!(people.contains("files of 3 MiB"), "{people}");
    assert!(people.contains("file to file, plain: at most") && people.contains("read + send"), "{people}");
}

#[test]
fn a_directory_that_is_not_there_is_an_error() {
    let home = Home::new();
    let ran = home.run(&[&SHORT[..], &["--dir", "/nowhere/at/all"]].concat());
    assert!(ran.code != 0 && ran.stderr.contains("/nowhere/at/all"), "{}", ran.stderr);
}
