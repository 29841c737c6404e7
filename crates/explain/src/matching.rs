//! Whether a route takes a request.

use envoy_api::{
    matcher::string_matcher::MatchPattern,
    route::{
        HeaderMatcher, RouteMatch, header_matcher::HeaderMatchSpecifier,
        query_parameter_matcher::QueryParameterMatchSpecifier, route_match::PathSpecifier,
    },
};

use crate::{request::Request, values};

/// `Err` with what the request lacks.
pub(crate) fn judge(wanted: Option<&RouteMatch>, request: &Request) -> Result<(), String> {
    let Some(wanted) = wanted else { return Err("the route has no match".to_owned()) };
    path(wanted, request)?;
    for header in &wanted.headers {
        judge_header(header, request)?;
    }
    for wanted in &wanted.query_parameters {
        let value = request.query(&wanted.name);
        let fits = match &wanted.query_parameter_match_specifier {
            Some(QueryParameterMatchSpecifier::StringMatch(wanted)) => {
                value.is_some_and(|value| values::matches(wanted, value))
            }
            Some(QueryParameterMatchSpecifier::PresentMatch(present)) => value.is_some() == *present,
            None => value.is_some(),
        };
        if !fits {
            return Err(format!("query parameter {} is {}", wanted.name, shown(value)));
        }
    }
    for wanted in &wanted.cookies {
        let value = request.cookie(&wanted.name);
        let fits = wanted
            .string_match
            .as_ref()
            .is_none_or(|wanted| value.as_deref().is_some_and(|value| values::matches(wanted, value)));
        if fits == wanted.invert_match {
            return Err(format!("cookie {} is {}", wanted.name, shown(value.as_deref())));
        }
    }
    if wanted.grpc.is_some()
        && !request.header("content-type").is_some_and(|kind| kind.starts_with("application/grpc"))
    {
        return Err("the request is no gRPC call".to_owned());
    }
    Ok(())
}

fn shown(value: Option<&str>) -> String {
    value.map_or_else(|| "absent".to_owned(), |value| format!("{value:?}"))
}

fn path(wanted: &RouteMatch, request: &Request) -> Result<(), String> {
    let exact_case = wanted.case_sensitive.is_none_or(|sensitive| sensitive.value);
    let fold = |text: &str| if exact_case { text.to_owned() } else { text.to_ascii_lowercase() };
    let path = fold(request.bare_path());
    let fits = match &wanted.path_specifier {
        Some(PathSpecifier::Prefix(prefix)) => path.starts_with(&fold(prefix)),
        Some(PathSpecifier::Path(exact)) => path == fold(exact),
        Some(PathSpecifier::PathSeparatedPrefix(prefix)) => {
            path.strip_prefix(&fold(prefix)).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        Some(PathSpecifier::SafeRegex(regex)) => values::regex_matches(regex, &path),
        Some(PathSpecifier::ConnectMatcher(_)) => request.method == "CONNECT",
        Some(PathSpecifier::PathMatchPolicy(_)) | None => false,
    };
    if fits { Ok(()) } else { Err(format!("path is {:?}", request.bare_path())) }
}

fn judge_header(wanted: &HeaderMatcher, request: &Request) -> Result<(), String> {
    let name = wanted.name.to_ascii_lowercase();
    let value = request.header(&name).or_else(|| wanted.treat_missing_header_as_empty.then(String::new));
    let fits = match &wanted.header_match_specifier {
        Some(HeaderMatchSpecifier::StringMatch(wanted)) => {
            value.as_deref().map(|value| values::matches(wanted, value))
        }
        Some(HeaderMatchSpecifier::PresentMatch(present)) => Some(value.is_some() == *present),
        Some(HeaderMatchSpecifier::RangeMatch(range)) => value.as_deref().map(|value| {
            value.parse::<i64>().is_ok_and(|number| range.start <= number && number < range.end)
        }),
        None => Some(value.is_some()),
        // Deprecated forms, which nobody sends.
        Some(_) => Some(false),
    };
    // A header that is absent is not as wanted, whether or not the match is inverted.
    if fits.is_some_and(|fits| fits != wanted.invert_match) {
        return Ok(());
    }
    Err(match &*name {
        ":method" => format!("method is {}", request.method),
        ":path" => format!("path is {:?}", request.bare_path()),
        _ => format!("header {} is {}", wanted.name, shown(value.as_deref())),
    })
}

/// What a match asks for, in words.
pub(crate) fn words(wanted: &RouteMatch) -> String {
    let mut parts = vec![match &wanted.path_specifier {
        Some(PathSpecifier::Prefix(prefix)) if prefix == "/" => "any path".to_owned(),
        Some(PathSpecifier::Prefix(prefix)) => format!("path begins with {prefix:?}"),
        Some(PathSpecifier::Path(path)) => format!("path = {path:?}"),
        Some(PathSpecifier::PathSeparatedPrefix(prefix)) => format!("path prefix {prefix:?}"),
        Some(PathSpecifier::SafeRegex(regex)) => format!("path matches {}", regex.regex),
        Some(PathSpecifier::ConnectMatcher(_)) => "CONNECT".to_owned(),
        Some(PathSpecifier::PathMatchPolicy(_)) | None => "no path".to_owned(),
    }];
    for header in &wanted.headers {
        let value = match &header.header_match_specifier {
            Some(HeaderMatchSpecifier::StringMatch(value)) => {
                if ir::secret::is_credential_header(&header.name) {
                    format!("= {}", ir::secret::REDACTED)
                } else {
                    values::words(value)
                }
            }
            _ => "is there".to_owned(),
        };
        let not = if header.invert_match { "not " } else { "" };
        parts.push(match &*header.name {
            ":method" => format!("method {not}{value}"),
            ":path" => format!("path {not}{value}"),
            name => format!("header {name} {not}{value}"),
        });
    }
    for parameter in &wanted.query_parameters {
        let value = match &parameter.query_parameter_match_specifier {
            Some(QueryParameterMatchSpecifier::StringMatch(value)) => values::words(value),
            _ => "is there".to_owned(),
        };
        parts.push(format!("query {} {value}", parameter.name));
    }
    for cookie in &wanted.cookies {
        parts.push(format!(
            "cookie {} {}",
            cookie.name,
            cookie.string_match.as_ref().map(values::words).unwrap_or_default()
        ));
    }
    parts.join(", ")
}

/// True for a match of the end of the path.
pub(crate) fn path_suffix(header: &HeaderMatcher) -> Option<usize> {
    match (&*header.name, &header.header_match_specifier) {
        (":path", Some(HeaderMatchSpecifier::StringMatch(value))) => match &value.match_pattern {
            Some(MatchPattern::Suffix(suffix)) => Some(suffix.len()),
            _ => None,
        },
        _ => None,
    }
}
