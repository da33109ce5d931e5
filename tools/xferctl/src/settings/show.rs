//! `config show`: the settings that commands would run with, as a configuration file.

use super::files::Layers;
use super::{Origin, lookup, settable};
use crate::args::ShowArgs;
use crate::output::Stdout;
use clap::{ArgAction, Command};
use std::ffi::OsString;
use xfer_client::{Class, Error};

/// Prints them, a table for each command.
pub(crate) fn run(args: &ShowArgs, mut grammar: Command) -> Result<u8, Error> {
    grammar.build();
    let layers = Layers::read(&grammar)?;
    let mut stdout = Stdout::new();
    let mut shown = false;
    for command in grammar.get_subcommands() {
        if args.command.as_ref().is_none_or(|wanted| {
            command.get_name() == wanted || command.get_all_aliases().any(|alias| alias == wanted)
        }) {
            shown = true;
            show(&mut stdout, command, &layers, args.origin)?;
        }
    }
    if !shown {
        let name = args.command.as_deref().unwrap_or_default();
        return Err(Error::new(Class::Usage, format!("there is no command {name}")));
    }
    stdout.flush()?;
    Ok(0)
}

fn show(stdout: &mut Stdout, command: &Command, layers: &Layers, origin: bool) -> Result<(), Error> {
    let mut lines = Vec::new();
    for arg in settable(command) {
        let (values, from) = match lookup(arg, command.get_name(), layers)? {
            Some(found) => found,
            None => match defaults(arg) {
                Some(values) => (values, Origin::Default),
                None => continue,
            },
        };
        let long = arg.get_long().unwrap_or_default();
        let list = matches!(arg.get_action(), ArgAction::Append);
        let value =
            shown_value(&values, list, matches!(arg.get_action(), ArgAction::SetTrue | ArgAction::Count));
        lines.push(if origin {
            format!("{long} = {value}  # {from}\n")
        } else {
            format!("{long} = {value}\n")
        });
    }
    if lines.is_empty() {
        return Ok(());
    }
    stdout.write(format!("[{}]\n{}\n", command.get_name(), lines.concat()).as_bytes())
}

fn defaults(arg: &clap::Arg) -> Option<Vec<OsString>> {
    match arg.get_action() {
        ArgAction::SetTrue => Some(vec!["false".into()]),
        ArgAction::Count => Some(vec!["0".into()]),
        _ if arg.get_default_values().is_empty() => None,
        _ => Some(arg.get_default_values().iter().map(|value| OsString::from(value.as_os_str())).collect()),
    }
}

fn shown_value(values: &[OsString], list: bool, bare: bool) -> String {
    let quoted = |value: &OsString| {
        let text = value.to_string_lossy();
        if bare { text.into_owned() } else { toml::Value::String(text.into_owned()).to_string() }
    };
    let texts: Vec<String> = values.iter().map(quoted).collect();
    if list { format!("[{}]", texts.join(", ")) } else { texts.concat() }
}
