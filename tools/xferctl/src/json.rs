//! JSON lines (PRODUCT.md, "Output"): one object a line, each with `type`, `ts` and `schema`.

use crate::output::Stdout;
use serde::Serialize;
use xfer_client::{Error, Stage};
pub(crate) use xfer_node::json::{Failure, Path, SCHEMA, name, side, timestamp};

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

/// A stage for people.
pub(crate) fn stage_text(stage: Stage) -> String {
    stage.name().replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
