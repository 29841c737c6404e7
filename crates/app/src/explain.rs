//! `ferrogate explain`: what becomes of a request, and why; and the effective policy.

use std::process::ExitCode;

use ::explain::{Explanation, PolicyExplanation, Protocol, Question, escaped};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    admin_client::Admin,
    offline::{self, Sources},
    view::{self, Shape},
};

/// Arguments of `ferrogate explain`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    of: Option<Of>,
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

/// What else is explained.
#[derive(Debug, clap::Subcommand)]
enum Of {
    /// Tell where a policy acts, with the policy that each field there comes from
    Policy(PolicyArgs),
}

/// Arguments of `ferrogate explain policy`.
#[derive(Debug, clap::Args)]
struct PolicyArgs {
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    admin: Admin,
    #[command(flatten)]
    named: PolicyName,
    /// Format of the output
    #[arg(short, long, value_enum, default_value = "table")]
    output: Shape,
}

/// A policy by its name.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct PolicyName {
    /// The policy
    #[arg(value_name = "KIND/[NAMESPACE/]NAME")]
    policy: String,
    /// Its namespace, where the name has none
    #[arg(short = 'n', long, value_name = "NAMESPACE", default_value = "default")]
    namespace: String,
}

impl PolicyName {
    /// Kind, namespace and name.
    ///
    /// # Errors
    /// When it is written otherwise.
    fn parts(&self) -> anyhow::Result<(&str, &str, &str)> {
        match self.policy.split('/').collect::<Vec<_>>()[..] {
            [kind, name] => Ok((kind, &self.namespace, name)),
            [kind, namespace, name] => Ok((kind, namespace, name)),
            _ => anyhow::bail!(
                "{:?} is no policy; write KIND/NAME or KIND/NAMESPACE/NAME, such as BackendTrafficPolicy/shop",
                self.policy
            ),
        }
    }

    /// From the query of the admin port's `/explain/policy`.
    ///
    /// # Errors
    /// When a name is not known.
    pub(crate) fn from_query(pairs: Vec<(String, String)>) -> anyhow::Result<PolicyName> {
        let mut named = PolicyName { policy: String::new(), namespace: "default".to_owned() };
        for (name, value) in pairs {
            match &*name {
                "policy" => named.policy = value,
                "namespace" => named.namespace = value,
                _ => anyhow::bail!("{name:?} is not known; known are policy and namespace"),
            }
        }
        Ok(named)
    }

    /// The answer of a pipeline.
    ///
    /// # Errors
    /// When there is no such policy.
    pub(crate) fn answer(&self, pipeline: &pipeline::Pipeline) -> anyhow::Result<PolicyExplanation> {
        let (kind, namespace, name) = self.parts()?;
        Ok(::explain::policy(pipeline, kind, namespace, name)?)
    }
}

/// The request.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct Asked {
    /// URL; without scheme it is http
    #[arg(required_unless_present_any = ["curl", "command"])]
    url: Option<String>,
    /// A whole `curl` command instead, in quotes; one that has quotes itself is better put behind `--`
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["url", "method", "headers"])]
    curl: Option<String>,
    /// A whole `curl` command instead, as it was copied
    #[arg(last = true, value_name = "curl …", conflicts_with_all = ["url", "curl", "method", "headers"])]
    command: Vec<String>,
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
    /// Protocol; what client and proxy agree on without it. h3 is asked for over QUIC, and told where it is not offered
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
        let mut question = match (&self.curl(), &self.url) {
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
        if let Some(protocol) = self.protocol {
            (question.protocol, question.falls_back) = (Some(protocol), false);
        }
        question.client_certificate |= self.client_certificate;
        Ok(question)
    }

    /// The command of `curl`. A shell has split what stands behind `--`, so each word gets quotes again.
    fn curl(&self) -> Option<String> {
        let quoted = |word: &String| format!("'{}'", word.replace('\'', "'\\''"));
        let command =
            (!self.command.is_empty()).then(|| self.command.iter().map(quoted).collect::<Vec<_>>().join(" "));
        self.curl.clone().or(command)
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
            ("curl", &self.curl()),
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
    if let Some(Of::Policy(args)) = &args.of {
        return policy(args);
    }
    // What cannot be understood is said before anything is read or asked.
    args.asked.question()?;
    let explanation = if let Some(loaded) = args.sources.judge()? {
        loaded.problems.iter().for_each(offline::report);
        args.asked.answer(&loaded.pipeline)?
    } else {
        ask(args.admin, &format!("/explain?{}", args.asked.query()))?
    };
    show(&explanation, args.output, view::explain::text)
}

fn policy(args: &PolicyArgs) -> anyhow::Result<ExitCode> {
    args.named.parts()?;
    let explanation = if let Some(loaded) = args.sources.judge()? {
        loaded.problems.iter().for_each(offline::report);
        args.named.answer(&loaded.pipeline)?
    } else {
        let PolicyName { policy, namespace } = &args.named;
        let query = format!("policy={}&namespace={}", escaped(policy), escaped(namespace));
        ask(args.admin, &format!("/explain/policy?{query}"))?
    };
    show(&explanation, args.output, view::policy::text)
}

/// The answer of a running gateway.
fn ask<T: DeserializeOwned>(admin: Admin, path: &str) -> anyhow::Result<T> {
    let (status, body) = admin.get(path)?;
    anyhow::ensure!(status.is_success(), "{}", String::from_utf8_lossy(&body).trim_end());
    Ok(serde_json::from_slice(&body)?)
}

fn show<T: Serialize>(told: &T, shape: Shape, text: fn(&T) -> String) -> anyhow::Result<ExitCode> {
    match shape {
        Shape::Table => view::write_out(text(told).as_bytes())?,
        Shape::Json => view::print(told, view::Format::Json)?,
        Shape::Yaml => view::print(told, view::Format::Yaml)?,
    }
    Ok(ExitCode::SUCCESS)
}
