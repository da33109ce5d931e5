//! Writes the C header of libxfer. In: `ffi/src/{status,structs,exports}.rs`. Out: the file that is named.

use cbindgen::{Builder, Config, DocumentationStyle, Language, Style};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What stands before the declarations.
const HEAD: &str = include_str!("head.h");

/// Rust's names of what C calls otherwise.
const NAMES: [(&str, &str); 14] = [
    ("EngineHandle", "xfer_engine"),
    ("ConnectionHandle", "xfer_connection"),
    ("MemoryHandle", "xfer_memory"),
    ("ClientHandle", "xfer_client"),
    ("EngineOptions", "xfer_engine_options"),
    ("ConnectionOptions", "xfer_connection_options"),
    ("MemoryOptions", "xfer_memory_options"),
    ("ClientOptions", "xfer_client_options"),
    ("EngineStatistics", "xfer_engine_counters"),
    ("ConnectionStatistics", "xfer_connection_counters"),
    ("PathPair", "xfer_path_pair"),
    ("PathReport", "xfer_path_report"),
    ("Operation", "xfer_operation"),
    ("Completion", "xfer_completion"),
];

fn config() -> Config {
    let mut config = Config {
        language: Language::C,
        style: Style::Both,
        header: Some(HEAD.trim_end().to_owned()),
        include_guard: Some("XFER_H".to_owned()),
        cpp_compat: true,
        documentation_style: DocumentationStyle::C99,
        line_length: 150,
        no_includes: true,
        sys_includes: vec!["stddef.h".to_owned(), "stdint.h".to_owned()],
        usize_is_size_t: true,
        ..Config::default()
    };
    config.export.rename = NAMES.map(|(from, to)| (from.to_owned(), to.to_owned())).into();
    config
}

fn write(to: &Path) -> Result<(), String> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../ffi/src");
    let mut builder = Builder::new().with_config(config());
    for file in ["status.rs", "structs.rs", "exports.rs"] {
        builder = builder.with_src(root.join(file));
    }
    let bindings = builder.generate().map_err(|error| error.to_string())?;
    bindings.write_to_file(to);
    Ok(())
}

fn main() -> ExitCode {
    let Some(to) = std::env::args_os().nth(1) else {
        eprintln!("usage: xfer-header FILE");
        return ExitCode::from(2);
    };
    match write(Path::new(&to)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xfer-header: {error}");
            ExitCode::FAILURE
        }
    }
}
