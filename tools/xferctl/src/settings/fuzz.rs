//! A configuration file from its text to the values of every option.

use super::files::{Layer, collect};
use crate::args::Cli;
use clap::{Command, CommandFactory as _};
use std::sync::LazyLock;

static GRAMMAR: LazyLock<Command> = LazyLock::new(|| {
    let mut grammar = Cli::command();
    grammar.build();
    grammar
});

/// Reads a file as those of the user and of the working directory are read.
pub(crate) fn layer(text: &str) {
    let Ok(layer) = Layer::parse("f".to_owned(), text, &GRAMMAR) else { return };
    let local = layer.refuse_security().is_ok();
    let mut commands = Vec::new();
    collect(&GRAMMAR, "", &mut commands);
    for (command, longs) in &commands {
        for long in longs {
            for list in [false, true] {
                let values = layer.get(command, long, list);
                let protects = ["no-encrypt", "digest", "root", "allow-plain"].contains(&&**long);
                assert!(
                    !(local && protects && matches!(values, Ok(Some(_)))),
                    "{long} is set by a local file"
                );
            }
        }
    }
}
