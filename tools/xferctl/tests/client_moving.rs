//! Content between a real client and a real node over loopback: files and trees, both ways, twice.

mod in_process;

use in_process::{Served, config};
use std::fs;
use std::path::Path;
use xfer_client::Location;
use xfer_client::copy::{CopyRequest, Summary, copy};
use xfer_engine::digest;
use xfer_node::Roots;

fn serve() -> Served {
    Served::start(|dir| {
        fs::create_dir(dir.join("root")).unwrap();
        config(dir, Roots::One(dir.join("root")))
    })
}

fn here(served: &Served, path: &str) -> Location {
    Location::Local(served.path(path))
}

fn run(source: Location, destination: Location) -> Summary {
    let mut request = CopyRequest::new(vec![source], destination);
    request.options.recursive = true;
    let summary = copy(&request, &mut |_| ()).unwrap();
    assert_eq!(summary.error, None);
    summary
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i / 1_000 + i % 251) as u8).collect()
}

fn same(a: &Path, b: &Path) {
    assert!(fs::read(a).unwrap() == fs::read(b).unwrap(), "{} and {}", a.display(), b.display());
}

#[test]
fn a_file_goes_there_and_back() {
    let served = serve();
    for len in [0, 1, 1_000, 300_000, (5 << 20) + 17] {
        let bytes = content(len);
        fs::write(served.path("f"), &bytes).unwrap();
        let up = run(here(&served, "f"), served.there("g"));
        assert_eq!((up.bytes, up.files, up.digest), (len as u64, 1, Some(digest::root(&bytes))), "{len}");
        same(&served.path("f"), &served.path("root/g"));
        let down = run(served.there("g"), here(&served, "h"));
        assert_eq!(
            (down.bytes, down.files, down.digest),
            (len as u64, 1, Some(digest::root(&bytes))),
            "{len}"
        );
        assert!(down.verified);
        same(&served.path("f"), &served.path("h"));
        fs::remove_file(served.path("root/g")).unwrap();
        fs::remove_file(served.path("h")).unwrap();
    }
}

#[test]
fn a_tree_goes_there_and_back_and_is_skipped_the_second_time() {
    let served = serve();
    for directory in ["t/a/b", "t/empty"] {
        fs::create_dir_all(served.path(directory)).unwrap();
    }
    for i in 0..50 {
        fs::write(served.path(&format!("t/a/{i}")), content(i * 7_000)).unwrap();
    }
    fs::write(served.path("t/a/b/big"), content(3 << 20)).unwrap();
    std::os::unix::fs::symlink("nowhere", served.path("t/s")).unwrap();
    let up = run(here(&served, "t"), served.there("copy"));
    assert_eq!((up.files, up.skipped), (52, 0));
    let again = run(here(&served, "t"), served.there("copy/"));
    // The destination is there now, so the tree goes into it.
    assert_eq!((again.files, again.skipped), (52, 0));
    let into = run(here(&served, "t/."), served.there("copy"));
    assert_eq!((into.files, into.skipped, into.bytes), (0, 52, 0));
    assert_eq!((into.digest, into.skipped_bytes), (up.digest, up.bytes));
    let down = run(served.there("copy/t"), here(&served, "back"));
    assert_eq!((down.files, down.digest), (52, up.digest));
    same(&served.path("t/a/b/big"), &served.path("back/a/b/big"));
    same(&served.path("t/a/49"), &served.path("back/a/49"));
    assert!(served.path("back/empty").is_dir());
    assert!(!served.path("back/.xfer-partial").exists() && !served.path("root/copy/.xfer-partial").exists());
}
