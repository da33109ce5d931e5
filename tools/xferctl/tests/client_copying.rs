//! Copies as far as they are decided before content moves: mappings of dry runs, refusals of a real node, ends without a connection.

mod in_process;

use in_process::{Served, config};
use std::fs;
use std::ops::Deref;
use std::sync::atomic::Ordering;
use std::time::Duration;
use xfer_client::copy::{Cipher, CopyEvent, CopyOptions, CopyRequest, Filter, Summary, copy};
use xfer_client::{Location, Remote};
use xfer_engine::{Class, Error};
use xfer_node::{NodeConfig, Roots};

struct Bench(Served);

impl Deref for Bench {
    type Target = Served;

    fn deref(&self) -> &Served {
        &self.0
    }
}

impl Bench {
    fn new(edit: impl FnOnce(&mut NodeConfig)) -> Bench {
        Bench(Served::start(|dir| {
            for made in ["root/D/sub", "root/src/d", "here/d/e"] {
                fs::create_dir_all(dir.join(made)).unwrap();
            }
            for made in ["root/src/f", "root/src/d/g", "root/D/old", "here/f", "here/d/x", "here/d/e/y"] {
                fs::write(dir.join(made), made).unwrap();
            }
            let mut config = config(dir, Roots::One(dir.join("root")));
            edit(&mut config);
            config
        }))
    }

    fn plain() -> Bench {
        Bench::new(|_| ())
    }

    fn here(&self, path: &str) -> Location {
        // `join` would keep a trailing slash and `.`, as a shell does.
        Location::Local(format!("{}/here/{path}", self.dir.path().display()).into())
    }

    fn copy(
        &self,
        sources: &[Location],
        destination: Location,
        edit: impl FnOnce(&mut CopyOptions),
    ) -> (Summary, Vec<String>) {
        let mut request = CopyRequest::new(sources.to_vec(), destination);
        edit(&mut request.options);
        let mut mappings = Vec::new();
        let base = format!("{}/", self.dir.path().display());
        let mut tell = |event| {
            if let CopyEvent::Mapping { source, destination, .. } = event {
                let text = format!("{} > {}", source.escape_ascii(), destination.escape_ascii());
                mappings.push(text.replace(&base, ""));
            }
        };
        let summary = copy(&request, &mut tell).unwrap();
        (summary, mappings)
    }

    fn mapped(&self, source: Location, destination: Location) -> Vec<String> {
        let (summary, mappings) = self.copy(&[source], destination, dry);
        assert_eq!(summary.error, None);
        mappings
    }

    fn error(
        &self,
        sources: &[Location],
        destination: Location,
        edit: impl FnOnce(&mut CopyOptions),
    ) -> Error {
        self.copy(sources, destination, edit).0.error.expect("it fails")
    }
}

fn dry(options: &mut CopyOptions) {
    (options.dry_run, options.recursive) = (true, true);
}

#[test]
fn a_dry_upload_tells_where_names_go() {
    let bench = Bench::plain();
    let mapped = |source, destination| bench.mapped(bench.here(source), bench.there(destination));
    assert_eq!(mapped("f", "D"), ["f > D/f"]);
    assert_eq!(mapped("f", "D/new"), ["f > D/new"]);
    assert_eq!(mapped("f", "D/old"), ["f > D/old"]);
    assert_eq!(mapped("d", "D/"), ["d > D/d", "d/e > D/d/e", "d/e/y > D/d/e/y", "d/x > D/d/x"]);
    assert_eq!(mapped("d", "new"), ["d > new", "d/e > new/e", "d/e/y > new/e/y", "d/x > new/x"]);
    assert_eq!(mapped("d/.", "D"), [". > D", "e > D/e", "e/y > D/e/y", "x > D/x"]);
    assert!(!bench.path("root/new").exists());
}

#[test]
fn a_dry_download_tells_where_names_go() {
    let bench = Bench::plain();
    let mapped = |source, destination| bench.mapped(bench.there(source), bench.here(destination));
    assert_eq!(mapped("src/f", "d"), ["src/f > here/d/f"]);
    assert_eq!(mapped("src/f", "f"), ["src/f > here/f"]);
    let all = ["src > here/new", "src/d > here/new/d", "src/d/g > here/new/d/g", "src/f > here/new/f"];
    assert_eq!(mapped("src", "new"), all);
    let excluded = |options: &mut CopyOptions| {
        dry(options);
        options.filters.push(Filter { include: false, glob: "d".to_owned() });
    };
    let (_, mappings) = bench.copy(&[bench.there("src")], bench.here("d"), excluded);
    assert_eq!(mappings, ["src > here/d/src", "src/f > here/d/src/f"]);
    assert!(!bench.path("here/new").exists());
}

#[test]
fn ends_that_do_not_fit_are_told_apart() {
    let bench = Bench::plain();
    let recursive = |options: &mut CopyOptions| options.recursive = true;
    let up = |source: &str, to: &str| bench.error(&[bench.here(source)], bench.there(to), recursive).class;
    let down = |source: &str, to: &str| bench.error(&[bench.there(source)], bench.here(to), recursive).class;
    assert_eq!(up("f", "no/x"), Class::NoDestination);
    assert_eq!(up("f", "no/"), Class::NoDestination);
    assert_eq!(up("no", "D"), Class::NoSource);
    assert_eq!(up("d", "D/old"), Class::Usage);
    assert_eq!(up("f", "../x"), Class::Refused);
    assert_eq!(up("f", "D/../x"), Class::Refused);
    assert_eq!(up("f", ".xfer-partial/x"), Class::Refused);
    assert_eq!(down("no", "d"), Class::NoSource);
    assert_eq!(down("src/../src/f", "d"), Class::Refused);
    let dry_down = |source: &str, to: &str| bench.error(&[bench.there(source)], bench.here(to), dry).class;
    assert_eq!(dry_down("src/f", "no/x"), Class::NoDestination);
    assert_eq!(dry_down("src", "f"), Class::Usage);
    let flat = bench.error(&[bench.there("src")], bench.here("d"), |_| ());
    assert_eq!(flat.class, Class::Usage);
    assert!(flat.to_string().contains("-r"), "{flat}");
    let several = [bench.here("f"), bench.here("d")];
    assert_eq!(bench.error(&several, bench.there("D/old"), recursive).class, Class::Usage);
}

#[test]
fn policy_is_the_operators() {
    let bench = Bench::new(|config| config.read_only = true);
    assert_eq!(bench.error(&[bench.here("f")], bench.there("D"), |_| ()).class, Class::Refused);
    let bench = Bench::plain();
    let plain = |options: &mut CopyOptions| options.cipher = Cipher::None;
    let unverified = |options: &mut CopyOptions| options.digests = false;
    let told = bench.error(&[bench.there("src/f")], bench.here("d"), plain);
    assert!(told.class == Class::Refused && told.to_string().contains("--allow-plain"), "{told}");
    let told = bench.error(&[bench.there("src/f")], bench.here("d"), unverified);
    assert!(told.class == Class::Refused && told.to_string().contains("--allow-unverified"), "{told}");
    let root = |config: &mut NodeConfig, at: &str| {
        let path = config.state_dir.parent().unwrap().join("root").join(at);
        config.roots = Roots::Named([("one".to_owned(), path)].into());
    };
    let named = Bench::new(|config| root(config, "D"));
    assert_eq!(named.error(&[named.here("f")], named.there(""), |_| ()).class, Class::Refused);
    assert_eq!(named.error(&[named.here("f")], named.there("two/x"), |_| ()).class, Class::NoDestination);
}

#[test]
fn an_unreachable_node_is_not_retried_and_the_signal_ends_a_copy() {
    let bench = Bench::plain();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut link = bench.link.clone();
    link.addresses[0].port = closed.port();
    let gone = Location::Remote(Remote { link, node: "n1".to_owned(), path: Vec::new() });
    let error =
        bench.error(&[bench.here("f")], gone, |options| options.connect_timeout = Duration::from_secs(5));
    assert_eq!(error.class, Class::Temporary);
    let request = CopyRequest::new(vec![bench.here("f")], bench.here("g"));
    request.cancel.store(true, Ordering::Relaxed);
    assert_eq!(copy(&request, &mut |_| ()).unwrap_err().class, Class::Usage);
}
