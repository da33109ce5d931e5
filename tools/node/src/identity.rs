//! Who a node is: certificate, key and token, kept in the state directory so that a restart prints the same link.

use crate::limits::IDENTITY_LEN_MAX;
use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use xfer_engine::{Class, Error};

const LOCK: &str = "lock";
const IDENTITY: &str = "identity";

/// The state directory of one node, locked while this lives.
#[derive(Debug)]
pub(crate) struct State {
    _lock: File,
}

impl State {
    /// Creates the directory when it is missing and locks it.
    ///
    /// # Errors
    /// `Fatal` when another node holds it; what the kernel says when it cannot be used.
    pub(crate) fn lock(directory: &Path) -> Result<State, Error> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|e| failed("create state directory", directory, &e))?;
        let path = directory.join(LOCK);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|e| failed("open", &path, &e))?;
        match file.try_lock() {
            Ok(()) => Ok(State { _lock: file }),
            Err(TryLockError::WouldBlock) => {
                Err(Error::new(Class::Fatal, "another node uses the state directory")
                    .object(directory.as_os_str().as_bytes())
                    .because("give this one a directory of its own with --state DIR"))
            }
            Err(TryLockError::Error(e)) => Err(failed("lock", &path, &e)),
        }
    }
}

/// Certificate, key and token of a node.
pub(crate) struct Identity {
    certificate: Vec<u8>,
    key: Vec<u8>,
    token: [u8; 32],
}

impl Identity {
    /// Reads the identity of a state directory, or makes and keeps one.
    ///
    /// # Errors
    /// `Denied` when others may read the file, `Other` when it is damaged; what the kernel says.
    pub(crate) fn load_or_create(directory: &Path) -> Result<Identity, Error> {
        let path = directory.join(IDENTITY);
        match File::open(&path) {
            Ok(file) => Identity::load(&path, file),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let identity = Identity::generate()?;
                identity.save(directory, &path).map_err(|e| failed("write", &path, &e))?;
                Ok(identity)
            }
            Err(e) => Err(failed("open", &path, &e)),
        }
    }

    fn load(path: &Path, file: File) -> Result<Identity, Error> {
        let mode = file.metadata().map_err(|e| failed("stat", path, &e))?.mode();
        if mode & 0o077 != 0 {
            return Err(Error::new(Class::Denied, "others may read the node's key")
                .object(path.as_os_str().as_bytes())
                .because(format!(
                    "its mode is {:04o}; chmod 600 it, or remove it for a new identity",
                    mode & 0o7777
                )));
        }
        let mut text = String::new();
        file.take(IDENTITY_LEN_MAX).read_to_string(&mut text).map_err(|e| failed("read", path, &e))?;
        Identity::decode(&text).ok_or_else(|| {
            Error::new(Class::Other, "the node's identity is damaged")
                .object(path.as_os_str().as_bytes())
                .because("remove it for a new identity; links printed so far end with it")
        })
    }

    fn generate() -> Result<Identity, Error> {
        let broken = |what: &str| Error::new(Class::Other, format!("cannot make a {what} for the node"));
        let key = rcgen::KeyPair::generate().map_err(|e| broken("key").because(e))?;
        let mut parameters = rcgen::CertificateParams::new(vec!["xfer".to_owned()])
            .map_err(|e| broken("certificate").because(e))?;
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "xfer node");
        let certificate = parameters.self_signed(&key).map_err(|e| broken("certificate").because(e))?;
        let mut token = [0; 32];
        rand::fill(&mut token).map_err(|_| broken("token"))?;
        Ok(Identity { certificate: certificate.der().to_vec(), key: key.serialize_der(), token })
    }

    pub(crate) fn encode(&self) -> String {
        format!(
            "certificate {}\nkey {}\ntoken {}\n",
            STANDARD.encode(&self.certificate),
            STANDARD.encode(&self.key),
            STANDARD.encode(self.token)
        )
    }

    pub(crate) fn decode(text: &str) -> Option<Identity> {
        let mut lines = text.lines();
        let mut field = |name: &str| {
            let (key, value) = lines.next()?.split_once(' ')?;
            (key == name).then(|| STANDARD.decode(value).ok())?
        };
        Some(Identity {
            certificate: field("certificate")?,
            key: field("key")?,
            token: field("token")?.try_into().ok()?,
        })
    }

    /// Whole or not at all, readable by the owner alone.
    fn save(&self, directory: &Path, path: &Path) -> io::Result<()> {
        let partial = path.with_extension("new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        file.write_all(self.encode().as_bytes())?;
        file.sync_all()?;
        fs::rename(&partial, path)?;
        File::open(directory)?.sync_all()
    }

    /// The bearer secret.
    pub(crate) fn token(&self) -> &[u8; 32] {
        &self.token
    }

    /// `xfer://TOKEN.FINGERPRINT@` and the addresses.
    pub(crate) fn link(&self, addresses: &[String]) -> String {
        let token = URL_SAFE_NO_PAD.encode(self.token);
        format!("xfer://{token}.{}@{}", self.fingerprint(), addresses.join(","))
    }

    /// The certificate's fingerprint, as links have it.
    pub(crate) fn fingerprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &self.certificate).as_ref())
    }

    /// The certificate chain, of one.
    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from(self.certificate.clone())]
    }

    /// The private key.
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }
}

fn failed(what: &str, path: &Path, cause: &io::Error) -> Error {
    let errno = cause.raw_os_error();
    let class = errno.map_or(Class::Other, Class::of_errno);
    let mut error = Error::new(class, what).object(path.as_os_str().as_bytes()).because(cause);
    error.errno = errno;
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn persists_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let addresses = ["h:1".to_owned()];
        let first = Identity::load_or_create(dir.path()).unwrap().link(&addresses);
        let again = Identity::load_or_create(dir.path()).unwrap().link(&addresses);
        assert_eq!(first, again);
        assert_eq!(first.len(), "xfer://".len() + 43 + 1 + 43 + "@h:1".len());
        let path = dir.path().join(IDENTITY);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(Identity::load_or_create(dir.path()).err().unwrap().class, Class::Denied);
    }

    #[test]
    fn a_damaged_identity_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        drop(Identity::load_or_create(dir.path()).unwrap());
        let path = dir.path().join(IDENTITY);
        let text = fs::read_to_string(&path).unwrap();
        for damaged in ["", &text[..text.len() - 10], &text.replace("key", "kee")] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(Identity::load_or_create(dir.path()).err().unwrap().class, Class::Other);
            assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
        }
    }

    #[test]
    fn a_second_node_is_told_of_state() {
        let dir = tempfile::tempdir().unwrap();
        let held = State::lock(&dir.path().join("s")).unwrap();
        let error = State::lock(&dir.path().join("s")).unwrap_err();
        assert_eq!(error.class, Class::Fatal);
        assert!(error.to_string().contains("--state"), "{error}");
        drop(held);
        assert!(State::lock(&dir.path().join("s")).is_ok());
    }
}
