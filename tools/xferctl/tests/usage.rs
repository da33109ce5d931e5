//! What needs no node: help, wrong usage, completions, manual pages, settings, this host.

mod support;

use std::fs;
use support::Home;

const LINK: &str = "xfer://AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA@127.0.0.1:9";

#[test]
fn help_lists_the_exit_codes() {
    let home = Home::new();
    for words in [&["--help"][..], &["cp", "--help"], &["serve", "--help"]] {
        let text = home.run(words).code(0).text();
        for code in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 20] {
            assert!(text.contains(&format!("\n  {code:>2}  ")), "{words:?} {code}");
        }
    }
    assert!(home.run(&["--version"]).code(0).text().starts_with("xferctl "));
}

#[test]
fn wrong_usage_exits_2_and_prints_nothing_on_stdout() {
    let home = Home::new();
    home.file("work/f", "x");
    let none: &[&str] = &[];
    let remote = &format!("{LINK}/x");
    for words in [
        none,
        &["nonsense"],
        &["cp", "--json"],
        &["cp", "--json", "f"],
        &["cp", "--json", "f", "g"],
        &["cp", "--json", remote, remote],
        &["cp", "--json", "f", "a:b"],
        &["cp", "--json", "f", "xfer://x"],
        &["cp", "--json", "--rate", "1000", "f", remote],
        &["cp", "--json", "--cc", "fixed", "f", remote],
        &["cp", "--json", "--chunk", "100KiB", "f", remote],
        &["cp", "--json", "--max-duration", "10", "f", remote],
        &["cp", "--json", "--path", "eth0", "f", remote],
        &["cp", "--json", "--compare", "digest", "--digest", "none", "f", remote],
        &["cp", "--json", remote, "-"],
        &["cp", "--json", ".", remote],
        &["serve"],
        &["serve", "--json", "--root", "a=.", "--root", "."],
        &["serve", "--json", "--root", "a=.", "--root", "a=/"],
        &["serve", "--json", "--root", ".", "--listen", "nowhere"],
        &["ls", "--json", "."],
        &["stat", "--json", "a:b"],
        &["doctor", "--json", "nonsense"],
        &["node", "add", "a/b", LINK],
        &["node", "add", "link", LINK],
        &["completions", "cobol"],
        &["config", "show", "nonsense"],
    ] {
        let ran = home.run(words).code(2);
        assert_eq!(ran.text(), "", "{words:?}");
        assert!(!ran.stderr.is_empty(), "{words:?}");
    }
}

#[test]
fn a_name_without_a_node_suggests_the_local_file() {
    let home = Home::new();
    let ran = home.run(&["cp", "a:b", &format!("{LINK}/x")]).code(2);
    assert!(ran.stderr.contains("./a:b"), "{}", ran.stderr);
}

#[test]
fn tokens_are_never_shown() {
    let home = Home::new();
    let token = "Zm9yYmlkZGVuZm9yYmlkZGVuZm9yYmlkZGVuZm9yYmk";
    let link = LINK.replacen(&"A".repeat(43), token, 1);
    for words in [
        &["ls", &link][..],
        &["-vvv", "ls", &link],
        &["cp", "--retries", "0", "--connect-timeout", "1s", "/dev/null", &link],
        &["cp", &link, &link],
        &["ls", &link.replace("127.0.0.1:9", "127.0.0.1")],
    ] {
        let ran = home.run(words);
        assert_ne!(ran.code, 0);
        assert!(!ran.stderr.contains(token) && !ran.text().contains(token), "{}", ran.stderr);
    }
}

#[test]
fn completions_and_manual_pages() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(home.run(&["completions", shell]).code(0).text().contains("max-duration"), "{shell}");
    }
    let pages = home.path("man");
    home.run(&["man".as_ref(), pages.as_os_str()]).code(0);
    for page in ["xferctl", "xferctl-cp", "xferctl-serve", "xferctl-node-add", "xferctl-doctor"] {
        let text = fs::read_to_string(pages.join(format!("{page}.1"))).unwrap();
        for section in ["NAME", "SYNOPSIS", "EXIT STATUS", "FILES", "ENVIRONMENT", "EXAMPLES"] {
            assert!(text.contains(section), "{page} {section}");
        }
    }
    home.run(&["man".as_ref(), home.path("no/such").as_os_str()]).code(3);
}

#[test]
fn flag_over_variable_over_files_over_default() {
    let home = Home::new();
    let compare = |variable: Option<&str>| {
        let mut command = home.tool(&["config", "show", "--origin", "cp"]);
        if let Some(value) = variable {
            command.env("XFER_COMPARE", value);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().find(|line| line.starts_with("compare ")).unwrap().to_owned()
    };
    assert_eq!(compare(None), "compare = \"mtime\"  # default");
    let user = home.file("config/xfer/config.toml", "[cp]\ncompare = \"size\"\n");
    assert_eq!(compare(None), format!("compare = \"size\"  # {}", user.display()));
    home.file("work/xfer.toml", "compare = \"exists\"\n");
    assert_eq!(compare(None), "compare = \"exists\"  # ./xfer.toml");
    assert_eq!(compare(Some("digest")), "compare = \"digest\"  # XFER_COMPARE");

    // A flag is above all: the wrong variable is not even read.
    let words = ["cp", "--rate", "1Gbit", "--retries", "0", "/no/such/source"];
    let run = |words: &[&str]| {
        let mut command = home.tool(words);
        command.env("XFER_RATE", "7").arg(format!("{LINK}/x"));
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(run(&words).0, Some(4));
    let (code, stderr) = run(&["cp", "/no/such/source"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("XFER_RATE"), "{stderr}");
}

#[test]
fn variables_set_flags_of_every_kind() {
    let home = Home::new();
    let output = |name: &str, value: &str| {
        let mut command = home.tool(&["node", "ls"]);
        let output = command.env(name, value).env("XFER_LINK", LINK).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert!(output("XFER_JSON", "true").1.contains(r#""name":"link""#));
    assert!(output("XFER_JSON", "0").1.starts_with("link  127.0.0.1:9"));
    assert_eq!(output("XFER_JSON", "maybe").0, Some(2));
    assert_eq!(output("XFER_VERBOSE", "2").0, Some(0));
}

#[test]
fn the_working_directory_sets_no_security_options() {
    let home = Home::new();
    for text in ["no-encrypt = true", "[serve]\nallow-plain = true", "digest = 'none'"] {
        home.file("work/xfer.toml", text);
        let ran = home.run(&["config", "show"]).code(2);
        assert!(ran.stderr.contains("xfer.toml may not set"), "{}", ran.stderr);
    }
    home.file("work/xfer.toml", "nonsense = 1");
    home.run(&["node", "ls"]).code(2);
}

#[test]
fn the_node_book_is_kept() {
    let home = Home::new();
    home.run(&["node", "add", "n1", LINK]).code(0);
    home.file("link.txt", format!("{LINK}\n"));
    let at = format!("@{}", home.path("link.txt").display());
    home.run(&["node", "add", "n2", &at]).code(0);
    let mut command = home.tool(&["node", "add", "n3", "-"]);
    assert!(command.write_stdin(format!("{LINK}\n")).output().unwrap().status.success());
    let listed = home.run(&["node", "ls", "--json"]).code(0);
    let names: Vec<_> = listed.lines().iter().map(|line| line["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, ["n1", "n2", "n3"]);
    assert!(!listed.text().contains("AAAAAAAA"));
    home.run(&["node", "rm", "n1", "n3"]).code(0);
    assert_eq!(home.run(&["node", "ls"]).code(0).text(), "n2  127.0.0.1:9\n");
    home.run(&["node", "rm", "n1"]).code(4);
    home.run(&["node", "add", "n1", "@/no/such/file"]).code(4);

    use std::os::unix::fs::PermissionsExt;
    let book = home.path("config/xfer/nodes.toml");
    fs::set_permissions(book, fs::Permissions::from_mode(0o644)).unwrap();
    home.run(&["node", "ls"]).code(13);
}

#[test]
fn digests_are_those_of_b3sum() {
    let home = Home::new();
    let empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
    home.file("work/e", "");
    home.file("work/a\\b\n", "");
    let ran = home.run(&["hash", "e", "a\\b\n", "./e"]).code(0);
    assert_eq!(ran.text(), format!("{empty}  e\n\\{empty}  a\\\\b\\n\n{empty}  ./e\n"));
    let output = home.tool(&["hash", "-"]).write_stdin("abc").output().unwrap();
    let abc = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{abc}  -\n"));
    home.run(&["hash", "nosuch"]).code(4);
    // A directory is a failure of no class of its own.
    home.run(&["hash", "."]).code(1);
    assert_eq!(home.run(&["hash", "nosuch", "e"]).code(16).text(), format!("{empty}  e\n"));
}

#[test]
fn this_host_is_looked_at() {
    let home = Home::new();
    let ran = home.run(&["doctor", "--json"]).code(0);
    let lines = ran.lines();
    let find = |check: &str| lines.iter().find(|line| line["check"] == check).unwrap();
    assert!(!find("cores")["facts"]["affinity"].as_array().unwrap().is_empty());
    assert!(lines.iter().any(|line| line["check"] == "nic" && line["facts"]["name"] == "lo"));
    assert!(find("udp")["facts"]["gso_segments"].as_u64().unwrap() >= 1);
    assert!(["untried", "absent"].contains(&find("udp")["facts"]["zero_copy"].as_str().unwrap()));
    assert!(find("udp")["facts"]["busy_poll_us"].is_u64());
    assert!(find("xdp")["facts"]["available"].is_boolean());
    assert_eq!(find("dpdk")["facts"]["available"], false);
    assert!(home.run(&["doctor"]).code(0).text().contains("rmem_max"));
}

#[test]
fn the_log_goes_where_it_is_told() {
    let home = Home::new();
    let log = home.path("log");
    let words = ["ls", "--log-format", "json", "-vv", "--log-file"].map(std::ffi::OsStr::new);
    home.run(&[&words[..], &[log.as_os_str(), LINK.as_ref()]].concat()).code(5);
    use std::os::unix::fs::MetadataExt;
    assert_eq!(fs::metadata(&log).unwrap().mode() & 0o777, 0o600);
    home.run(&["node", "ls", "--log-file", "/no/such/directory/log"]).code(1);
}
