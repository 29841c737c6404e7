//! A request as the proxy has received it.

use envoy_api::{
    core::{
        HeaderValueOption, header_value_option::HeaderAppendAction,
        http_protocol_options::HeadersWithUnderscoresAction,
    },
    early_header_mutation::HeaderMutation,
    hcm::{HttpConnectionManager, http_connection_manager::StripPortMode},
    mutation_rules::header_mutation::Action,
    unpack,
};

use crate::{Outcome, Protocol, Question};

/// A request inside the proxy. Names of headers are lower case; those of the request line are headers too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) scheme: &'static str,
    /// `:authority`, as it came.
    pub(crate) authority: String,
    /// Path with query.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    /// Length of the body in bytes.
    pub(crate) body: u64,
    pub(crate) protocol: Protocol,
}

impl Request {
    /// The path without query.
    pub(crate) fn bare_path(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// A header as matches see it: several of one name joined by commas.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        match name {
            ":method" => return Some(self.method.clone()),
            ":path" => return Some(self.path.clone()),
            ":authority" | "host" => return Some(self.authority.clone()),
            ":scheme" => return Some(self.scheme.to_owned()),
            _ => {}
        }
        let mut values = self.headers.iter().filter(|(own, _)| own == name).map(|(_, value)| &**value);
        let first = values.next()?;
        Some(values.fold(first.to_owned(), |joined, value| joined + "," + value))
    }

    /// The first parameter of this name in the query, as it is written there.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.path.split_once('?')?;
        query
            .split('&')
            .map(|part| part.split_once('=').unwrap_or((part, "")))
            .find(|(own, _)| *own == name)
            .map(|(_, value)| value)
    }

    /// The value of a cookie.
    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        let cookies = self.header("cookie")?;
        let mut pairs = cookies.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(own, _)| *own == name).map(|(_, value)| value.trim_matches('"').to_owned())
    }

    /// Applies one line of a list of changes.
    pub(crate) fn change(&mut self, option: &HeaderValueOption, value: String) {
        let Some(header) = &option.header else { return };
        if value.is_empty() && !option.keep_empty_value {
            return;
        }
        let name = header.key.to_ascii_lowercase();
        let there = self.headers.iter().any(|(own, _)| *own == name);
        match HeaderAppendAction::try_from(option.append_action).unwrap_or_default() {
            HeaderAppendAction::AppendIfExistsOrAdd => self.headers.push((name, value)),
            HeaderAppendAction::AddIfAbsent if there => {}
            HeaderAppendAction::OverwriteIfExists if !there => {}
            HeaderAppendAction::AddIfAbsent
            | HeaderAppendAction::OverwriteIfExistsOrAdd
            | HeaderAppendAction::OverwriteIfExists => {
                self.headers.retain(|(own, _)| *own != name);
                self.headers.push((name, value));
            }
        }
    }

    /// Takes headers of a name away.
    pub(crate) fn remove(&mut self, name: &str) {
        self.headers.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
    }
}

/// The request after the codec and what the connection manager does to it first; or the answer that it gets there.
pub(crate) fn received(
    question: &Question,
    protocol: Protocol,
    server_name: Option<&str>,
    manager: &HttpConnectionManager,
) -> Result<Request, Outcome> {
    let mut request = Request {
        method: question.method.clone(),
        scheme: question.scheme.name(),
        authority: question.authority.clone(),
        path: question.path.clone(),
        headers: question.headers.clone(),
        body: question.body,
        protocol,
    };
    let takes_http10 = manager.http_protocol_options.as_ref().is_some_and(|options| options.accept_http_10);
    if question.http10 && protocol == Protocol::Http1 && !takes_http10 {
        return Err(Outcome::answer(
            426,
            "the listener takes no HTTP/1.0 (ClientTrafficPolicy, spec.http1.http10)",
        ));
    }
    if request.authority.is_empty() {
        return Err(Outcome::answer(400, "the request names no host"));
    }
    underscores(&mut request, protocol, manager)?;
    strip_port(&mut request, question, manager);
    // Set over whatever the client has sent, where the proxy is the first to see the connection.
    if manager.use_remote_address.is_some_and(|own| own.value) {
        request.remove("x-forwarded-proto");
        request.headers.push(("x-forwarded-proto".to_owned(), request.scheme.to_owned()));
    }
    for extension in &manager.early_header_mutation_extensions {
        let mutation =
            extension.typed_config.as_ref().and_then(|any| unpack::<HeaderMutation>(any).ok().flatten());
        for mutation in mutation.into_iter().flat_map(|mutation| mutation.mutations) {
            match mutation.action {
                Some(Action::Remove(name)) => request.remove(&name),
                Some(Action::Append(option)) => {
                    let template = option.header.as_ref().map(|header| &*header.value).unwrap_or_default();
                    let value = template
                        .replace("%PROTOCOL%", protocol.name())
                        .replace("%REQUESTED_SERVER_NAME%", server_name.unwrap_or("-"));
                    request.change(&option, value);
                }
                Some(Action::RemoveOnMatch(_)) | None => {}
            }
        }
    }
    Ok(request)
}

fn underscores(
    request: &mut Request,
    protocol: Protocol,
    manager: &HttpConnectionManager,
) -> Result<(), Outcome> {
    let action =
        manager.common_http_protocol_options.as_ref().map_or(0, |o| o.headers_with_underscores_action);
    let Some((name, _)) = request.headers.iter().find(|(name, _)| name.contains('_')) else { return Ok(()) };
    match HeadersWithUnderscoresAction::try_from(action).unwrap_or_default() {
        HeadersWithUnderscoresAction::Allow => Ok(()),
        HeadersWithUnderscoresAction::DropHeader => {
            request.headers.retain(|(name, _)| !name.contains('_'));
            Ok(())
        }
        HeadersWithUnderscoresAction::RejectRequest => {
            let why = format!("headers with an underscore in their name are refused: {name}");
            Err(if protocol == Protocol::Http1 {
                Outcome::answer(400, why)
            } else {
                Outcome::closed(format!("{why}; the stream is reset"))
            })
        }
    }
}

fn strip_port(request: &mut Request, question: &Question, manager: &HttpConnectionManager) {
    let Some((host, port)) = split_port(&request.authority) else { return };
    let strips = match &manager.strip_port_mode {
        Some(StripPortMode::StripAnyHostPort(strips)) => *strips,
        None => manager.strip_matching_host_port && port.parse() == Ok(question.port),
    };
    if strips {
        request.authority = host.to_owned();
    }
}

/// Host and port of an authority that has a port.
pub(crate) fn split_port(authority: &str) -> Option<(&str, &str)> {
    let (host, port) = authority.rsplit_once(':')?;
    (!port.is_empty()
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && (!host.contains(':') || host.ends_with(']')))
    .then_some((host, port))
}
