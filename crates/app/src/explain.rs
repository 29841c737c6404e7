//! `ferrogate explain`: what becomes of a request, and why.

use std::{fmt::Write, process::ExitCode};

use ::explain::{Explanation, Protocol, Question};

use crate::{
    admin_client::Admin,
    offline::{self, Sources},
    view::{self, Shape},
};

/// Arguments of `ferrogate explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    admin: Admin,
    #[command(flatten)]
    asked: Asked,
    /// Format of the output
    #[arg(short, long, value_enum, default_value = "table")]
    output: Shape,
}

/// The request.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct Asked {
    /// URL; without scheme it is http
    #[arg(required_unless_present = "curl")]
    url: Option<String>,
    /// A whole `curl` command instead, in quotes
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["url", "method", "headers"])]
    curl: Option<String>,
    /// The Gateway; may be left out where there is only one
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    gateway: Option<String>,
    /// Request method; GET without it
    #[arg(short = 'X', long, value_name = "METHOD")]
    method: Option<String>,
    /// A request header; `Host` replaces the host of the request, not that of the connection
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Server name of the TLS handshake; the host of the URL without it, and none when empty
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// Protocol; what client and proxy agree on without it
    #[arg(long, value_name = "http1|h2|h3", value_parser = protocol)]
    protocol: Option<Protocol>,
    /// The client shows a certificate that the Gateway trusts
    #[arg(long)]
    client_certificate: bool,
}

fn protocol(text: &str) -> Result<Protocol, String> {
    match text {
        "http1" => Ok(Protocol::Http1),
        "h2" => Ok(Protocol::Http2),
        "h3" => Ok(Protocol::Http3),
        _ => Err("http1, h2 or h3".to_owned()),
    }
}

impl Asked {
    /// The question.
    ///
    /// # Errors
    /// When URL, header or command cannot be understood.
    fn question(&self) -> anyhow::Result<Question> {
        let mut question = match (&self.curl, &self.url) {
            (Some(command), _) => ::explain::parse_curl(command)?,
            (None, Some(url)) => Question::get(url)?,
            (None, None) => anyhow::bail!("a URL or a curl command is needed"),
        };
        question.gateway.clone_from(&self.gateway);
        if let Some(method) = &self.method {
            method.clone_into(&mut question.method);
        }
        for line in &self.headers {
            question.header(line)?;
        }
        match self.sni.as_deref() {
            None => {}
            Some("") => question.server_name = None,
            Some(name) => question.server_name = Some(name.to_owned()),
        }
        question.protocol = self.protocol.or(question.protocol);
        question.client_certificate |= self.client_certificate;
        Ok(question)
    }

    /// As the query of the admin port's `/explain`.
    fn query(&self) -> String {
        let protocol = self.protocol.map(|protocol| match protocol {
            Protocol::Http1 => "http1".to_owned(),
            Protocol::Http2 => "h2".to_owned(),
            Protocol::Http3 => "h3".to_owned(),
        });
        let certificate = self.client_certificate.then(|| "true".to_owned());
        let named = [
            ("url", &self.url),
            ("curl", &self.curl),
            ("gateway", &self.gateway),
            ("method", &self.method),
            ("sni", &self.sni),
            ("protocol", &protocol),
            ("clientCertificate", &certificate),
        ];
        let named = named.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        let headers = self.headers.iter().map(|line| ("header", &**line));
        let pairs = named.chain(headers).map(|(name, value)| format!("{name}={}", escaped(value)));
        pairs.collect::<Vec<_>>().join("&")
    }

    /// From the query of the admin port's `/explain`.
    ///
    /// # Errors
    /// When a name is not known, or the protocol is none.
    pub(crate) fn from_query(pairs: Vec<(String, String)>) -> anyhow::Result<Asked> {
        let mut asked = Asked::default();
        for (name, value) in pairs {
            match &*name {
                "url" => asked.url = Some(value),
                "curl" => asked.curl = Some(value),
                "gateway" => asked.gateway = Some(value),
                "method" => asked.method = Some(value),
                "sni" => asked.sni = Some(value),
                "header" => asked.headers.push(value),
                "protocol" => asked.protocol = Some(protocol(&value).map_err(anyhow::Error::msg)?),
                "clientCertificate" => asked.client_certificate = value == "true",
                _ => anyhow::bail!(
                    "{name:?} is not known; known are url, curl, gateway, method, sni, header, protocol and \
                     clientCertificate"
                ),
            }
        }
        Ok(asked)
    }

    /// The answer of a pipeline.
    ///
    /// # Errors
    /// When the question cannot be understood, or names no Gateway that is there.
    pub(crate) fn answer(&self, pipeline: &pipeline::Pipeline) -> anyhow::Result<Explanation> {
        Ok(::explain::explain(pipeline, &self.question()?)?)
    }
}

/// Runs the command. Exit code 0; 2 when the question cannot be answered.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    // What cannot be understood is said before anything is read or asked.
    args.asked.question()?;
    let explanation = if let Some(loaded) = args.sources.judge()? {
        loaded.problems.iter().for_each(offline::report);
        args.asked.answer(&loaded.pipeline)?
    } else {
        let (status, body) = args.admin.get(&format!("/explain?{}", args.asked.query()))?;
        anyhow::ensure!(status.is_success(), "{}", String::from_utf8_lossy(&body).trim_end());
        serde_json::from_slice(&body)?
    };
    match args.output {
        Shape::Table => view::write_out(view::explain::text(&explanation).as_bytes())?,
        Shape::Json => view::print(&explanation, view::Format::Json)?,
        Shape::Yaml => view::print(&explanation, view::Format::Yaml)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Percent-encoding for a query (RFC 3986 §2.1): all but unreserved characters.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
