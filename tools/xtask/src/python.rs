//! The Python package: `wheel` builds it, with the library that it carries; `test` installs that wheel in an environment of its own and
//! runs the package's tests there. In: `bindings/python`, `include/xfer.h`, libxfer with its client. Out: a wheel for every Python 3.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::folder;
use crate::setup;
use crate::step::{Doing, Failure, Outcome, Step, output};
use crate::workspace;

/// The package.
const PACKAGE: &str = "bindings/python";
/// What is installed to build and to test it, by exact versions.
const REQUIREMENTS: &str = "tests/requirements.txt";
/// Set for maturin, which calls this program as cargo: the cargo to call.
pub(crate) const CARGO_VARIABLE: &str = "XTASK_CARGO";
/// The Python that is there wherever the Debian package is.
const DEBIANS: &str = "/usr/bin/python3";

/// Where things are.
struct Places {
    package: PathBuf,
    /// A Python environment of this workspace alone.
    environment: PathBuf,
    wheels: PathBuf,
}

/// `wheel [--debug]`.
///
/// # Errors
/// The registry of Python packages is not to be had, or the build fails.
pub(crate) fn run(args: &[String]) -> Outcome {
    let profile = match args {
        [] => "release",
        [flag] if flag == "--debug" => "dev",
        _ => return Err(Failure::usage("usage: cargo xtask wheel [--debug]")),
    };
    let wheel = build(&places()?, profile)?;
    let bytes = fs::metadata(&wheel).doing(format_args!("look at {}", wheel.display()))?.len();
    println!("{} {bytes} bytes", wheel.display());
    Ok(())
}

/// The wheel as users get it.
///
/// # Errors
/// As [`run`].
pub(crate) fn wheel() -> Outcome<PathBuf> {
    build(&places()?, "release")
}

/// Fetches what the wheel needs for Debian's own Python into a folder, from which it installs without a network.
///
/// # Errors
/// There is no such Python, or the registry of Python packages is not to be had.
pub(crate) fn fetch_needs(dir: &Path) -> Outcome {
    let words = ["-c", "import sys; print('%d.%d' % sys.version_info[:2])"];
    let version = output(Command::new(DEBIANS).args(words))?;
    places()?
        .program("what the wheel needs", "pip")
        .args(["download", "--quiet", "--only-binary=:all:", "--python-version", &version])
        .args(["--implementation", "cp", "--constraint", REQUIREMENTS, "--dest"])
        .args([dir])
        .args(["cffi"])
        .run()
}

/// Types and tests of the package, as it is installed from its wheel.
///
/// # Errors
/// The first step that fails.
pub(crate) fn test() -> Outcome {
    let places = places()?;
    let wheel = build(&places, "dev")?;
    places
        .program("install the wheel", "pip")
        .args(["install", "--quiet", "--no-deps", "--force-reinstall"])
        .args([&wheel])
        .run()?;
    workspace::programs_and_libraries("dev", true)?;
    let cache = |name| places.environment.join(name).display().to_string();
    places.program("types of Python", "mypy").args([format!("--cache-dir={}", cache("mypy"))]).run()?;
    places
        .program("tests of Python", "pytest")
        .args(["-o", &format!("cache_dir={}", cache("pytest"))])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONDEVMODE", "1")
        .env("XFERCTL_BIN", workspace::target_dir()?.join("debug/xferctl"))
        .run()
}

fn places() -> Outcome<Places> {
    let home = workspace::target_dir()?.join("python");
    Ok(Places {
        package: workspace::root().join(PACKAGE),
        environment: home.join("venv"),
        wheels: home.join("wheels"),
    })
}

impl Places {
    /// A step that runs a program of the environment in the package's folder.
    fn program(&self, name: &str, program: &str) -> Step {
        Step::new(name, self.environment.join("bin").join(program)).dir(&self.package)
    }
}

/// Builds the wheel and returns where it is.
fn build(places: &Places, profile: &str) -> Outcome<PathBuf> {
    setup::ensure(setup::PYTHON)?;
    let python = setup::python_with("ensurepip").unwrap_or_else(|| "python3".into());
    Step::new("environment of Python", python).args(["-m", "venv"]).args([&places.environment]).run()?;
    places.program("packages of Python", "pip").args(["install", "--quiet", "-r", REQUIREMENTS]).run()?;
    // Where maturin looks for what cffi is to know.
    let declarations = workspace::target_dir()?.join("header.h");
    places
        .program("declarations for cffi", "python")
        .args(["declarations.py"])
        .args([&workspace::root().join("include/xfer.h"), &declarations])
        .run()?;
    folder::remove(&places.wheels)?;
    let exe = std::env::current_exe().doing("find the path of xtask")?;
    places
        .program("wheel", "maturin")
        .env("CARGO", exe)
        .env(CARGO_VARIABLE, workspace::cargo())
        .args(["build", "--profile", profile, "--interpreter"])
        .args([&places.environment.join("bin/python")])
        .args(["--out"])
        .args([&places.wheels])
        .run()?;
    only_wheel(&places.wheels)
}

/// What maturin calls in cargo's place, with the words that are for `cargo rustc`. Cargo unites the features of the packages that it is told
/// to build: of libxfer alone, as maturin tells it, the engine and half of its dependencies would be compiled another time. Prints
/// cargo's messages, which name a library without symbols where maturin asked for one.
///
/// # Errors
/// The build fails, or a file cannot be written.
pub(crate) fn in_place_of_cargo(args: &[String]) -> Outcome {
    let mut words = args.iter().skip_while(|arg| *arg != "--profile").skip(1);
    let profile = words.next().ok_or_else(|| Failure::new("maturin names no profile"))?;
    let mut command = workspace::libraries(profile, true);
    command.args(["--message-format", "json-render-diagnostics"]).stderr(Stdio::inherit());
    let out = command.env_remove(CARGO_VARIABLE).output().doing("start cargo")?;
    let mut messages = String::from_utf8(out.stdout).doing("messages of cargo")?;
    if out.status.success() && args.iter().any(|arg| arg == "strip=symbols") {
        let built = workspace::target_dir()?.join(workspace::profile_folder(profile));
        let (whole, stripped) = (built.join("libxfer.so"), places()?.environment.join("libxfer.so"));
        output(Command::new("strip").args(["--strip-all", "-o"]).args([&stripped, &whole]))?;
        let quoted = |path: &Path| format!("\"{}\"", path.display());
        messages = messages.replace(&quoted(&whole), &quoted(&stripped));
    }
    print!("{messages}");
    if out.status.success() { Ok(()) } else { Err(Failure::new("cargo could not build libxfer")) }
}

/// The one wheel in a folder.
fn only_wheel(dir: &Path) -> Outcome<PathBuf> {
    let entries = fs::read_dir(dir).doing(format_args!("list {}", dir.display()))?.flatten();
    let mut wheels =
        entries.map(|entry| entry.path()).filter(|path| path.extension() == Some(OsStr::new("whl")));
    match (wheels.next(), wheels.next()) {
        (Some(wheel), None) => Ok(wheel),
        _ => Err(Failure::new(format!("there is not one wheel in {}", dir.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wheel_is_found_and_none_or_two_are_not() {
        let dir = std::env::temp_dir().join(format!("xtask-wheels-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("notes.txt"), "").unwrap();
        assert!(only_wheel(&dir).is_err());
        fs::write(dir.join("a.whl"), "").unwrap();
        assert_eq!(only_wheel(&dir).unwrap(), dir.join("a.whl"));
        fs::write(dir.join("b.whl"), "").unwrap();
        assert!(only_wheel(&dir).is_err());
        fs::remove_dir_all(&dir).unwrap();
    }
}
