//! What a node allows, and what a request asks for: checked and turned into the engine's values before anything is opened.

use crate::limits::{FILTERS_MAX, ONLY_MAX, REQUEST_ID_LEN_MAX, SOURCES_MAX};
use crate::pb;
use crate::roots::{OpenRoots, Place, RemotePath, Served};
use crate::tree;
use xfer_engine::{Class, CongestionControl, Direction, Error, Side, Suite, TransferConfig};

/// The engine protocol that this node speaks.
const VERSION: u32 = 1;

/// What the operator allows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) read_only: bool,
    pub(crate) allow_plain: bool,
    pub(crate) allow_unverified: bool,
}

/// What holds for either direction.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) suite: Suite,
    pub(crate) direction: Direction,
    pub(crate) config: TransferConfig,
    pub(crate) recursive: bool,
    pub(crate) preserve: pb::Preserve,
    pub(crate) want_digests: bool,
    pub(crate) list_digests: bool,
}

impl Policy {
    /// Checks what holds for either direction.
    ///
    /// # Errors
    /// `Refused` for what the operator does not allow and for a protocol that the node does not speak, `Usage` for what makes no sense.
    pub(crate) fn terms(&self, request: &pb::CreateTransferRequest) -> Result<Terms, Error> {
        let options = request.options.unwrap_or_default();
        if !request.versions.is_empty() && !request.versions.contains(&VERSION) {
            return Err(Error::new(
                Class::Refused,
                format!(
                    "no common protocol version: the client speaks {:?}, the node {VERSION}",
                    request.versions
                ),
            ));
        }
        if request.request_id.len() > REQUEST_ID_LEN_MAX {
            return Err(Error::new(Class::Usage, "a request_id has at most 64 bytes"));
        }
        let suite = match options.suite() {
            pb::Suite::Unspecified | pb::Suite::Aes128Gcm => Suite::Aes128Gcm,
            pb::Suite::Chacha20Poly1305 => Suite::ChaCha20Poly1305,
            pb::Suite::Plain if self.allow_plain => Suite::Plain,
            pb::Suite::Plain => {
                return Err(Error::new(Class::Refused, "the node refuses unencrypted data")
                    .because("serve with --allow-plain to allow it"));
            }
        };
        if !options.digests && !self.allow_unverified {
            return Err(Error::new(Class::Refused, "the node refuses transfers without digests")
                .because("serve with --allow-unverified to allow them"));
        }
        let direction = match &request.what {
            Some(pb::create_transfer_request::What::Upload(_)) => Direction::OpenerSends,
            Some(pb::create_transfer_request::What::Download(_)) => Direction::OpenerReceives,
            None => return Err(Error::new(Class::Usage, "neither upload nor download")),
        };
        Ok(Terms {
            suite,
            direction,
            config: config(&options)?,
            recursive: options.recursive,
            preserve: options.preserve.unwrap_or_default(),
            want_digests: options.digests && options.digest_skipped,
            list_digests: options.list_digests,
        })
    }

    /// Checks where an upload goes: the root, and the destination as it was meant, relative to it.
    ///
    /// # Errors
    /// `Refused` for a read-only node, the level of the roots' names, `..` and partial files; `NoDestination` for an unknown root.
    pub(crate) fn destination<'a>(
        &self,
        roots: &'a OpenRoots,
        upload: &pb::Upload,
    ) -> Result<(&'a Served, Vec<u8>), Error> {
        let refused =
            |why: &str| Error::new(Class::Refused, why).on(Side::Destination).object(&upload.destination[..]);
        if self.read_only {
            return Err(refused("the node is read-only: cannot write"));
        }
        let path = RemotePath::parse(&upload.destination).map_err(|e| e.on(Side::Destination))?;
        if tree::is_hidden(&path.name) {
            return Err(refused("partial files are the node's own: cannot write"));
        }
        check_sources(&upload.sources)?;
        match roots.place(&path) {
            Ok(Place::Names) => {
                Err(refused("only the node's operator makes roots: cannot write among their names"))
            }
            Ok(Place::Within(served, name)) => {
                let spelled = path.spelled(&name);
                Ok((served, spelled))
            }
            Err(e) => Err(Error { class: Class::NoDestination, ..e }.on(Side::Destination)),
        }
    }

    /// Checks what a download asks for, without looking at files.
    ///
    /// # Errors
    /// `Usage` for too much or nothing.
    pub(crate) fn download(&self, download: &pb::Download) -> Result<(), Error> {
        let usage = |why: &str| Err(Error::new(Class::Usage, why).on(Side::Source));
        if download.sources.is_empty() {
            return usage("nothing to copy");
        }
        if download.sources.len() > SOURCES_MAX {
            return usage("too many sources for one transfer");
        }
        if download.filters.len() > FILTERS_MAX {
            return usage("too many filters for one transfer");
        }
        if download.only.len() > ONLY_MAX {
            return usage("too many files for one transfer");
        }
        if !download.only.is_empty() && download.sources.len() > 1 {
            return usage("a list of files needs one source that they are in");
        }
        Ok(())
    }
}

fn config(options: &pb::TransferOptions) -> Result<TransferConfig, Error> {
    let chunk_log2 = match options.chunk_log2 {
        0 => TransferConfig::default().chunk_log2,
        log2 @ 16..=26 => log2 as u8,
        _ => return Err(Error::new(Class::Usage, "a chunk is a power of two from 64 KiB to 64 MiB")),
    };
    let congestion = match options.congestion() {
        pb::Congestion::Unspecified | pb::Congestion::Bbr => CongestionControl::Bbr,
        pb::Congestion::Cubic => CongestionControl::Cubic,
        pb::Congestion::Ledbat => CongestionControl::Ledbat,
        pb::Congestion::Fixed if options.rate_max == 0 => {
            return Err(Error::new(Class::Usage, "a fixed rate needs a rate"));
        }
        pb::Congestion::Fixed => CongestionControl::Fixed,
    };
    let rate_max = (options.rate_max > 0).then_some(options.rate_max);
    Ok(TransferConfig { chunk_log2, digests: options.digests, congestion, rate_max })
}

fn check_sources(sources: &[pb::SourceInfo]) -> Result<(), Error> {
    if sources.is_empty() {
        return Err(Error::new(Class::Usage, "nothing to copy").on(Side::Source));
    }
    if sources.len() > SOURCES_MAX {
        return Err(Error::new(Class::Usage, "too many sources for one transfer").on(Side::Source));
    }
    for source in sources {
        let name = &source.name[..];
        let bad = name.contains(&b'/') || name.contains(&0) || name == b".." || name == tree::PARTIAL;
        let unnamed = (name.is_empty() || name == b".") && !source.contents_only;
        if bad || unnamed {
            return Err(Error::new(Class::Refused, "a source has no name that a node may take:")
                .on(Side::Source)
                .object(name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roots::Roots;

    fn request(upload: bool, edit: impl FnOnce(&mut pb::TransferOptions)) -> pb::CreateTransferRequest {
        let mut options = pb::TransferOptions { digests: true, ..Default::default() };
        edit(&mut options);
        let what = if upload {
            pb::create_transfer_request::What::Upload(pb::Upload::default())
        } else {
            pb::create_transfer_request::What::Download(pb::Download::default())
        };
        pb::CreateTransferRequest { what: Some(what), options: Some(options), ..Default::default() }
    }

    fn class(policy: Policy, edit: impl FnOnce(&mut pb::TransferOptions)) -> Option<Class> {
        policy.terms(&request(true, edit)).err().map(|e| e.class)
    }

    #[test]
    fn plain_and_unverified_need_the_operator() {
        let open = Policy { allow_plain: true, allow_unverified: true, read_only: false };
        assert_eq!(class(Policy::default(), |_| ()), None);
        assert_eq!(class(Policy::default(), |o| o.set_suite(pb::Suite::Plain)), Some(Class::Refused));
        assert_eq!(class(open, |o| o.set_suite(pb::Suite::Plain)), None);
        assert_eq!(class(Policy::default(), |o| o.digests = false), Some(Class::Refused));
        assert_eq!(class(open, |o| o.digests = false), None);
    }

    #[test]
    fn options_have_bounds() {
        for (log2, expected) in
            [(0, None), (15, Some(Class::Usage)), (16, None), (26, None), (27, Some(Class::Usage))]
        {
            assert_eq!(class(Policy::default(), |o| o.chunk_log2 = log2), expected, "{log2}");
        }
        assert_eq!(class(Policy::default(), |o| o.set_congestion(pb::Congestion::Fixed)), Some(Class::Usage));
        let fixed = |o: &mut pb::TransferOptions| {
            o.set_congestion(pb::Congestion::Fixed);
            o.rate_max = 1;
        };
        assert_eq!(class(Policy::default(), fixed), None);
        let mut versions = request(true, |_| ());
        versions.versions = vec![2, 3];
        let error = Policy::default().terms(&versions).unwrap_err();
        assert_eq!(error.class, Class::Refused);
        assert!(error.to_string().contains("[2, 3]"), "{error}");
        versions.versions.push(1);
        assert!(Policy::default().terms(&versions).is_ok());
        assert_eq!(
            Policy::default().terms(&request(false, |_| ())).unwrap().direction,
            Direction::OpenerReceives
        );
        let nothing = pb::CreateTransferRequest { what: None, ..request(true, |_| ()) };
        assert_eq!(Policy::default().terms(&nothing).unwrap_err().class, Class::Usage);
    }

    #[test]
    fn destinations() {
        let dir = tempfile::tempdir().unwrap();
        let one = OpenRoots::open(&Roots::One(dir.path().into())).unwrap();
        let named = OpenRoots::open(&Roots::Named([("x".to_owned(), dir.path().to_owned())].into())).unwrap();
        let source = pb::SourceInfo { name: b"f".to_vec(), ..Default::default() };
        let at = |policy: Policy, roots: &OpenRoots, path: &str| {
            let upload = pb::Upload {
                destination: path.as_bytes().to_vec(),
                sources: vec![source.clone()],
                receive: None,
            };
            policy
                .destination(roots, &upload)
                .map(|(_, name)| String::from_utf8(name).unwrap())
                .map_err(|e| e.class)
        };
        let (open, read_only) = (Policy::default(), Policy { read_only: true, ..Policy::default() });
        assert_eq!(at(open, &one, "/a/b/"), Ok("a/b/".to_owned()));
        assert_eq!(at(open, &one, ""), Ok(String::new()));
        assert_eq!(at(read_only, &one, "a"), Err(Class::Refused));
        assert_eq!(at(open, &one, "a/../b"), Err(Class::Refused));
        assert_eq!(at(open, &one, "a/.xfer-partial/x"), Err(Class::Refused));
        assert_eq!(at(open, &named, ""), Err(Class::Refused));
        assert_eq!(at(open, &named, "y/a"), Err(Class::NoDestination));
        assert_eq!(at(open, &named, "x/a"), Ok("a".to_owned()));
    }

    #[test]
    fn source_names_cannot_lead_elsewhere() {
        let named = |name: &[u8], contents_only| {
            let source = pb::SourceInfo { name: name.to_vec(), contents_only, ..Default::default() };
            check_sources(&[source]).err().map(|e| e.class)
        };
        assert_eq!(named(b"f", false), None);
        assert_eq!(named(b".", true), None);
        assert_eq!(named(b"", true), None);
        for bad in [&b""[..], b".", b"..", b"a/b", b"a\0", b".xfer-partial"] {
            assert_eq!(named(bad, false), Some(Class::Refused), "{}", bad.escape_ascii());
        }
        assert_eq!(check_sources(&[]).unwrap_err().class, Class::Usage);
    }
}
