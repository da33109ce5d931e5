//! One look at a node's metrics: HTTP by hand, and the samples of the text format (version 0.0.4).

use crate::limits::{SCRAPE_LEN_MAX, SCRAPE_SAMPLES_MAX, SCRAPE_TIMEOUT};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;
use xfer_client::{Class, Error};

/// Labels of a sample, by name.
pub(super) type Labels = BTreeMap<String, String>;

/// What a node told at one time.
pub(super) struct Scrape {
    pub(super) at: Instant,
    samples: BTreeMap<String, Vec<(Labels, f64)>>,
}

impl Scrape {
    /// Asks the endpoint.
    ///
    /// # Errors
    /// `Temporary` when it does not answer, or not with metrics.
    pub(super) fn take(address: SocketAddr) -> Result<Scrape, Error> {
        let failed = |cause: String| {
            Error::new(Class::Temporary, format!("cannot reach the metrics at {address}")).because(cause)
        };
        let answer = ask(address).map_err(|cause| failed(cause.to_string()))?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        if !head.starts_with("HTTP/1.1 200 ") {
            return Err(failed("it does not answer as a node's --metrics does".to_owned()));
        }
        Ok(Scrape { at: Instant::now(), samples: parse(body) })
    }

    /// Samples of that name.
    pub(super) fn all(&self, name: &str) -> &[(Labels, f64)] {
        self.samples.get(name).map_or(&[], Vec::as_slice)
    }

    /// The value with these labels; 0 when there is none.
    pub(super) fn value(&self, name: &str, labels: &Labels) -> f64 {
        self.all(name).iter().find(|(found, _)| found == labels).map_or(0.0, |(_, value)| *value)
    }
}

fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, SCRAPE_TIMEOUT)?;
    stream.set_read_timeout(Some(SCRAPE_TIMEOUT))?;
    stream.set_write_timeout(Some(SCRAPE_TIMEOUT))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(SCRAPE_LEN_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}

fn parse(body: &str) -> BTreeMap<String, Vec<(Labels, f64)>> {
    let mut samples: BTreeMap<String, Vec<(Labels, f64)>> = BTreeMap::new();
    let lines = body.lines().filter(|line| !line.starts_with('#'));
    for (name, labels, value) in lines.filter_map(sample).take(SCRAPE_SAMPLES_MAX) {
        samples.entry(name.to_owned()).or_default().push((labels, value));
    }
    samples
}

/// `name{label="value"} 1`.
fn sample(line: &str) -> Option<(&str, Labels, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Labels::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while let Some((label, behind)) = rest.split_once("=\"") {
            let (value, behind) = quoted(behind)?;
            labels.insert(label.trim_start_matches(',').to_owned(), value);
            rest = behind;
            if rest.starts_with('}') {
                break;
            }
        }
        rest = rest.strip_prefix('}')?;
    }
    Some((name, labels, rest.trim().parse().ok()?))
}

/// The text up to the quote that ends it, without its escapes, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match letters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What a node would have told with this text.
    pub(in crate::top) fn told(body: &str, at: Instant) -> Scrape {
        Scrape { at, samples: parse(body) }
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// Every text of up to five of the letters that mean something.
    #[test]
    fn no_text_makes_it_panic() {
        let letters = ['{', '}', '"', '\\', '=', ',', ' ', '1', 'ä'];
        let mut texts = vec![String::new()];
        for _ in 0..5 {
            texts = texts.iter().flat_map(|text| letters.map(|letter| format!("{text}{letter}"))).collect();
            texts.iter().for_each(|text| drop(parse(&format!("a{text}"))));
        }
    }

    #[test]
    fn samples_are_read_and_others_left_out() {
        let scrape = told(
            "# HELP a x\n# TYPE a counter\na 3\na{x=\"1\"} 0.5\na{x=\"q\\\"\\\\\\n{}\",y=\"\"} 7\nbroken\nb{x=\"1} 2\nc{x=\"1\"} z\n",
            Instant::now(),
        );
        assert_eq!(scrape.all("a").len(), 3);
        assert_eq!(scrape.value("a", &labels(&[])), 3.0);
        assert_eq!(scrape.value("a", &labels(&[("x", "1")])), 0.5);
        assert_eq!(scrape.value("a", &labels(&[("x", "q\"\\\n{}"), ("y", "")])), 7.0);
        assert!(scrape.all("b").is_empty() && scrape.all("c").is_empty());
        assert_eq!(scrape.value("nothing", &labels(&[])), 0.0);
    }
}
