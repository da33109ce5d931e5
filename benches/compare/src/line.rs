//! A command line: words to run, and the same as one could type it.

use std::path::Path;

/// A program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    words: Vec<String>,
}

impl Line {
    /// A program without arguments.
    pub(crate) fn new(program: impl AsRef<Path>) -> Self {
        Self { words: vec![program.as_ref().display().to_string()] }
    }

    /// A line for the shell; `script` quotes what needs it.
    pub(crate) fn shell(script: impl Into<String>) -> Self {
        Self { words: vec!["sh".into(), "-c".into(), script.into()] }
    }

    /// One more argument.
    pub(crate) fn arg(mut self, word: impl ToString) -> Self {
        self.words.push(word.to_string());
        self
    }

    /// One more argument, a file's name.
    pub(crate) fn path(self, path: &Path) -> Self {
        self.arg(path.display())
    }

    /// More arguments, separated by blanks; none of them holds one.
    pub(crate) fn args(mut self, words: &str) -> Self {
        self.words.extend(words.split_whitespace().map(str::to_owned));
        self
    }

    pub(crate) fn words(&self) -> &[String] {
        &self.words
    }

    /// As one could type it where the program is on `PATH`, with `hidden` text replaced: scratch directories, links.
    pub(crate) fn show(&self, hidden: &[(String, &str)]) -> String {
        let name = |program: &str| program.rsplit('/').next().map(quote).unwrap_or_default();
        let text = match self.words.as_slice() {
            [shell, flag, script] if shell == "sh" && flag == "-c" => script.clone(),
            [program, words @ ..] => words.iter().fold(name(program), |text, word| text + " " + &quote(word)),
            [] => String::new(),
        };
        hidden
            .iter()
            .filter(|(found, _)| !found.is_empty())
            .fold(text, |text, (found, shown)| text.replace(found.as_str(), shown))
    }
}

/// `word` so that a shell takes it as one word.
pub(crate) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_shown_as_typed() {
        let line = Line::new("curl").args("-s -o").path(Path::new("/x/out")).arg("a b");
        assert_eq!(line.show(&[("/x".into(), "$DIR")]), "curl -s -o $DIR/out 'a b'");
        assert_eq!(Line::new("/usr/sbin/nginx").arg("-c").show(&[]), "nginx -c");
        assert_eq!(Line::shell("nc a 1 < b").show(&[]), "nc a 1 < b");
        assert_eq!((quote(""), quote("it's")), ("''".into(), r"'it'\''s'".into()));
    }
}
