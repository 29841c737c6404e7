//! Responses that take the place of others.

use std::{collections::BTreeMap, sync::Arc};

use api::{
    backendtrafficpolicy::{
        CustomRedirect, CustomResponse, CustomResponseBody, ResponseOverride as Spec, ResponseOverrideSource,
        ResponseValueType, StatusCodeMatch, StatusCodeValueType,
    },
    envoyproxy::StringMatchType,
    httproute::RedirectScheme,
};
use ir::{
    ObjectRef,
    route::{HeaderValue, StringMatch, ValueMatch},
    traffic::{Replacement, ResponseOverride, ResponseOverrides, StatusCodes},
};
use store::{
    ObjectId,
    facts::{ConfigMap, Policy},
};

use super::{Findings, Traffic};
use crate::{
    Reader, expression,
    policy::{Source, Version},
};

const FIELD: &str = "responseOverride";
/// Key of a ConfigMap whose value is a body.
const BODY_KEY: &str = "response.body";

/// Reads responses; `None` when there are none, and when something is wrong with them.
pub(super) fn read(
    specs: &[Spec],
    source: &Source,
    reader: &mut Reader<'_>,
    findings: &mut Findings,
) -> Option<Arc<ResponseOverrides>> {
    if specs.is_empty() {
        return None;
    }
    let policy = reader.object(source.policy().meta.id);
    let owner = source.owner(FIELD);
    let mut rules = Vec::with_capacity(specs.len());
    for (i, spec) in specs.iter().enumerate() {
        match rule(spec, owner, reader) {
            Ok(rule) => rules.push(rule),
            Err((field, message)) => findings.add(&format!("spec.{FIELD}[{i}].{field}"), message),
        }
    }
    let name = format!("{}/{}/{}", policy.kind.name().to_lowercase(), policy.namespace, policy.name);
    Some(Arc::new(ResponseOverrides { policy: name.into(), rules: rules.into() }))
}

/// Gives each form of a policy's responses a name of its own: merged over the policies of several listeners, a policy may
/// have as many, and the filters of all may stand on one port, where a route turns on its own by name. The first form, by
/// the names of the policies that it comes from, keeps the policy's name, as it has where there is only one.
pub(super) fn tell_apart(versions: &mut BTreeMap<Box<[ObjectId]>, Version>, reader: &Reader<'_>) {
    let mut chains: Vec<Box<[ObjectId]>> = versions.keys().cloned().collect();
    chains.sort_by_cached_key(|chain| chain.iter().map(|id| reader.object(*id)).collect::<Vec<_>>());
    let mut forms: Vec<Arc<ResponseOverrides>> = Vec::new();
    for chain in chains {
        let Some(version) = versions.get_mut(&chain) else { continue };
        let Some(traffic) = version.get::<Traffic>() else { continue };
        let Some(responses) = &traffic.route.responses else { continue };
        let form = match (forms.iter().find(|form| form.rules == responses.rules), chain.first()) {
            (Some(form), _) => form.clone(),
            (None, Some(parent)) if !forms.is_empty() => {
                let ObjectRef { namespace, name, .. } = reader.object(*parent);
                let policy = format!("{}/{namespace}/{name}", responses.policy).into();
                Arc::new(ResponseOverrides { policy, rules: responses.rules.clone() })
            }
            (None, _) => responses.clone(),
        };
        if form.policy != responses.policy {
            let mut traffic = traffic.clone();
            traffic.route.responses = Some(form.clone());
            version.settings = Arc::new(traffic);
        }
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
}

/// What is wrong: a field of the rule, and a sentence.
type Wrong = (String, String);

fn rule(spec: &Spec, owner: &Policy, reader: &mut Reader<'_>) -> Result<ResponseOverride, Wrong> {
    let mut headers = Vec::new();
    for (i, header) in spec.matched.response_headers.iter().flatten().enumerate() {
        let text = || Arc::from(header.value.value.as_str());
        let value = match header.value.type_ {
            StringMatchType::Exact => StringMatch::Exact(text()),
            StringMatchType::Prefix => StringMatch::Prefix(text()),
            StringMatchType::Suffix => StringMatch::Suffix(text()),
            StringMatchType::RegularExpression => {
                expression::check(&header.value.value)
                    .map_err(|message| (format!("match.responseHeaders[{i}].value"), message))?;
                StringMatch::Regex(text())
            }
        };
        headers.push(ValueMatch { name: header.name.as_str().into(), value });
    }
    let replacement = match (&spec.redirect, &spec.response) {
        (Some(redirect), _) => self::redirect(redirect),
        (None, Some(response)) => self::response(response, owner, reader)?,
        (None, None) => return Err(("response".to_owned(), "response or redirect must be set".to_owned())),
    };
    Ok(ResponseOverride {
        codes: spec.matched.status_codes.iter().flatten().filter_map(codes).collect(),
        headers: headers.into(),
        local: match spec.source {
            Some(ResponseOverrideSource::Local) => Some(true),
            Some(ResponseOverrideSource::Backend) => Some(false),
            Some(ResponseOverrideSource::All) | None => None,
        },
        replacement,
    })
}

/// Status codes; `None` for what the schema would have refused.
fn codes(spec: &StatusCodeMatch) -> Option<StatusCodes> {
    match spec.type_ {
        StatusCodeValueType::Value => spec.value.map(StatusCodes::One),
        StatusCodeValueType::Range => {
            spec.range.as_ref().map(|range| StatusCodes::Range(range.start, range.end))
        }
    }
}

fn redirect(spec: &CustomRedirect) -> Replacement {
    Replacement::Redirect {
        scheme: spec.scheme.map(|scheme| match scheme {
            RedirectScheme::Http => "http".into(),
            RedirectScheme::Https => "https".into(),
        }),
        hostname: spec.hostname.as_ref().map(|hostname| hostname.as_str().into()),
        path: (spec.path.as_ref()).and_then(|path| path.replace_full_path.as_deref()).map(Into::into),
        port: spec.port.and_then(|port| u16::try_from(port).ok()),
        status: u32::try_from(spec.status_code).unwrap_or_default(),
    }
}

fn response(spec: &CustomResponse, owner: &Policy, reader: &mut Reader<'_>) -> Result<Replacement, Wrong> {
    let body = match &spec.body {
        Some(body) => self::body(body, owner, reader)?,
        None => "".into(),
    };
    let header = spec.header.as_ref();
    let added = header.into_iter().flat_map(|header| &header.add).map(|header| (header, true));
    let set = header.into_iter().flat_map(|header| &header.set).map(|header| (header, false));
    Ok(Replacement::Response {
        status: spec.status_code.and_then(|status| u32::try_from(status).ok()),
        content_type: spec.content_type.as_deref().filter(|text| !text.is_empty()).map(Into::into),
        body,
        headers: (added.chain(set))
            .map(|(header, append)| HeaderValue {
                name: header.name.as_str().into(),
                value: header.value.as_str().into(),
                append,
            })
            .collect(),
    })
}

fn body(spec: &CustomResponseBody, owner: &Policy, reader: &mut Reader<'_>) -> Result<Arc<str>, Wrong> {
    let reference = match spec.type_ {
        ResponseValueType::Inline => return Ok(spec.inline.as_deref().unwrap_or_default().into()),
        ResponseValueType::ValueRef => spec.value_ref.as_ref(),
    };
    let wrong = |message| ("response.body.valueRef".to_owned(), message);
    let name = reference.map(|reference| reference.name.as_str()).unwrap_or_default();
    let target = owner.references.iter().find(|target| *reader.object(target.id).name == *name);
    let map = target.and_then(|target| reader.config_map(target.id));
    let Some(map) = map else {
        let namespace = reader.name(owner.meta.namespace);
        return Err(wrong(format!("ConfigMap {namespace}/{name} does not exist")));
    };
    text(map).ok_or_else(|| {
        wrong(format!("{} has neither the key {BODY_KEY} nor another one", reader.object(map.meta.id)))
    })
}

/// The text of a body: that of its own key, else the first that there is.
fn text(map: &ConfigMap) -> Option<Arc<str>> {
    map.data
        .get(BODY_KEY)
        .or_else(|| map.data.values().next())
        .or_else(|| map.binary.values().next())
        .cloned()
}
