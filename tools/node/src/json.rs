//! The product's JSON lines (PRODUCT.md, "Output"), as far as the audit and the tool have them in common: time, names, errors.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Serialize;
use xfer_engine::{Error, Side};

/// The format of the lines.
pub const SCHEMA: &str = "xfer/1";

/// The time of a line: RFC 3339, UTC, milliseconds.
pub fn timestamp() -> String {
    format!("{:.3}", Timestamp::now())
}

/// A name's text, and its bytes in base 64 when they are not UTF-8.
pub fn name(bytes: &[u8]) -> (String, Option<String>) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return (text.to_owned(), None);
    }
    let shown = bytes
        .utf8_chunks()
        .map(|chunk| format!("{}{}", chunk.valid(), chunk.invalid().escape_ascii()))
        .collect();
    (shown, Some(STANDARD.encode(bytes)))
}

/// A name: `path`, and `path_b64` when it is not UTF-8.
#[derive(Clone, Debug, Serialize)]
pub struct Path {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
}

impl Path {
    /// Of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        let (path, path_b64) = name(bytes);
        Path { path, path_b64 }
    }
}

/// An error: `class side node path offset message causes[]`.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    class: u8,
    side: Option<&'static str>,
    node: Option<String>,
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    offset: Option<u64>,
    message: String,
    causes: Vec<String>,
}

impl Failure {
    /// Of this error.
    pub fn new(error: &Error) -> Self {
        let (path, path_b64) =
            error.name.as_deref().map(name).map_or((None, None), |(path, b64)| (Some(path), b64));
        Failure {
            class: error.class.exit_code(),
            side: error.side.map(side),
            node: error.node.clone(),
            path,
            path_b64,
            offset: error.offset,
            message: error.message.clone(),
            causes: error.causes.clone(),
        }
    }
}

/// An end, as `limited_side` and errors name it.
pub fn side(side: Side) -> &'static str {
    match side {
        Side::Source => "src",
        Side::Destination => "dst",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xfer_engine::Class;

    #[test]
    fn names_are_exact() {
        assert_eq!(name("a\n\\ä".as_bytes()), ("a\n\\ä".to_owned(), None));
        assert_eq!(name(b"a\xff\\"), ("a\\xff\\".to_owned(), Some("Yf9c".to_owned())));
        assert_eq!(name(b""), (String::new(), None));
    }

    #[test]
    fn errors_have_all_their_parts() {
        let error =
            Error::new(Class::Fatal, "read").on(Side::Source).node("n1").object("a").at(7).because("bad");
        let text = serde_json::to_string(&Failure::new(&error)).unwrap();
        assert_eq!(
            text,
            r#"{"class":7,"side":"src","node":"n1","path":"a","offset":7,"message":"read","causes":["bad"]}"#
        );
    }
}
