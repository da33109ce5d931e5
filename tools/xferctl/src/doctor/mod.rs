//! `doctor`: what this host can do, what holds it back and how to change that; with a link, which addresses of the node answer.

mod host;
mod node;

use crate::args::DoctorArgs;
use crate::json;
use crate::output::Stdout;
use serde::Serialize;
use serde_json::{Map, Value};
use xfer_client::Error;

/// How good a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    /// As it should be.
    Ok,
    /// It works, but something could be better.
    Warn,
    /// It does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    check: &'static str,
    status: Status,
    /// What it is like, for people.
    text: String,
    /// What to change and how; null when nothing.
    advice: Option<String>,
    /// The same as numbers and names.
    facts: Map<String, Value>,
}

impl Finding {
    fn new(check: &'static str, status: Status, text: impl Into<String>) -> Self {
        Finding { check, status, text: text.into(), advice: None, facts: Map::new() }
    }

    fn failed(check: &'static str, error: &Error) -> Self {
        Finding::new(check, Status::Fail, crate::complain::render(error))
    }

    fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }
}

/// Where findings go.
struct Findings {
    stdout: Stdout,
    json: bool,
}

impl Findings {
    fn tell(&mut self, finding: &Finding) -> Result<(), Error> {
        if self.json {
            return json::print(&mut self.stdout, "check", finding);
        }
        let mark = match finding.status {
            Status::Ok => "ok  ",
            Status::Warn => "warn",
            Status::Fail => "FAIL",
        };
        let mut text = format!("{mark}  {:<10} {}\n", finding.check, finding.text);
        for line in finding.advice.iter().flat_map(|advice| advice.lines()) {
            text.push_str(&format!("                 -> {line}\n"));
        }
        self.stdout.write(text.as_bytes())?;
        self.stdout.flush()
    }
}

/// Looks at this host and, when one is named, at the way to a node.
pub(crate) fn run(args: &DoctorArgs) -> Result<u8, Error> {
    let mut findings = Findings { stdout: Stdout::new(), json: args.json };
    // A wrong link shows before anything is printed.
    let remote = match &args.node {
        Some(text) => Some(crate::look::remote(text, &xfer_client::Book::from_environment()?)?),
        None => None,
    };
    for finding in host::findings() {
        findings.tell(&finding)?;
    }
    match remote {
        Some(remote) => node::look(&remote, &mut |finding| findings.tell(&finding)),
        None => Ok(0),
    }
}
