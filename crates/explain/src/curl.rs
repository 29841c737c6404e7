//! A request from a `curl` command, as people paste it.

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{Protocol, Question, Unanswerable};

/// Options with a value that say nothing of the request as far as routes see it.
const IGNORED: [&str; 24] = [
    "-o",
    "--output",
    "-w",
    "--write-out",
    "-m",
    "--max-time",
    "--connect-timeout",
    "--cacert",
    "--capath",
    "--key",
    "--resolve",
    "--connect-to",
    "--retry",
    "--retry-delay",
    "--retry-max-time",
    "-x",
    "--proxy",
    "--interface",
    "-c",
    "--cookie-jar",
    "-D",
    "--dump-header",
    "--ciphers",
    "--limit-rate",
];

/// Letters of short options that take a value.
const WITH_VALUE: &str = "XHdFAbueEowmxcD";

/// Reads a command. A body is not looked at, but for what it does to method and headers.
///
/// # Errors
/// When it is no `curl` command with one URL, or its quotes do not end.
pub fn parse(command: &str) -> Result<Question, Unanswerable> {
    let words = words(command)?;
    let mut words = words.into_iter();
    match words.next() {
        Some(first) if first == "curl" || first.ends_with("/curl") => {}
        _ => return Err(refused("this is no curl command")),
    }
    let mut read = Read::default();
    let mut rest = Vec::new();
    for word in words {
        rest.extend(split_short(word));
    }
    let mut rest = rest.into_iter();
    while let Some(word) = rest.next() {
        if let Some((option, value)) = word.split_once('=').filter(|_| word.starts_with("--")) {
            read.option(option, &mut std::iter::once(value.to_owned()))?;
        } else if word.starts_with('-') && word.len() > 1 {
            read.option(&word, &mut rest)?;
        } else {
            read.url(word)?;
        }
    }
    read.question()
}

fn refused(why: impl Into<String>) -> Unanswerable {
    Unanswerable::Question(why.into())
}

/// `-sSXPOST` as `-s`, `-S`, `-X`, `POST`.
fn split_short(word: String) -> Vec<String> {
    let is_short = word.starts_with('-') && !word.starts_with("--") && word.chars().count() > 2;
    if !is_short {
        return vec![word];
    }
    let mut parts = Vec::new();
    for (at, letter) in word.char_indices().skip(1) {
        parts.push(format!("-{letter}"));
        if WITH_VALUE.contains(letter) {
            let value = &word[at + letter.len_utf8()..];
            if !value.is_empty() {
                parts.push(value.to_owned());
            }
            break;
        }
    }
    parts
}

/// What the options say.
#[derive(Default)]
struct Read {
    url: Option<String>,
    method: Option<String>,
    headers: Vec<String>,
    form: bool,
    data: Vec<String>,
    json: bool,
    head: bool,
    get: bool,
    user: Option<String>,
    protocol: Option<Protocol>,
    certificate: bool,
}

impl Read {
    fn url(&mut self, url: String) -> Result<(), Unanswerable> {
        match self.url.replace(url) {
            None => Ok(()),
            Some(first) => Err(refused(format!("the command has two URLs, {first:?} is the first"))),
        }
    }

    fn option(&mut self, option: &str, rest: &mut dyn Iterator<Item = String>) -> Result<(), Unanswerable> {
        let mut value =
            || rest.next().ok_or_else(|| refused(format!("curl's option {option} lacks its value")));
        match option {
            "-X" | "--request" => self.method = Some(value()?),
            "-H" | "--header" => {
                let line = value()?;
                // `Name;` sends an empty header, `Name:` takes away one that curl would send.
                self.headers.push(match line.strip_suffix(';') {
                    Some(name) if !line.contains(':') => format!("{name}:"),
                    _ => line,
                });
            }
            "-A" | "--user-agent" => {
                let agent = value()?;
                self.headers.push(format!("user-agent: {agent}"));
            }
            "-b" | "--cookie" => {
                let cookie = value()?;
                self.headers.push(format!("cookie: {cookie}"));
            }
            "-e" | "--referer" => {
                let referer = value()?;
                self.headers.push(format!("referer: {referer}"));
            }
            "-d" | "--data" | "--data-raw" | "--data-binary" | "--data-ascii" | "--data-urlencode" => {
                self.data.push(value()?);
            }
            "--json" => {
                self.data.push(value()?);
                self.json = true;
            }
            "-F" | "--form" | "--form-string" => {
                value()?;
                self.form = true;
            }
            "-u" | "--user" => self.user = Some(value()?),
            "-E" | "--cert" => {
                value()?;
                self.certificate = true;
            }
            "--url" => {
                let url = value()?;
                self.url(url)?;
            }
            "-I" | "--head" => self.head = true,
            "-G" | "--get" => self.get = true,
            "--http1.1" | "--http1.0" | "-0" => self.protocol = Some(Protocol::Http1),
            "--http2" | "--http2-prior-knowledge" => self.protocol = Some(Protocol::Http2),
            "--http3" | "--http3-only" => self.protocol = Some(Protocol::Http3),
            "--compressed" => self.headers.push("accept-encoding: deflate, gzip, br, zstd".to_owned()),
            ignored if IGNORED.contains(&ignored) => drop(value()?),
            // Switches, such as -s, -k, -v and -L.
            _ => {}
        }
        Ok(())
    }

    fn question(self) -> Result<Question, Unanswerable> {
        let Some(mut url) = self.url else { return Err(refused("the curl command has no URL")) };
        if self.get && !self.data.is_empty() {
            url = format!("{url}{}{}", if url.contains('?') { '&' } else { '?' }, self.data.join("&"));
        }
        let posts = self.form || (!self.data.is_empty() && !self.get);
        let mut question = Question::get(&url)?;
        question.method = match self.method {
            Some(method) => method,
            None if self.head => "HEAD".to_owned(),
            None if posts => "POST".to_owned(),
            None => "GET".to_owned(),
        };
        for line in &self.headers {
            question.header(line)?;
        }
        let mut add = |name: &str, value: &str| {
            if !question.headers.iter().any(|(known, _)| known == name) {
                question.headers.push((name.to_owned(), value.to_owned()));
            }
        };
        add("user-agent", "curl");
        add("accept", if self.json { "application/json" } else { "*/*" });
        if self.form {
            add("content-type", "multipart/form-data");
        } else if posts {
            let kind = if self.json { "application/json" } else { "application/x-www-form-urlencoded" };
            add("content-type", kind);
        }
        if let Some(user) = self.user {
            add("authorization", &format!("Basic {}", BASE64_STANDARD.encode(user)));
        }
        // An empty header takes away what curl would send.
        question.headers.retain(|(_, value)| !value.is_empty());
        question.protocol = self.protocol;
        question.client_certificate = self.certificate;
        Ok(question)
    }
}

/// The words of a command, as a POSIX shell splits it, and `$'…'` as browsers copy it; nothing is expanded.
fn words(command: &str) -> Result<Vec<String>, Unanswerable> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = command.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                // A line that goes on.
                Some('\n') | None => {}
                Some(next) => word.get_or_insert_default().push(next),
            },
            '\'' => {
                let dollar = word.as_deref().is_some_and(|word| word.ends_with('$'));
                let word = word.get_or_insert_default();
                if dollar {
                    word.pop();
                }
                quoted(&mut characters, '\'', dollar, word)?;
            }
            '"' => quoted(&mut characters, '"', true, word.get_or_insert_default())?,
            blank if blank.is_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

fn quoted(
    characters: &mut impl Iterator<Item = char>,
    end: char,
    escapes: bool,
    word: &mut String,
) -> Result<(), Unanswerable> {
    while let Some(character) = characters.next() {
        match character {
            '\\' if escapes => match characters.next() {
                Some('n') if end == '\'' => word.push('\n'),
                Some('\n') | None => {}
                Some(next) => {
                    if end == '"' && !"\"\\$`".contains(next) {
                        word.push('\\');
                    }
                    word.push(next);
                }
            },
            character if character == end => return Ok(()),
            other => word.push(other),
        }
    }
    Err(refused("a quote in the command does not end"))
}
