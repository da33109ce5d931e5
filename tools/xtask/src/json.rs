//! A reader of JSON values (RFC 8259), for the lines that `xferctl --json` prints.

use std::collections::BTreeMap;

use crate::step::{Failure, Outcome};

/// Arrays and objects within each other, at most.
const DEPTH_MAX: usize = 64;

/// A JSON value. Numbers are doubles: whole numbers are exact up to 2^53, 8 PiB in bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(f64),
    String(String),
    Array(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    /// Reads one value that fills the whole of `text`.
    ///
    /// # Errors
    /// Names the byte where the text is not JSON.
    pub(crate) fn parse(text: &str) -> Outcome<Json> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.space();
        if reader.at != text.len() {
            return Err(reader.error("end of text"));
        }
        Ok(value)
    }

    /// The member `key` of an object; null when it is absent or this is no object.
    pub(crate) fn get(&self, key: &str) -> &Json {
        match self {
            Json::Object(members) => members.get(key).unwrap_or(&Json::Null),
            _ => &Json::Null,
        }
    }

    /// The text of a string.
    pub(crate) fn text(&self) -> Option<&str> {
        if let Json::String(text) = self { Some(text) } else { None }
    }

    /// A whole number from 0 to 2^53.
    pub(crate) fn count(&self) -> Option<u64> {
        match self {
            Json::Number(number)
                if number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(number) =>
            {
                Some(*number as u64)
            }
            _ => None,
        }
    }

    /// The values of an array; none when this is no array.
    pub(crate) fn items(&self) -> &[Json] {
        if let Json::Array(items) = self { items } else { &[] }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn error(&self, expected: &str) -> Failure {
        Failure::new(format!("JSON: expected {expected} at byte {}", self.at))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Steps over `literal` if it is next.
    fn take(&mut self, literal: &str) -> bool {
        let found = self.text[self.at..].starts_with(literal);
        self.at += if found { literal.len() } else { 0 };
        found
    }

    fn expect(&mut self, literal: &str) -> Outcome {
        if self.take(literal) { Ok(()) } else { Err(self.error(&format!("`{literal}`"))) }
    }

    fn value(&mut self, depth: usize) -> Outcome<Json> {
        if depth > DEPTH_MAX {
            return Err(self.error("less nesting"));
        }
        self.space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Json::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ if self.take("null") => Ok(Json::Null),
            _ if self.take("true") => Ok(Json::Bool(true)),
            _ if self.take("false") => Ok(Json::Bool(false)),
            _ => Err(self.error("a value")),
        }
    }

    fn object(&mut self, depth: usize) -> Outcome<Json> {
        self.expect("{")?;
        let mut members = BTreeMap::new();
        self.space();
        if self.take("}") {
            return Ok(Json::Object(members));
        }
        loop {
            self.space();
            let key = self.string()?;
            self.space();
            self.expect(":")?;
            members.insert(key, self.value(depth + 1)?);
            self.space();
            if !self.take(",") {
                self.expect("}")?;
                return Ok(Json::Object(members));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Outcome<Json> {
        self.expect("[")?;
        let mut items = Vec::new();
        self.space();
        if self.take("]") {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.space();
            if !self.take(",") {
                self.expect("]")?;
                return Ok(Json::Array(items));
            }
        }
    }

    fn number(&mut self) -> Outcome<Json> {
        let tail = &self.text.as_bytes()[self.at..];
        let digits = |b: &&u8| matches!(**b, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
        let end = self.at + tail.iter().take_while(digits).count();
        let number = self.text[self.at..end].parse().map_err(|_| self.error("a number"))?;
        self.at = end;
        Ok(Json::Number(number))
    }

    fn string(&mut self) -> Outcome<String> {
        self.expect("\"")?;
        let mut text = String::new();
        loop {
            let Some(c) = self.text[self.at..].chars().next() else { return Err(self.error("`\"`")) };
            match c {
                '"' => break,
                '\\' => text.push(self.escape()?),
                c if c < ' ' => return Err(self.error("an escaped control character")),
                c => {
                    self.at += c.len_utf8();
                    text.push(c);
                }
            }
        }
        self.at += 1;
        Ok(text)
    }

    /// An escape sequence; a pair of `\u` surrogates is one character.
    fn escape(&mut self) -> Outcome<char> {
        const SIMPLE: [(&str, char); 8] = [
            ("\\\"", '"'),
            ("\\\\", '\\'),
            ("\\/", '/'),
            ("\\b", '\u{8}'),
            ("\\f", '\u{c}'),
            ("\\n", '\n'),
            ("\\r", '\r'),
            ("\\t", '\t'),
        ];
        if let Some((_, c)) = SIMPLE.iter().find(|(escape, _)| self.text[self.at..].starts_with(escape)) {
            self.at += 2;
            return Ok(*c);
        }
        let high = self.unit()?;
        if !(0xd800..0xdc00).contains(&high) {
            return char::from_u32(high).ok_or_else(|| self.error("a high surrogate first"));
        }
        let low = self.unit()?;
        let joined = 0x10000 + ((high - 0xd800) << 10) + low.wrapping_sub(0xdc00);
        let paired = (0xdc00..0xe000).contains(&low);
        char::from_u32(joined).filter(|_| paired).ok_or_else(|| self.error("a low surrogate"))
    }

    fn unit(&mut self) -> Outcome<u32> {
        self.expect("\\u")?;
        let digits = self.text.get(self.at..self.at + 4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let unit = digits.and_then(|d| u32::from_str_radix(d, 16).ok());
        let unit = unit.ok_or_else(|| self.error("four hexadecimal digits"))?;
        self.at += 4;
        Ok(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_line_reads() {
        let line = r#" {"type":"summary","bytes":1073741824,"gbps":9.5e0,"verified":true,"error":null,
            "paths":[{"local":"10.77.1.1","bytes":12},{"local":"10.77.2.1","bytes":0}],"none":[],"empty":{}} "#;
        let summary = Json::parse(line).unwrap();
        assert_eq!(summary.get("type").text(), Some("summary"));
        assert_eq!(summary.get("bytes").count(), Some(1 << 30));
        assert_eq!(summary.get("gbps"), &Json::Number(9.5));
        assert_eq!(summary.get("verified"), &Json::Bool(true));
        assert_eq!(summary.get("error"), &Json::Null);
        assert_eq!(summary.get("absent"), &Json::Null);
        let bytes: Vec<_> =
            summary.get("paths").items().iter().map(|path| path.get("bytes").count()).collect();
        assert_eq!(bytes, [Some(12), Some(0)]);
        assert!(summary.get("none").items().is_empty());
    }

    #[test]
    fn escapes_decode() {
        let text = Json::parse(r#""a\n\"\\\/\u00e9\ud83d\ude00 é""#).unwrap();
        assert_eq!(text.text(), Some("a\n\"\\/é😀 é"));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let long = "[".repeat(DEPTH_MAX + 2);
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\" 1}",
            "\"a",
            "nul",
            "1 2",
            "\"\\ud800x\"",
            "\"\\u12g4\"",
            "\"\n\"",
            "-",
            &long,
        ] {
            assert!(Json::parse(text).is_err(), "{text:.20}");
        }
    }

    #[test]
    fn counts_are_whole_and_not_negative() {
        assert_eq!(Json::parse("0").unwrap().count(), Some(0));
        assert_eq!(Json::parse("-1").unwrap().count(), None);
        assert_eq!(Json::parse("1.5").unwrap().count(), None);
        assert_eq!(Json::parse("9007199254740993000").unwrap().count(), None);
        assert_eq!(Json::parse("\"1\"").unwrap().count(), None);
    }
}
