//! Settings: flag over `XFER_*` variable over `./xfer.toml` over the user's file over the system's file over default.
//!
//! In: the grammar, the words of the command line, the environment, the files. Out: what the command runs with, and where each setting
//! comes from. What is not on the command line is added to it as a flag, so that every source is read by the same rules.

mod files;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
pub(crate) mod show;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use files::{Layer, Layers};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use xfer_client::{Class, Error};

/// Where a setting that is not on the command line comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// This variable.
    Variable(String),
    /// This file.
    File(String),
    /// Nobody set it.
    Default,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Variable(name) => f.write_str(name),
            Origin::File(path) => f.write_str(path),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// What a command runs with.
pub(crate) struct Resolved {
    pub(crate) matches: ArgMatches,
}

impl Resolved {
    /// The matches of the innermost command.
    pub(crate) fn command_matches(&self) -> &ArgMatches {
        let mut matches = &self.matches;
        while let Some((_, inner)) = matches.subcommand() {
            matches = inner;
        }
        matches
    }
}

/// Why there is nothing to run.
pub(crate) enum Unreadable {
    /// Help, the version, or a wrong command line.
    Usage(Box<clap::Error>),
    /// A wrong file or variable.
    Settings(Error),
}

impl From<clap::Error> for Unreadable {
    fn from(error: clap::Error) -> Self {
        Unreadable::Usage(Box::new(error))
    }
}

impl From<Error> for Unreadable {
    fn from(error: Error) -> Self {
        Unreadable::Settings(error)
    }
}

/// Reads a command line and all that stands behind it.
///
/// # Errors
/// What is wrong with it, or with a file; help and version are told as such.
pub(crate) fn resolve(mut grammar: Command, words: &[OsString]) -> Result<Resolved, Unreadable> {
    grammar.build();
    let matches = grammar.clone().try_get_matches_from(words)?;
    let (command, inner, name) = innermost(&grammar, &matches);
    let layers = Layers::read(&grammar)?;
    let mut found = Vec::new();
    for arg in settable(command) {
        if inner.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine) {
            continue;
        }
        if let Some((values, origin)) = lookup(arg, &name, &layers)? {
            found.push((flags(arg, &values, &origin)?, origin));
        }
    }
    if found.is_empty() {
        return Ok(Resolved { matches });
    }
    let all = with_flags(words, found.iter().flat_map(|(flags, _)| flags.clone()));
    match grammar.try_get_matches_from(all) {
        Ok(matches) => Ok(Resolved { matches }),
        Err(error) => {
            let origins: Vec<String> =
                found.iter().filter(|(f, _)| !f.is_empty()).map(|(f, o)| described(f, o)).collect();
            let first = error.to_string();
            let first = first.lines().next().unwrap_or_default().trim_start_matches("error: ");
            Err(Error::new(Class::Usage, first).because(format!("settings: {}", origins.join(", "))).into())
        }
    }
}

fn described(flags: &[OsString], origin: &Origin) -> String {
    let texts: Vec<_> = flags.iter().map(|flag| flag.to_string_lossy()).collect();
    format!("{} (from {origin})", texts.join(" "))
}

/// The innermost command that was named, its matches, and its name as tables of files have it (`node ls` is `node-ls`).
fn innermost<'g, 'm>(grammar: &'g Command, matches: &'m ArgMatches) -> (&'g Command, &'m ArgMatches, String) {
    let (mut command, mut inner, mut names) = (grammar, matches, Vec::new());
    while let Some((name, next)) = inner.subcommand() {
        let Some(found) = command.find_subcommand(name) else { break };
        (command, inner) = (found, next);
        names.push(name.to_owned());
    }
    (command, inner, names.join("-"))
}

/// Arguments that variables and files can set: those with a long flag but help and version.
pub(crate) fn settable(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| {
        arg.get_long().is_some_and(|long| !matches!(long, "help" | "version"))
            && matches!(
                arg.get_action(),
                ArgAction::Set | ArgAction::Append | ArgAction::SetTrue | ArgAction::Count
            )
    })
}

/// What the first source that has the setting says.
fn lookup(arg: &Arg, command: &str, layers: &Layers) -> Result<Option<(Vec<OsString>, Origin)>, Error> {
    let long = arg.get_long().unwrap_or_default();
    let variable = variable(long);
    if let Some(value) = std::env::var_os(&variable).filter(|value| !value.is_empty()) {
        // One value a line, as for lists that cannot be split at commas.
        let lines = value.as_bytes().split(|b| *b == b'\n' && is_list(arg));
        let values = lines.map(|line| OsString::from_vec(line.to_vec())).collect();
        return Ok(Some((values, Origin::Variable(variable))));
    }
    for layer in layers.iter() {
        if let Some(values) = Layer::get(layer, command, long, is_list(arg))? {
            return Ok(Some((values, Origin::File(layer.path.clone()))));
        }
    }
    Ok(None)
}

fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// `XFER_CONNECT_TIMEOUT` of `connect-timeout`.
pub(crate) fn variable(long: &str) -> String {
    format!("XFER_{}", long.to_ascii_uppercase().replace('-', "_"))
}

/// A setting as the words that would say the same on the command line.
fn flags(arg: &Arg, values: &[OsString], origin: &Origin) -> Result<Vec<OsString>, Error> {
    let long = arg.get_long().unwrap_or_default();
    let bare = OsString::from(format!("--{long}"));
    let wrong = |what: &str| {
        Error::new(Class::Usage, format!("{long} from {origin} is not {what}"))
            .because(format!("it is {:?}", values.first().map_or(OsStr::new(""), OsString::as_os_str)))
    };
    let first = || values.first().map(|value| value.to_string_lossy().into_owned()).unwrap_or_default();
    match arg.get_action() {
        ArgAction::SetTrue => match first().as_str() {
            "1" | "true" | "yes" | "on" => Ok(vec![bare]),
            "0" | "false" | "no" | "off" => Ok(Vec::new()),
            _ => Err(wrong("true or false")),
        },
        ArgAction::Count => match first().parse::<u8>() {
            Ok(count) => Ok(vec![bare; usize::from(count)]),
            Err(_) => Err(wrong("a number")),
        },
        _ => Ok(values
            .iter()
            .map(|value| {
                let mut word = bare.clone();
                word.push("=");
                word.push(value);
                word
            })
            .collect()),
    }
}

/// The words with flags behind the options, before a `--` that ends them.
fn with_flags(words: &[OsString], flags: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let mut all = words[..end].to_vec();
    all.extend(flags);
    all.extend_from_slice(&words[end..]);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::CommandFactory as _;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    fn arg(long: &str) -> Arg {
        let mut grammar = Cli::command();
        grammar.build();
        let cp = grammar.find_subcommand("cp").unwrap().clone();
        settable(&cp).find(|arg| arg.get_long() == Some(long)).unwrap().clone()
    }

    #[test]
    fn the_grammar_holds() {
        Cli::command().debug_assert();
    }

    #[test]
    fn settings_become_flags() {
        let shown = |long, values: &[&str]| flags(&arg(long), &words(values), &Origin::Default);
        assert_eq!(shown("rate", &["1Gbit"]).unwrap(), words(&["--rate=1Gbit"]));
        assert_eq!(shown("include", &["a", "-b"]).unwrap(), words(&["--include=a", "--include=-b"]));
        assert_eq!(shown("json", &["true"]).unwrap(), words(&["--json"]));
        assert_eq!(shown("json", &["0"]).unwrap(), words(&[]));
        assert_eq!(shown("verbose", &["2"]).unwrap(), words(&["--verbose", "--verbose"]));
        assert_eq!(shown("json", &["maybe"]).unwrap_err().class, Class::Usage);
        assert_eq!(variable("connect-timeout"), "XFER_CONNECT_TIMEOUT");
    }

    #[test]
    fn flags_stand_before_what_ends_them() {
        let flag = || words(&["--json"]).into_iter();
        assert_eq!(with_flags(&words(&["x", "cp", "a"]), flag()), words(&["x", "cp", "a", "--json"]));
        assert_eq!(with_flags(&words(&["x", "--", "-a"]), flag()), words(&["x", "--json", "--", "-a"]));
    }
}
