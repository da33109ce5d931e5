//! Which members of a directory are taken: ordered include and exclude rules.

use crate::error::{Class, Error};
use globset::{GlobBuilder, GlobMatcher};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What a rule does with what it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Rule {
    Include,
    Exclude,
}

/// Ordered rules over paths relative to the named source. The first that matches decides; what none matches is taken.
///
/// Globs are gitignore's: without a slash they match a name at any depth, with one the path from the source on; a trailing slash
/// matches directories only; `*` and `?` stop at slashes, `**` does not.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    globs: Vec<RuleGlob>,
}

#[derive(Clone, Debug)]
struct RuleGlob {
    rule: Rule,
    directories_only: bool,
    matcher: GlobMatcher,
}

impl Filter {
    /// Compiles rules.
    ///
    /// # Errors
    /// `Usage`, naming the glob that is none.
    pub fn new<'a>(rules: impl IntoIterator<Item = (Rule, &'a str)>) -> Result<Self, Error> {
        let globs =
            rules.into_iter().map(|(rule, glob)| RuleGlob::new(rule, glob)).collect::<Result<_, _>>()?;
        Ok(Filter { globs })
    }

    /// Whether the member at `path` (relative to the source) is taken. A directory that is not taken is not walked.
    pub fn takes(&self, path: &[u8], is_directory: bool) -> bool {
        let path = Path::new(OsStr::from_bytes(path));
        let mut matching = self.globs.iter().filter(|g| is_directory || !g.directories_only);
        matching.find(|g| g.matcher.is_match(path)).is_none_or(|g| g.rule == Rule::Include)
    }
}

impl RuleGlob {
    fn new(rule: Rule, glob: &str) -> Result<Self, Error> {
        let fail = |cause: &dyn std::fmt::Display| {
            Error::new(Class::Usage, format!("`{glob}` is not a glob")).because(cause)
        };
        let named = glob.strip_suffix('/').unwrap_or(glob);
        if named.trim_matches('/').is_empty() {
            return Err(fail(&"it names nothing"));
        }
        let anchored = match named.strip_prefix('/') {
            Some(path) => path.to_owned(),
            None if named.contains('/') => named.to_owned(),
            None => format!("**/{named}"),
        };
        let mut builder = GlobBuilder::new(&anchored);
        builder.literal_separator(true).backslash_escape(true);
        let matcher = builder.build().map_err(|error| fail(error.kind()))?.compile_matcher();
        Ok(RuleGlob { rule, directories_only: named.len() < glob.len(), matcher })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(rules: &[(Rule, &str)]) -> Filter {
        Filter::new(rules.iter().copied()).expect("globs")
    }

    #[test]
    fn nothing_is_left_out_without_rules() {
        assert!(Filter::default().takes(b"a/b", false));
    }

    #[test]
    fn the_first_match_decides() {
        let f = filter(&[(Rule::Include, "keep.log"), (Rule::Exclude, "*.log"), (Rule::Include, "*")]);
        assert!(f.takes(b"keep.log", false));
        assert!(f.takes(b"d/keep.log", false));
        assert!(!f.takes(b"d/x.log", false));
        assert!(f.takes(b"d/x.txt", false));
    }

    #[test]
    fn a_slash_anchors_a_glob() {
        let f = filter(&[(Rule::Exclude, "a/*.o"), (Rule::Exclude, "/top"), (Rule::Exclude, "x/**/y")]);
        assert!(!f.takes(b"a/1.o", false));
        assert!(f.takes(b"b/a/1.o", false));
        assert!(f.takes(b"a/b/1.o", false));
        assert!(!f.takes(b"top", false));
        assert!(f.takes(b"b/top", false));
        assert!(!f.takes(b"x/y", false));
        assert!(!f.takes(b"x/1/2/y", false));
    }

    #[test]
    fn a_trailing_slash_means_directories() {
        let f = filter(&[(Rule::Exclude, "target/")]);
        assert!(!f.takes(b"a/target", true));
        assert!(f.takes(b"a/target", false));
    }

    #[test]
    fn names_are_bytes() {
        let f = filter(&[(Rule::Exclude, "*.o")]);
        assert!(!f.takes(b"\xff\n.o", false));
        assert!(f.takes(b"\xff\n.p", false));
    }

    #[test]
    fn what_is_no_glob_is_a_usage_error() {
        for bad in ["a[", "", "/", "//"] {
            let error = Filter::new([(Rule::Include, bad)]).expect_err(bad);
            assert_eq!(error.class, Class::Usage);
            assert!(error.message.contains(bad));
        }
    }
}
