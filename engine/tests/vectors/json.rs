//! Just enough JSON to write the vectors: one item of a list a line, so that a change is a readable diff.

use std::fmt::Write;

pub(crate) enum Json {
    Number(i128),
    Text(String),
    List(Vec<Json>),
    Map(Vec<(&'static str, Json)>),
}

impl From<bool> for Json {
    /// As 0 or 1, as on the wire.
    fn from(v: bool) -> Json {
        Json::Number(i128::from(v))
    }
}

macro_rules! numbers {
    ($($t:ty),*) => {
        $(impl From<$t> for Json {
            fn from(v: $t) -> Json {
                Json::Number(i128::from(v))
            }
        })*
    };
}

numbers!(u8, u16, u32, u64, i32, i64);

impl From<&str> for Json {
    fn from(v: &str) -> Json {
        Json::Text(v.to_owned())
    }
}

/// Bytes as lower-case hex.
pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> Json {
    Json::Text(bytes.as_ref().iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").expect("a string takes all");
        out
    }))
}

/// A list of whatever becomes JSON.
pub(crate) fn list<T: Into<Json>>(items: impl IntoIterator<Item = T>) -> Json {
    Json::List(items.into_iter().map(Into::into).collect())
}

/// A map with its keys in this order.
pub(crate) fn map<const N: usize>(fields: [(&'static str, Json); N]) -> Json {
    Json::Map(fields.into())
}

impl Json {
    /// The document: the outer map's lists have one item a line.
    pub(crate) fn document(sections: Vec<(&'static str, Json)>) -> String {
        let mut out = String::from("{\n");
        let last = sections.len() - 1;
        for (i, (name, section)) in sections.iter().enumerate() {
            write!(out, "\"{name}\": ").expect("a string takes all");
            match section {
                Json::List(items) => {
                    out.push_str("[\n");
                    for (j, item) in items.iter().enumerate() {
                        item.write(&mut out);
                        out.push_str(if j + 1 == items.len() { "\n" } else { ",\n" });
                    }
                    out.push(']');
                }
                other => other.write(&mut out),
            }
            out.push_str(if i == last { "\n" } else { ",\n" });
        }
        out.push_str("}\n");
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Json::Number(n) => write!(out, "{n}").expect("a string takes all"),
            Json::Text(text) => write_text(text, out),
            Json::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { ", " });
                    item.write(out);
                }
                out.push(']');
            }
            Json::Map(fields) => {
                out.push('{');
                for (i, (name, value)) in fields.iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { ", " });
                    write!(out, "\"{name}\": ").expect("a string takes all");
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c < ' ' => write!(out, "\\u{:04x}", c as u32).expect("a string takes all"),
            c => out.push(c),
        }
    }
    out.push('"');
}
