//! A certificate that is made at the server's start and that the client is given by a file: there is no authority.

use std::fs;
use std::path::Path;

use crate::{Outcome, SERVER_NAME};

/// A key and its certificate, both PEM.
pub(crate) struct Credentials {
    pub(crate) key: String,
    pub(crate) certificate: String,
}

/// Makes both, and writes the certificate to `file`.
pub(crate) fn make(file: &Path) -> Outcome<Credentials> {
    let made = rcgen::generate_simple_self_signed([SERVER_NAME.to_owned()])?;
    let certificate = made.cert.pem();
    fs::write(file, &certificate).map_err(|cause| format!("write {}: {cause}", file.display()))?;
    Ok(Credentials { key: made.signing_key.serialize_pem(), certificate })
}

/// The certificate that the server wrote to `file`, PEM.
pub(crate) fn read(file: &Path) -> Outcome<String> {
    Ok(fs::read_to_string(file).map_err(|cause| format!("read {}: {cause}", file.display()))?)
}
