//! JSON lines (PRODUCT.md, "Output"): one object a line, each with `type`, `ts` and `schema`.

use crate::names;
use crate::output::Stdout;
use jiff::Timestamp;
use serde::Serialize;
use xfer_client::{Error, Side};

/// The format of the lines.
const SCHEMA: &str = "xfer/1";

/// What every line begins with.
#[derive(Serialize)]
struct Line<'a, T> {
    #[serde(rename = "type")]
    kind: &'a str,
    ts: String,
    schema: &'a str,
    #[serde(flatten)]
    body: &'a T,
}

/// One line, its end included.
pub(crate) fn line<T: Serialize>(kind: &str, body: &T) -> String {
    let line = Line { kind, ts: timestamp(), schema: SCHEMA, body };
    // Bodies are structs of this crate with string keys: all of them have a JSON form.
    let mut text = serde_json::to_string(&line).expect("a line is JSON");
    text.push('\n');
    text
}

/// Prints one line on stdout.
pub(crate) fn print<T: Serialize>(stdout: &mut Stdout, kind: &str, body: &T) -> Result<(), Error> {
    stdout.write(line(kind, body).as_bytes())?;
    stdout.flush()
}

/// The time of a line: RFC 3339, UTC, milliseconds.
pub(crate) fn timestamp() -> String {
    format!("{:.3}", Timestamp::now())
}

/// A name: `path`, and `path_b64` when it is not UTF-8.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Path {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
}

impl Path {
    pub(crate) fn new(name: &[u8]) -> Self {
        let (path, path_b64) = names::for_json(name);
        Path { path, path_b64 }
    }
}

/// An error: `class side node path offset message causes[]`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failure {
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
    pub(crate) fn new(error: &Error) -> Self {
        let name = error.name.as_deref().map(names::for_json);
        let (path, path_b64) = name.map_or((None, None), |(path, b64)| (Some(path), b64));
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

/// An end as `limited_side` and errors name it.
pub(crate) fn side(side: Side) -> &'static str {
    match side {
        Side::Source => "src",
        Side::Destination => "dst",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xfer_client::Class;

    #[derive(Serialize)]
    struct Body {
        #[serde(flatten)]
        path: Path,
        error: Option<Failure>,
    }

    #[test]
    fn lines_begin_with_type_time_and_schema() {
        let text = line("error", &Body { path: Path::new(b"a\xff"), error: None });
        assert!(text.starts_with(r#"{"type":"error","ts":"2"#), "{text}");
        let end = r#"Z","schema":"xfer/1","path":"a\\xff","path_b64":"Yf8=","error":null}"#;
        assert!(text.ends_with(&format!("{end}\n")), "{text}");
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
