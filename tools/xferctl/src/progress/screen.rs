//! Lines that stay at the bottom of a terminal: what to write so that new ones take the place of those before, whatever the terminal's
//! width has become meanwhile. A value: bytes come out, nothing is written here.

/// Erases from the cursor to the end of the screen (ECMA-48, ED).
const ERASE_BELOW: &str = "\x1b[J";

/// The lines that are shown. The cursor is at the end of the last one.
#[derive(Debug)]
pub(crate) struct Screen {
    shown: Vec<String>,
}

impl Screen {
    pub(crate) const fn new() -> Self {
        Screen { shown: Vec::new() }
    }

    /// Shows `lines` in place of those before, on a terminal of `width` columns: each is cut to fit into one row.
    pub(crate) fn show(&mut self, lines: &[String], width: usize) -> String {
        let mut text = self.clear(width);
        // The last column stays free: some terminals go on to the next row when it is written.
        let columns = width.saturating_sub(1).max(1);
        self.shown = lines.iter().map(|line| cut(line, columns)).collect();
        text.push_str(&self.shown.join("\r\n"));
        text
    }

    /// The same lines again, after something else was written.
    pub(crate) fn again(&mut self, width: usize) -> String {
        let lines = std::mem::take(&mut self.shown);
        self.show(&lines, width)
    }

    /// Takes the lines away; they are remembered for [`Screen::again`].
    pub(crate) fn clear(&self, width: usize) -> String {
        if self.shown.is_empty() {
            return String::new();
        }
        // A terminal that became narrower shows a line in several rows.
        let rows: usize = self.shown.iter().map(|line| columns(line).div_ceil(width.max(1)).max(1)).sum();
        let up = if rows > 1 { format!("\x1b[{}A", rows - 1) } else { String::new() };
        format!("\r{up}{ERASE_BELOW}")
    }

    /// Takes the lines away for good.
    pub(crate) fn end(&mut self, width: usize) -> String {
        let text = self.clear(width);
        self.shown.clear();
        text
    }
}

/// A line with its colours, cut to so many columns. A colour is an escape sequence that ends in `m`; every other character takes a column.
fn cut(line: &str, columns: usize) -> String {
    let (mut taken, mut escaped) = (0, false);
    let fits = |letter: &char| {
        escaped |= *letter == '\x1b';
        let shown = !escaped;
        escaped &= *letter != 'm';
        taken += usize::from(shown);
        !shown || taken <= columns
    };
    line.chars().filter(fits).collect()
}

fn columns(line: &str) -> usize {
    let mut escaped = false;
    let shown = |letter: &char| {
        escaped |= *letter == '\x1b';
        let shown = !escaped;
        escaped &= *letter != 'm';
        shown
    };
    line.chars().filter(shown).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn lines_take_the_place_of_those_before() {
        let mut screen = Screen::new();
        assert_eq!(screen.clear(80), "");
        assert_eq!(screen.show(&lines(&["ab", "c"]), 80), "ab\r\nc");
        assert_eq!(screen.show(&lines(&["d"]), 80), "\r\x1b[1A\x1b[Jd");
        assert_eq!(screen.show(&lines(&["e"]), 80), "\r\x1b[Je");
        assert_eq!((screen.clear(80), screen.again(80)), ("\r\x1b[J".to_owned(), "e".to_owned()));
        assert_eq!((screen.end(80), screen.end(80)), ("\r\x1b[J".to_owned(), String::new()));
    }

    #[test]
    fn lines_are_cut_to_one_row() {
        let mut screen = Screen::new();
        for (width, shown) in [(0, "a"), (1, "a"), (2, "a"), (3, "ab"), (4, "abc"), (5, "abc")] {
            screen.end(80);
            assert_eq!(screen.show(&lines(&["abc"]), width), shown, "{width}");
        }
    }

    #[test]
    fn colours_take_no_columns() {
        let mut screen = Screen::new();
        let colored = ["a\x1b[36mbc\x1b[0md".to_owned()];
        assert_eq!(screen.show(&colored, 5), colored[0]);
        assert_eq!(screen.clear(4), "\r\x1b[J");
        assert_eq!(screen.clear(3), "\r\x1b[1A\x1b[J");
        screen.end(5);
        assert_eq!(screen.show(&colored, 3), "a\x1b[36mb\x1b[0m");
    }

    #[test]
    fn rows_of_a_terminal_that_became_narrower_are_counted() {
        let mut screen = Screen::new();
        screen.show(&lines(&["123456", "12345", ""]), 80);
        for (width, rows) in [(80, 3), (6, 3), (5, 4), (3, 5), (2, 7), (1, 12)] {
            assert_eq!(screen.clear(width), format!("\r\x1b[{}A\x1b[J", rows - 1), "{width}");
        }
    }
}
