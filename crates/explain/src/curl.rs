//! A request from a `curl` command, as people paste it.

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{Protocol, Question, Scheme, Unanswerable, question::escaped, shell};

/// Options with a value that say nothing of the request as far as proxies see it.
const IGNORED: [&str; 60] = [
    "--output",
    "--output-dir",
    "--write-out",
    "--max-time",
    "--connect-timeout",
    "--cacert",
    "--capath",
    "--crlfile",
    "--key",
    "--key-type",
    "--cert-type",
    "--pass",
    "--pinnedpubkey",
    "--resolve",
    "--retry",
    "--retry-delay",
    "--retry-max-time",
    "--interface",
    "--local-port",
    "--cookie-jar",
    "--dump-header",
    "--ciphers",
    "--tls13-ciphers",
    "--curves",
    "--tls-max",
    "--limit-rate",
    "--rate",
    "--max-redirs",
    "--max-filesize",
    "--speed-limit",
    "--speed-time",
    "--stderr",
    "--trace",
    "--trace-ascii",
    "--trace-config",
    "--keepalive-time",
    "--keepalive-cnt",
    "--expect100-timeout",
    "--happy-eyeballs-timeout-ms",
    "--doh-url",
    "--dns-servers",
    "--dns-interface",
    "--dns-ipv4-addr",
    "--dns-ipv6-addr",
    "--noproxy",
    "--netrc-file",
    "--hsts",
    "--alt-svc",
    "--etag-save",
    "--unix-socket",
    "--abstract-unix-socket",
    "--create-file-mode",
    "--engine",
    "--random-file",
    "--egd-file",
    "--parallel-max",
    "--proto",
    "--proto-default",
    "--proto-redir",
    "--libcurl",
];

/// Options with a value that change what proxies see in a way that is not followed here.
const NOT_FOLLOWED: [(&str, &str); 14] = [
    ("--proxy", "the request is explained as if it came without a proxy between"),
    ("--preproxy", "the request is explained as if it came without a proxy between"),
    ("--socks5", "the request is explained as if it came without a proxy between"),
    ("--socks5-hostname", "the request is explained as if it came without a proxy between"),
    ("--socks4", "the request is explained as if it came without a proxy between"),
    ("--socks4a", "the request is explained as if it came without a proxy between"),
    ("--proxy-header", "the request is explained as if it came without a proxy between"),
    ("--proxy-user", "the request is explained as if it came without a proxy between"),
    ("--config", "what stands in that file is not known here"),
    ("--aws-sigv4", "the headers of the signature are left out"),
    ("--time-cond", "the header If-Modified-Since is left out"),
    ("--etag-compare", "the header If-None-Match is left out"),
    ("--variable", "nothing is put in its place"),
    ("--continue-at", "the header Range is left out"),
];

/// Switches that say nothing of the request as far as proxies see it.
const SWITCHES: [&str; 47] = [
    "--silent",
    "--show-error",
    "--verbose",
    "--include",
    "--insecure",
    "--location",
    "--location-trusted",
    "--fail",
    "--fail-with-body",
    "--fail-early",
    "--remote-name",
    "--remote-header-name",
    "--remote-name-all",
    "--remove-on-error",
    "--progress-bar",
    "--no-progress-meter",
    "--no-buffer",
    "--parallel",
    "--parallel-immediate",
    "--globoff",
    "--ipv4",
    "--ipv6",
    "--disable",
    "--netrc",
    "--netrc-optional",
    "--create-dirs",
    "--raw",
    "--tr-encoding",
    "--tcp-nodelay",
    "--tcp-fastopen",
    "--keepalive",
    "--no-keepalive",
    "--no-sessionid",
    "--styled-output",
    "--post301",
    "--post302",
    "--post303",
    "--retry-all-errors",
    "--retry-connrefused",
    "--ssl-no-revoke",
    "--tlsv1",
    "--tlsv1.0",
    "--tlsv1.1",
    "--tlsv1.2",
    "--tlsv1.3",
    "--show-headers",
    "--junk-session-cookies",
];

/// Switches that have curl wait for an answer before it sends what it was asked for.
const ASKING: [&str; 4] = ["--digest", "--ntlm", "--negotiate", "--anyauth"];

/// Short options with the long ones that they stand for, and whether they take a value.
const SHORT: [(char, &str, bool); 52] = [
    ('X', "--request", true),
    ('H', "--header", true),
    ('d', "--data", true),
    ('F', "--form", true),
    ('A', "--user-agent", true),
    ('b', "--cookie", true),
    ('u', "--user", true),
    ('e', "--referer", true),
    ('E', "--cert", true),
    ('o', "--output", true),
    ('w', "--write-out", true),
    ('m', "--max-time", true),
    ('x', "--proxy", true),
    ('U', "--proxy-user", true),
    ('c', "--cookie-jar", true),
    ('D', "--dump-header", true),
    ('T', "--upload-file", true),
    ('r', "--range", true),
    ('K', "--config", true),
    ('C', "--continue-at", true),
    ('y', "--speed-time", true),
    ('Y', "--speed-limit", true),
    ('z', "--time-cond", true),
    ('I', "--head", false),
    ('G', "--get", false),
    ('0', "--http1.0", false),
    ('s', "--silent", false),
    ('S', "--show-error", false),
    ('v', "--verbose", false),
    ('i', "--include", false),
    ('k', "--insecure", false),
    ('L', "--location", false),
    ('f', "--fail", false),
    ('O', "--remote-name", false),
    ('J', "--remote-header-name", false),
    ('#', "--progress-bar", false),
    ('N', "--no-buffer", false),
    ('Z', "--parallel", false),
    ('g', "--globoff", false),
    ('4', "--ipv4", false),
    ('6', "--ipv6", false),
    ('q', "--disable", false),
    ('n', "--netrc", false),
    ('j', "--junk-session-cookies", false),
    ('R', "--remote-time", false),
    ('a', "--append", false),
    ('p', "--proxytunnel", false),
    ('1', "--tlsv1", false),
    ('2', "--sslv2", false),
    ('3', "--sslv3", false),
    ('V', "--version", false),
    (':', "--next", false),
];

/// Reads a command. What cannot be followed is told in the notes of the question and does not stop it. A body is not looked
/// at, but for its length and what it does to method and headers.
///
/// # Errors
/// When it is no `curl` command with a URL of `http` or `https`.
pub fn parse(command: &str) -> Result<Question, Unanswerable> {
    let line = shell::split(command);
    let mut words = line.words.into_iter().peekable();
    // A prompt that was copied along.
    while words.next_if(|word| word == "$" || word == "%").is_some() {}
    match words.next() {
        Some(first) if is_curl(&first) => {}
        Some(first) => return Err(refused(format!("this is no curl command: it begins with {first:?}"))),
        None => return Err(refused("the curl command is empty")),
    }
    let mut read = Read { notes: line.notes, ..Read::default() };
    let mut options = true;
    let mut words: Vec<String> = words.collect();
    words.reverse();
    while let Some(word) = words.pop() {
        if !options || !word.starts_with('-') || word.len() == 1 {
            read.url(word);
        } else if word == "--" {
            options = false;
        } else if word == "--next" || word == "-:" {
            read.notes.push("the command makes several requests (--next): the first is explained".to_owned());
            break;
        } else if word.starts_with("--") {
            let (option, value) = match word.split_once('=') {
                Some((option, value)) => (option.to_owned(), Some(value.to_owned())),
                None => (word, None),
            };
            words.extend(value);
            read.option(&option, &option, &mut words);
        } else {
            read.short(&word, &mut words);
        }
    }
    read.question()
}

fn is_curl(word: &str) -> bool {
    let name = word.rsplit(['/', '\\']).next().unwrap_or_default();
    name == "curl" || name.eq_ignore_ascii_case("curl.exe")
}

fn refused(why: impl Into<String>) -> Unanswerable {
    Unanswerable::Question(why.into())
}

/// What the options say.
#[derive(Default)]
struct Read {
    url: Option<String>,
    method: Option<String>,
    headers: Vec<String>,
    form: bool,
    data: Vec<String>,
    /// Length of the body, as far as it is known.
    body: u64,
    json: bool,
    upload: Option<String>,
    head: bool,
    get: bool,
    query: Vec<String>,
    user: Option<String>,
    bearer: Option<String>,
    protocol: Option<Protocol>,
    falls_back: bool,
    prior_knowledge: bool,
    http10: bool,
    certificate: bool,
    as_is: bool,
    target: Option<String>,
    connect_to: Vec<String>,
    notes: Vec<String>,
}

impl Read {
    fn url(&mut self, url: String) {
        match &self.url {
            None => self.url = Some(url),
            Some(first) => {
                let note = format!("the command has another URL, {url:?}; {first:?} is explained");
                self.notes.push(note);
            }
        }
    }

    /// `-sSXPOST` is `-s`, `-S`, `-X POST`.
    fn short(&mut self, word: &str, rest: &mut Vec<String>) {
        for (at, letter) in word.char_indices().skip(1) {
            let Some((_, long, with_value)) = SHORT.iter().find(|(own, ..)| *own == letter) else {
                self.unknown(&format!("-{letter}"));
                continue;
            };
            if *with_value {
                let value = word.get(at + letter.len_utf8()..).unwrap_or_default();
                if !value.is_empty() {
                    rest.push(value.to_owned());
                }
                return self.option(long, &format!("-{letter}"), rest);
            }
            self.option(long, &format!("-{letter}"), rest);
        }
    }

    fn unknown(&mut self, option: &str) {
        self.notes.push(format!("curl's option {option} is not known here and passed over"));
    }

    /// An option by its long name, as it was written.
    fn option(&mut self, option: &str, written: &str, rest: &mut Vec<String>) {
        if self.switch(option) {
            return;
        }
        let follows = NOT_FOLLOWED.iter().find(|(name, _)| *name == option);
        if !takes_value(option) && !IGNORED.contains(&option) && follows.is_none() {
            return self.unknown(written);
        }
        let Some(value) = rest.pop() else {
            return self.notes.push(format!("curl's option {written} lacks its value and is passed over"));
        };
        if let Some((_, what)) = follows {
            self.notes.push(format!("curl's option {written} is passed over: {what}"));
        }
        self.value(option, value);
    }

    /// True for an option without value.
    fn switch(&mut self, option: &str) -> bool {
        match option {
            "--head" => self.head = true,
            "--get" => self.get = true,
            "--http1.1" => self.protocol = Some(Protocol::Http1),
            "--http1.0" => (self.protocol, self.http10) = (Some(Protocol::Http1), true),
            "--http2" => self.protocol = Some(Protocol::Http2),
            "--http2-prior-knowledge" => {
                (self.protocol, self.prior_knowledge) = (Some(Protocol::Http2), true);
            }
            "--http3" => (self.protocol, self.falls_back) = (Some(Protocol::Http3), true),
            "--http3-only" => (self.protocol, self.falls_back) = (Some(Protocol::Http3), false),
            "--no-alpn" => self.protocol = Some(Protocol::Http1),
            "--compressed" => self.headers.push("accept-encoding: deflate, gzip, br, zstd".to_owned()),
            "--path-as-is" => self.as_is = true,
            asking if ASKING.contains(&asking) => {
                self.notes
                    .push(format!("{asking} asks without credentials first: that request is explained"));
                self.user = None;
            }
            known => return SWITCHES.contains(&known) || SHORT.iter().any(|(_, own, v)| *own == known && !v),
        }
        true
    }

    fn value(&mut self, option: &str, value: String) {
        match option {
            "--request" => self.method = Some(value),
            "--header" => self.header(value),
            "--user-agent" => self.headers.push(format!("user-agent: {value}")),
            "--cookie" if value.contains('=') => self.headers.push(format!("cookie: {value}")),
            "--cookie" => self.notes.push(format!("cookies in the file {value:?} are not known here")),
            "--referer" => self.headers.push(format!("referer: {}", value.trim_end_matches(";auto"))),
            "--range" => self.headers.push(format!("range: bytes={value}")),
            "--data" | "--data-binary" | "--data-ascii" if value.starts_with('@') => {
                self.notes
                    .push(format!("the body is in the file {:?}: its length is not known here", &value[1..]));
                self.data.push(String::new());
            }
            "--data" | "--data-raw" | "--data-binary" | "--data-ascii" => self.data.push(value),
            "--data-urlencode" => self.data.push(encoded(&value)),
            "--json" => {
                self.data.push(value);
                self.json = true;
            }
            "--form" | "--form-string" => {
                self.body += value.len() as u64;
                self.form = true;
            }
            "--upload-file" => self.upload = Some(value),
            "--url-query" => self.query.push(encoded(&value)),
            "--user" => self.user = Some(value),
            "--oauth2-bearer" => self.bearer = Some(value),
            "--cert" => self.certificate = true,
            "--url" => self.url(value),
            "--request-target" => self.target = Some(value),
            "--connect-to" => self.connect_to.push(value),
            // What is passed over.
            _ => {}
        }
    }

    fn header(&mut self, line: String) {
        if let Some(file) = line.strip_prefix('@') {
            return self.notes.push(format!("headers in the file {file:?} are not known here"));
        }
        // `Name;` sends an empty header, `Name:` takes away one that curl would send.
        let line = match line.strip_suffix(';') {
            Some(name) if !line.contains(':') => format!("{name}:"),
            _ => line,
        };
        if line.contains(':') {
            self.headers.push(line);
        } else {
            self.notes.push(format!("header {line:?} has no colon: curl does not send it"));
        }
    }

    fn question(mut self) -> Result<Question, Unanswerable> {
        let Some(url) = self.url.take() else { return Err(refused("the curl command has no URL")) };
        let of_url = url.split_once("://").map_or(&*url, |(_, rest)| rest);
        let site = of_url.split(['/', '?', '#']).next().unwrap_or_default().to_owned();
        if site.contains('$') {
            return Err(refused(format!("{url:?} has a variable of the shell as its host; write its value")));
        }
        if let Some((user, _)) = site.rsplit_once('@') {
            self.user.get_or_insert_with(|| user.to_owned());
        }
        let mut question = Question::get(&self.located(url))?;
        question.method = self.method();
        if let Some(target) = &self.target {
            target.clone_into(&mut question.path);
        }
        self.connect(&mut question);
        for line in &self.headers {
            question.header(line)?;
        }
        self.own_headers(&mut question);
        question.body = self.body + self.data.iter().map(|data| data.len() as u64).sum::<u64>();
        // Several parts are joined by `&`.
        question.body += (self.data.len() as u64).saturating_sub(1);
        if self.get {
            question.body = 0;
        }
        self.version(&mut question);
        question.client_certificate = self.certificate;
        question.notes = self.notes;
        Ok(question)
    }

    /// The URL with what options add to it, and without `.` and `..` in its path.
    fn located(&self, url: String) -> String {
        let mut query = self.query.clone();
        if self.get {
            query.extend(self.data.iter().cloned());
        }
        let mut url = url;
        if let Some(file) = self.upload.as_deref().filter(|_| url.ends_with('/')) {
            url.push_str(file.rsplit('/').next().unwrap_or_default());
        }
        for part in query {
            url = format!("{url}{}{part}", if url.contains('?') { '&' } else { '?' });
        }
        if self.as_is { url } else { squashed(&url) }
    }

    fn method(&self) -> String {
        let posts = self.form || (!self.data.is_empty() && !self.get);
        let method = match &self.method {
            Some(method) => method,
            None if self.head => "HEAD",
            None if self.upload.is_some() => "PUT",
            None if posts => "POST",
            None => "GET",
        };
        method.to_owned()
    }

    /// `--connect-to HOST1:PORT1:HOST2:PORT2`: the connection goes to the second place, and all else stays.
    fn connect(&self, question: &mut Question) {
        for pair in &self.connect_to {
            let parts = split_colons(pair);
            let [host, port, _, to] = &parts[..] else { continue };
            let is_host = host.is_empty() || host.eq_ignore_ascii_case(&question.host);
            let is_port = port.is_empty() || port.parse() == Ok(question.port);
            if let (true, true, Ok(to)) = (is_host, is_port, to.parse()) {
                question.port = to;
                return;
            }
        }
    }

    /// The headers that curl sends by itself.
    fn own_headers(&self, question: &mut Question) {
        let posts = self.form || (!self.data.is_empty() && !self.get);
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
        if let Some(token) = &self.bearer {
            add("authorization", &format!("Bearer {token}"));
        } else if let Some(user) = &self.user {
            add("authorization", &format!("Basic {}", BASE64_STANDARD.encode(user)));
        }
        // An empty header takes away what curl would send.
        question.headers.retain(|(_, value)| !value.is_empty());
    }

    /// Without TLS curl asks for HTTP/2 by an upgrade, which Envoy passes over, and for HTTP/3 not at all.
    fn version(&mut self, question: &mut Question) {
        let plain = question.scheme == Scheme::Http;
        question.http10 = self.http10;
        question.falls_back = self.falls_back;
        question.protocol = match self.protocol {
            Some(Protocol::Http2) if plain && !self.prior_knowledge => {
                let note = "without TLS curl asks for HTTP/2 by an upgrade, which Envoy does not take: it is HTTP/1.1; \
                            --http2-prior-knowledge speaks HTTP/2 at once";
                self.notes.push(note.to_owned());
                Some(Protocol::Http1)
            }
            other => other,
        };
    }
}

/// True for options whose value is looked at.
fn takes_value(option: &str) -> bool {
    const LOOKED_AT: [&str; 10] = [
        "--data-raw",
        "--data-binary",
        "--data-ascii",
        "--data-urlencode",
        "--json",
        "--form-string",
        "--url-query",
        "--oauth2-bearer",
        "--url",
        "--request-target",
    ];
    option == "--connect-to"
        || LOOKED_AT.contains(&option)
        || SHORT.iter().any(|(_, own, with_value)| *own == option && *with_value)
}

/// `HOST:PORT:HOST:PORT`, whose hosts may be addresses in brackets.
fn split_colons(text: &str) -> Vec<&str> {
    let mut inside = false;
    let parts = text.split(|character| {
        match character {
            '[' => inside = true,
            ']' => inside = false,
            _ => {}
        }
        character == ':' && !inside
    });
    parts.collect()
}

/// `name=content` with the content percent-encoded, as `--data-urlencode` has it.
fn encoded(data: &str) -> String {
    match data.split_once('=') {
        Some(("", content)) => escaped(content),
        Some((name, content)) => format!("{name}={}", escaped(content)),
        None => escaped(data),
    }
}

/// A URL without `.` and `..` in its path, which curl takes away (RFC 3986 §5.2.4).
fn squashed(url: &str) -> String {
    let begin = url.find("://").map_or(0, |at| at + 3);
    let Some(path) = url[begin..].find('/').map(|at| at + begin) else { return url.to_owned() };
    let end = url[path..].find(['?', '#']).map_or(url.len(), |at| at + path);
    let segments: Vec<&str> = url[path + 1..end].split('/').collect();
    let mut kept: Vec<&str> = Vec::new();
    let last = segments.len() - 1;
    for (index, segment) in segments.into_iter().enumerate() {
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if index == last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("{}/{}{}", &url[..path], kept.join("/"), &url[end..])
}
