//! Long checks of faulty hosts and networks: ends that are killed, a rough copy over two wires, an hour of faults.

use crate::setup;
use crate::step::{Failure, Outcome, Step};
use crate::test;

/// `long kills [--count N] [--seed S]`.
///
/// # Errors
/// A wrong command line, or a kill after which a rerun did not make everything good.
pub(crate) fn kills(args: &[String]) -> Outcome {
    let settings = settings(args, &[("--count", "KILLS"), ("--seed", "KILLS_SEED")])?;
    let test = ["test", "-p", "xferctl", "--release", "--test", "random_kills", "many"];
    let step = Step::cargo("kills at random instants", test).args(["--", "--ignored", "--nocapture"]);
    settings.iter().fold(step, |step, (name, value)| step.env(*name, value)).run()
}

/// `long rough [--mib N]`.
///
/// # Errors
/// A wrong command line, a copy that did not end well, or too much that was sent again.
pub(crate) fn rough(args: &[String]) -> Outcome {
    endurance("rough", settings(args, &[("--mib", "ROUGH_MIB")])?)
}

/// `long soak [--minutes M] [--seed S]`.
///
/// # Errors
/// A wrong command line, a copy that did not end well, or an end that grew.
pub(crate) fn soak(args: &[String]) -> Outcome {
    endurance("soak", settings(args, &[("--minutes", "SOAK_MINUTES"), ("--seed", "SOAK_SEED")])?)
}

fn endurance(name: &str, settings: Vec<(&'static str, String)>) -> Outcome {
    setup::ensure(setup::LAB)?;
    let options = ["--ignored", "--nocapture", name];
    test::in_lab_with(&["--release", "--test", "endurance"], &options, &settings)
}

/// Options with a number each, as variables of the test that reads them.
fn settings(args: &[String], known: &[(&str, &'static str)]) -> Outcome<Vec<(&'static str, String)>> {
    let usage = || {
        let options: Vec<String> = known.iter().map(|(flag, _)| format!("[{flag} N]")).collect();
        Failure::usage(format!("it takes {}", options.join(" ")))
    };
    let mut settings = Vec::new();
    for pair in args.chunks(2) {
        let [flag, value] = pair else { return Err(usage()) };
        let (_, variable) = known.iter().find(|(known, _)| known == flag).ok_or_else(usage)?;
        let value = value.replace('_', "").parse::<u64>().map_err(|_| usage())?;
        settings.push((*variable, value.to_string()));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_variables() {
        let known = [("--count", "N"), ("--seed", "S")];
        let parse =
            |words: &[&str]| settings(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>(), &known);
        assert_eq!(parse(&[]).unwrap(), []);
        assert_eq!(
            parse(&["--seed", "7", "--count", "1_000"]).unwrap(),
            [("S", "7".into()), ("N", "1000".into())]
        );
        for wrong in [&["--count"][..], &["--count", "x"], &["--seeds", "1"], &["7"]] {
            assert_eq!(parse(wrong).unwrap_err().code(), 2, "{wrong:?}");
        }
    }
}
