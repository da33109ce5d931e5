//! Names of files, which are raw bytes, as text: for people, and as `b3sum` prints them.

/// A name for people: text as it is, everything else escaped, so that no name drives the terminal.
pub(crate) fn show(name: &[u8]) -> String {
    let mut shown = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if letter.is_control() { shown.extend(letter.escape_default()) } else { shown.push(letter) }
        }
        shown.extend(chunk.invalid().escape_ascii().map(char::from));
    }
    shown
}

/// A line of `b3sum`: the name escaped where it holds a newline or a backslash, which a backslash before the digest tells.
pub(crate) fn b3sum_line(digest: &[u8; 32], name: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(name);
    let escaped = text.contains(['\n', '\r', '\\']);
    let shown = text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
    format!("{}{}  {shown}\n", if escaped { "\\" } else { "" }, hex(digest)).into_bytes()
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_for_people_hold_no_control_characters() {
        assert_eq!(show("d/ä b".as_bytes()), "d/ä b");
        assert_eq!(show(b"a\nb\x1b[31m\xff\xc3"), "a\\nb\\u{1b}[31m\\xff\\xc3");
    }

    #[test]
    fn lines_are_those_of_b3sum() {
        let digest = [0xab; 32];
        let hex = "ab".repeat(32);
        assert_eq!(b3sum_line(&digest, b"a b"), format!("{hex}  a b\n").into_bytes());
        assert_eq!(b3sum_line(&digest, b"a\nb\\\r"), format!("\\{hex}  a\\nb\\\\\\r\n").into_bytes());
        assert_eq!(b3sum_line(&digest, b"\xff"), format!("{hex}  \u{fffd}\n").into_bytes());
    }
}
