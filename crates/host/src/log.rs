//! Envoy's output, folded into ours.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tracing::Level;

/// Format of Envoy's log: level and component in front, the time is ours. See [`parse`].
pub(crate) const FORMAT: &str = "[%l][%n] %v";
/// Longest line passed on; the rest of it is dropped. Access-log lines may carry long headers.
const MAX_LINE: usize = 64 * 1024;

/// How Envoy says that a value is not allowed. The message that it is part of stands before it, on lines of its own.
const CONSTRAINT: &str = "Proto constraint validation failed";
/// How a message begins that Envoy shows for people.
const SHOWN: &str = "goo.gle/debug";

/// What Envoy has against a configuration, without the configuration, which its words may repeat: as one line of `longest`
/// bytes at most.
pub(crate) fn without_configuration(words: &str, longest: usize) -> String {
    let reason = match words.find(CONSTRAINT) {
        Some(at) => &words[at..],
        None => words.split_once(SHOWN).map_or(words, |(before, _)| before),
    };
    let reason = match reason.split_once("): {") {
        Some((before, _)) => format!("{before})"),
        None => reason.to_owned(),
    };
    let line = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = line.trim_end_matches([':', ' ']);
    if line.len() <= longest {
        return line.to_owned();
    }
    format!("{} …", &line[..line.floor_char_boundary(longest)])
}

/// The last thing Envoy said at level error or above: the reason, should it end.
#[derive(Debug, Clone, Default)]
pub(crate) struct LastError(Arc<Mutex<Option<String>>>);

impl LastError {
    pub(crate) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, message: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(message.to_owned());
    }
}

/// Passes on standard output: lines of access logs that go to `/dev/stdout`, under the target `access`.
pub(crate) async fn access(proxy: Arc<str>, output: impl AsyncRead + Unpin) {
    let mut lines = Lines::new(output);
    while let Some(line) = lines.next().await {
        tracing::info!(target: "access", %proxy, "{line}");
    }
}

/// Passes on standard error: Envoy's own log, under the target `envoy` at the level of each line.
pub(crate) async fn own(proxy: Arc<str>, output: impl AsyncRead + Unpin, last_error: LastError) {
    let mut lines = Lines::new(output);
    // A line without a level continues the message before it.
    let mut level = Level::INFO;
    while let Some(line) = lines.next().await {
        let (component, text) = match parse(&line) {
            Some((found, component, text)) => {
                level = found;
                (component, text)
            }
            None => ("", line.as_str()),
        };
        if text.trim().is_empty() {
            continue;
        }
        if level == Level::ERROR && (!component.is_empty() || text.contains(CONSTRAINT)) {
            last_error.set(&without_configuration(text, MAX_LINE));
        }
        match level {
            Level::ERROR => tracing::error!(target: "envoy", %proxy, component, "{text}"),
            Level::WARN => tracing::warn!(target: "envoy", %proxy, component, "{text}"),
            Level::INFO => tracing::info!(target: "envoy", %proxy, component, "{text}"),
            Level::DEBUG => tracing::debug!(target: "envoy", %proxy, component, "{text}"),
            Level::TRACE => tracing::trace!(target: "envoy", %proxy, component, "{text}"),
        }
    }
}

/// Splits a line into level, component and text. Before Envoy has read its options it uses its default format, with
/// time and thread in front and the source file behind, so the level is looked for among the leading brackets.
fn parse(line: &str) -> Option<(Level, &str, &str)> {
    let mut rest = line;
    for _ in 0..3 {
        let (word, after) = rest.strip_prefix('[')?.split_once(']')?;
        if let Some(level) = level(word) {
            let (component, text) = after.strip_prefix('[')?.split_once(']')?;
            return Some((level, component, text.trim_start()));
        }
        rest = after;
    }
    None
}

fn level(word: &str) -> Option<Level> {
    match word {
        "critical" | "error" => Some(Level::ERROR),
        "warning" => Some(Level::WARN),
        "info" => Some(Level::INFO),
        "debug" => Some(Level::DEBUG),
        "trace" => Some(Level::TRACE),
        _ => None,
    }
}

/// Lines of a stream, of bounded length.
struct Lines<R> {
    reader: BufReader<R>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    fn new(stream: R) -> Self {
        Self { reader: BufReader::new(stream) }
    }

    /// The next line without its end; nothing when the stream has ended or failed.
    async fn next(&mut self) -> Option<String> {
        let mut line = Vec::new();
        loop {
            let chunk = self.reader.fill_buf().await.ok()?;
            if chunk.is_empty() {
                return if line.is_empty() { None } else { Some(text(&line)) };
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            line.extend_from_slice(&part[..part.len().min(MAX_LINE - line.len())]);
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if end.is_some() {
                return Some(text(&line));
            }
        }
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end_matches('\r').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_both_formats() {
        assert_eq!(parse("[warning][config] a [b] c"), Some((Level::WARN, "config", "a [b] c")));
        let early = "[2026-11-22 17:29:30.720][24526][critical][main] [source/x.cc:1] text";
        assert_eq!(parse(early), Some((Level::ERROR, "main", "[source/x.cc:1] text")));
        for other in ["", "text", "[info] no component", "[a][b][c][info][d] too deep", "  indented"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[tokio::test]
    async fn long_lines_are_cut_and_the_last_needs_no_end() {
        let input = format!("one\r\n\n{}\nlast", "x".repeat(MAX_LINE + 10_000));
        let mut lines = Lines::new(input.as_bytes());
        assert_eq!(lines.next().await.as_deref(), Some("one"));
        assert_eq!(lines.next().await.as_deref(), Some(""));
        assert_eq!(lines.next().await.map(|line| line.len()), Some(MAX_LINE));
        assert_eq!(lines.next().await.as_deref(), Some("last"));
        assert_eq!(lines.next().await, None);
    }

    #[test]
    fn a_reason_does_not_repeat_the_configuration() {
        for (words, reason) in [
            ("Duplicate layer name: a\n", "Duplicate layer name: a"),
            (
                "goo.gle/debugstr\nadmin {\n  path: \"secret\"\n}\n: Proto constraint validation failed (A.B: must be 1)\n",
                "Proto constraint validation failed (A.B: must be 1)",
            ),
            ("Expected positive duration: goo.gle/debugonly\nseconds: -1\n", "Expected positive duration"),
            ("Unable to parse (no @type 'x'): {\"token\":\"secret\"}", "Unable to parse (no @type 'x')"),
        ] {
            assert_eq!(without_configuration(words, 100), reason);
        }
        assert_eq!(without_configuration("ééé", 3), "é …");
    }

    #[tokio::test]
    async fn of_a_value_that_is_not_allowed_the_rule_is_kept() {
        let last = LastError::default();
        let log =
            b"[critical][main] error initializing configuration 'x': goo.gle/debugstr\nadmin {\n}\n: Proto \
            constraint validation failed (A: must be 1)\n[info][main] exiting\n";
        own("p".into(), &log[..], last.clone()).await;
        assert_eq!(last.take().as_deref(), Some("Proto constraint validation failed (A: must be 1)"));
    }

    #[tokio::test]
    async fn the_last_error_is_kept() {
        let last = LastError::default();
        let log = b"[error][main] first\n[critical][main] second\n  more of it\n[info][main] exiting\n";
        own("p".into(), &log[..], last.clone()).await;
        assert_eq!(last.take().as_deref(), Some("second"));
    }
}
