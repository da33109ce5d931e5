//! Configuration files: TOML whose keys are long flags, for all commands at the top, for one command in its table.

use super::settable;
use crate::limits::CONFIG_LEN_MAX;
use clap::Command;
use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use toml::{Table, Value};
use xfer_client::{Class, Error};

/// The file of the working directory. Whoever unpacks an archive there must not lower anybody's guard with it.
const LOCAL: &str = "./xfer.toml";
/// The system's file.
const SYSTEM: &str = "/etc/xfer/config.toml";

/// What [`LOCAL`] may not set: what is served and to whom, what protects content, where files of the tool are written.
const SECURITY: [&str; 19] = [
    "allow-plain",
    "allow-unverified",
    "audit",
    "data",
    "digest",
    "files-from",
    "link-file",
    "listen",
    "log-file",
    "max-calls-per-client",
    "max-connections",
    "max-connections-per-client",
    "max-stall",
    "max-transfers",
    "max-transfers-per-client",
    "no-encrypt",
    "read-only",
    "root",
    "state",
];

/// Files in the order in which they decide.
pub(super) struct Layers(Vec<Layer>);

/// One file.
pub(super) struct Layer {
    pub(super) path: String,
    table: Table,
}

impl Layers {
    /// Reads all files that there are.
    ///
    /// # Errors
    /// `Usage`: one is no TOML, has a key that is no long flag of the command, or is local and sets a security option.
    pub(super) fn read(grammar: &Command) -> Result<Layers, Error> {
        let mut layers = Vec::new();
        let local = Layer::read(Path::new(LOCAL), grammar)?;
        if let Some(layer) = local {
            layer.refuse_security()?;
            layers.push(layer);
        }
        for path in user_file().into_iter().chain([PathBuf::from(SYSTEM)]) {
            layers.extend(Layer::read(&path, grammar)?);
        }
        Ok(Layers(layers))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Layer> {
        self.0.iter()
    }
}

/// `$XDG_CONFIG_HOME/xfer/config.toml`.
fn user_file() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
    base.map(|base| base.join("xfer/config.toml"))
}

impl Layer {
    fn read(path: &Path, grammar: &Command) -> Result<Option<Layer>, Error> {
        let failed = |what: &str, cause: &dyn std::fmt::Display| {
            Error::new(Class::Usage, what).object(path.as_os_str().as_encoded_bytes()).because(cause)
        };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(e) => return Err(failed("open the settings", &e)),
        };
        let mut text = String::new();
        let len = file.take(CONFIG_LEN_MAX + 1).read_to_string(&mut text);
        if len.map_err(|e| failed("read the settings", &e))? as u64 > CONFIG_LEN_MAX {
            return Err(failed("read the settings", &"the file is longer than 1 MiB"));
        }
        Layer::parse(path.display().to_string(), &text, grammar).map(Some)
    }

    pub(super) fn parse(path: String, text: &str, grammar: &Command) -> Result<Layer, Error> {
        let wrong =
            |why: String| Error::new(Class::Usage, "the settings make no sense:").object(&*path).because(why);
        let table: Table = text.parse().map_err(|e: toml::de::Error| wrong(e.message().to_owned()))?;
        let mut commands = Vec::new();
        collect(grammar, "", &mut commands);
        for (key, value) in &table {
            let known = match value {
                Value::Table(inner) => {
                    let command = commands.iter().find(|(name, _)| name == key);
                    let (_, longs) = command.ok_or_else(|| wrong(format!("there is no command {key}")))?;
                    inner.keys().find(|key| !longs.contains(key))
                }
                _ => (!commands.iter().any(|(_, longs)| longs.contains(key))).then_some(key),
            };
            if let Some(key) = known {
                return Err(wrong(format!("there is no option {key}")));
            }
        }
        Ok(Layer { path, table })
    }

    pub(super) fn refuse_security(&self) -> Result<(), Error> {
        let inner = self.table.values().filter_map(Value::as_table).flat_map(Table::keys);
        match self.table.keys().chain(inner).find(|key| SECURITY.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(Error::new(Class::Usage, format!("{} may not set {key}", self.path))
                .because("a file of the working directory sets no security options; use a flag or your own configuration file")),
        }
    }

    /// What the file says about an option: the command's own table before the top.
    ///
    /// # Errors
    /// `Usage`: a value of the wrong kind.
    pub(super) fn get(&self, command: &str, long: &str, list: bool) -> Result<Option<Vec<OsString>>, Error> {
        let own = self.table.get(command).and_then(Value::as_table).and_then(|table| table.get(long));
        let Some(value) = own.or_else(|| self.table.get(long).filter(|value| !value.is_table())) else {
            return Ok(None);
        };
        let values = match value {
            Value::Array(values) if list => values.iter().map(word).collect(),
            value => word(value).map(|word| vec![word]),
        };
        values.map(Some).ok_or_else(|| {
            Error::new(Class::Usage, format!("{long} in {} has a value of the wrong kind", self.path))
        })
    }
}

/// A value as a word of a command line.
fn word(value: &Value) -> Option<OsString> {
    match value {
        Value::String(text) => Some(text.into()),
        Value::Integer(number) => Some(number.to_string().into()),
        Value::Boolean(truth) => Some(truth.to_string().into()),
        _ => None,
    }
}

/// All commands by the names that tables have, with their options.
pub(super) fn collect(command: &Command, prefix: &str, found: &mut Vec<(String, Vec<String>)>) {
    for inner in command.get_subcommands() {
        let name = format!("{prefix}{}", inner.get_name());
        let longs = settable(inner).filter_map(|arg| arg.get_long()).map(str::to_owned).collect();
        collect(inner, &format!("{name}-"), found);
        found.push((name, longs));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::CommandFactory as _;

    fn layer(text: &str) -> Result<Layer, Error> {
        let mut grammar = Cli::command();
        grammar.build();
        Layer::parse("f".to_owned(), text, &grammar)
    }

    #[test]
    fn the_commands_table_comes_first() {
        let layer =
            layer("rate = '1Gbit'\njson = true\n[cp]\nrate = '2Gbit'\npath = ['::1', '::2']\nretries = 3")
                .unwrap();
        let get = |command, long, list| layer.get(command, long, list).unwrap();
        assert_eq!(get("cp", "rate", false), Some(vec!["2Gbit".into()]));
        assert_eq!(get("ls", "rate", false), Some(vec!["1Gbit".into()]));
        assert_eq!(get("cp", "path", true), Some(vec!["::1".into(), "::2".into()]));
        assert_eq!(get("cp", "retries", false), Some(vec!["3".into()]));
        assert_eq!(get("ls", "json", false), Some(vec!["true".into()]));
        assert_eq!(get("cp", "chunk", false), None);
        assert_eq!(layer.get("cp", "path", false).unwrap_err().class, Class::Usage);
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for wrong in ["x", "nonsense = 1", "[nonsense]\n", "[ls]\nrate = '1Gbit'", "help = true"] {
            assert_eq!(layer(wrong).err().map(|e| e.class), Some(Class::Usage), "{wrong}");
        }
        assert!(layer("[node-ls]\njson = true").is_ok());
    }

    #[test]
    fn the_local_file_sets_no_security_options() {
        for wrong in ["no-encrypt = true", "[cp]\ndigest = 'none'", "[serve]\nallow-plain = true"] {
            assert_eq!(layer(wrong).unwrap().refuse_security().unwrap_err().class, Class::Usage, "{wrong}");
        }
        assert!(layer("rate = '1Gbit'\n[serve]\nworkers = 1").unwrap().refuse_security().is_ok());
    }

    #[test]
    fn every_security_option_is_an_option() {
        for long in SECURITY {
            let text = format!("{long} = 'x'");
            assert!(layer(&text).is_ok(), "{long}");
        }
    }
}
