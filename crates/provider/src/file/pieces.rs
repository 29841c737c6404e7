//! Cuts a file into pieces, one per document, so that an edit costs the parsing of what was edited only.

/// A part of a file that can be parsed by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// Lines of the file before it.
    pub(super) skipped: usize,
    /// Its text, with the `---` line that opens it.
    pub(super) text: &'a str,
}

/// Cuts at the lines that begin with `---`: YAML allows these at the beginning of a line nowhere but between documents
/// (YAML 1.2.2 §9.1.2), and JSON nowhere at all. A file with a `%` directive stays whole, since a directive belongs
/// to the document after the next `---`.
pub(super) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut pieces = Vec::new();
    let (mut start, mut skipped, mut offset) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if line.starts_with('%') {
            return vec![Piece { skipped: 0, text }];
        }
        if offset > 0 && opens_document(line) {
            push(&mut pieces, skipped, &text[start..offset]);
            (start, skipped) = (offset, number);
        }
        offset += line.len();
    }
    push(&mut pieces, skipped, &text[start..]);
    pieces
}

fn opens_document(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Keeps a piece unless it is empty.
fn push<'a>(pieces: &mut Vec<Piece<'a>>, skipped: usize, text: &'a str) {
    if !matches!(text.trim(), "" | "---") {
        pieces.push(Piece { skipped, text });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<(usize, &str)> {
        pieces(text).iter().map(|p| (p.skipped, p.text)).collect()
    }

    #[test]
    fn cuts_at_document_markers_only() {
        assert_eq!(
            cut("a: 1\n---\nb: |\n  ---\n  x\n--- # c\nc: 1"),
            [(0, "a: 1\n"), (1, "---\nb: |\n  ---\n  x\n"), (5, "--- # c\nc: 1")]
        );
        assert_eq!(cut("---\na: 1\n----\n"), [(0, "---\na: 1\n----\n")]);
        assert_eq!(cut("\u{feff}---\r\na: 1\r\n---\r\n"), [(0, "---\r\na: 1\r\n")]);
    }

    #[test]
    fn leaves_out_the_empty_and_keeps_directives_whole() {
        assert_eq!(cut(" \n---\n---\n\n"), []);
        assert_eq!(cut("%YAML 1.2\n---\na: 1\n---\nb: 1\n"), [(0, "%YAML 1.2\n---\na: 1\n---\nb: 1\n")]);
    }
}
