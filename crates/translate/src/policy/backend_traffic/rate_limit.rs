//! Limits of requests in a time.

use std::{net::IpAddr, sync::Arc};

use api::{
    backendtrafficpolicy::{
        LocalRateLimit as LocalSpec, RateLimitCost, RateLimitCostFrom, RateLimitMatchType,
        RateLimitPathMatch, RateLimitRule as RuleSpec, RateLimitSourceMatch, RateLimitSpec, RateLimitType,
        RateLimitUnit, RateLimitValue, SourceMatchType, XRateLimitHeadersOption,
    },
    httproute::PathMatchType,
};
use ir::{
    route::{StringMatch, ValueMatch},
    traffic::{Cost, LocalRateLimit, Quota, RateLimitRule, SourceSelector, ValueSelector},
};

use super::Findings;
use crate::expression;

const FIELD: &str = "spec.rateLimit";

/// Reads limits; `None` when there are none that proxies keep, and when something is wrong with them.
pub(super) fn read(spec: &RateLimitSpec, findings: &mut Findings) -> Option<LocalRateLimit> {
    // The older `type` says which half counts, and that it must be there.
    let (local, global) = match spec.type_ {
        None => (spec.local.as_ref(), spec.global.is_some()),
        Some(RateLimitType::Global) => (None, true),
        Some(RateLimitType::Local) => (spec.local.as_ref(), false),
    };
    if spec.type_ == Some(RateLimitType::Local) && local.is_none() {
        findings.add("spec.rateLimit.local", "must be set for type Local");
    }
    if global {
        findings.add(
            "spec.rateLimit.global",
            "needs the rate-limit service, which Ferrogate does not run yet; use rateLimit.local",
        );
    }
    let local = local?;
    match limit(local) {
        Ok(limit) => Some(limit),
        Err((field, message)) => {
            findings.add(&format!("{FIELD}.local.{field}"), message);
            None
        }
    }
}

/// What is wrong: a field below `local`, and a sentence.
type Wrong = (String, String);

fn limit(spec: &LocalSpec) -> Result<LocalRateLimit, Wrong> {
    let mut for_all = (spec.rules.iter().enumerate()).filter(|(_, rule)| rule.client_selectors.is_empty());
    let default = for_all.next().map(|(_, rule)| rule);
    if let Some((i, _)) = for_all.next() {
        let message = "only one rule may be for all requests; give the others clientSelectors";
        return Err((format!("rules[{i}]"), message.to_owned()));
    }
    let everything = Quota { requests: u32::MAX, seconds: 1 };
    let quota = default.map_or(everything, |rule| self::quota(&rule.limit));
    let mut rules = Vec::with_capacity(spec.rules.len());
    for (i, rule) in spec.rules.iter().enumerate() {
        // Envoy fills all buckets in the rhythm of the one for all requests.
        if !self::quota(&rule.limit).seconds.is_multiple_of(quota.seconds) {
            let message = "must be a multiple of the unit of the rule that is for all requests";
            return Err((format!("rules[{i}].limit.unit"), message.to_owned()));
        }
        if !rule.client_selectors.is_empty() {
            rules
                .push(self::rule(rule).map_err(|(field, message)| (format!("rules[{i}].{field}"), message))?);
        }
    }
    Ok(LocalRateLimit {
        default: quota,
        tells: default.and_then(|rule| rule.x_rate_limit_headers).is_none_or(tells),
        rules: rules.into(),
    })
}

fn tells(option: XRateLimitHeadersOption) -> bool {
    option == XRateLimitHeadersOption::DraftVersion03
}

fn quota(spec: &RateLimitValue) -> Quota {
    const DAY: u64 = 24 * 60 * 60;
    let seconds = match spec.unit {
        RateLimitUnit::Second => 1,
        RateLimitUnit::Minute => 60,
        RateLimitUnit::Hour => 60 * 60,
        RateLimitUnit::Day => DAY,
        RateLimitUnit::Week => 7 * DAY,
        RateLimitUnit::Month => 30 * DAY,
        RateLimitUnit::Year => 365 * DAY,
    };
    Quota { requests: spec.requests, seconds }
}

/// One rule. All selectors must hold, so their parts are taken together; of paths and addresses, of which a request has
/// one each, the last counts.
fn rule(spec: &RuleSpec) -> Result<RateLimitRule, Wrong> {
    let mut rule = RateLimitRule {
        quota: quota(&spec.limit),
        headers: [].into(),
        methods: [].into(),
        path: None,
        source: None,
        query: [].into(),
        cost: spec.cost.as_ref().and_then(cost),
        shadow: spec.shadow_mode.unwrap_or(false),
        tells: spec.x_rate_limit_headers.map(tells),
    };
    let (mut headers, mut methods, mut query) = (Vec::new(), Vec::new(), Vec::new());
    for (i, selector) in spec.client_selectors.iter().enumerate() {
        let at = |field: String, message: String| (format!("clientSelectors[{i}].{field}"), message);
        for (k, header) in selector.headers.iter().flatten().enumerate() {
            let value = value(&header.name, header.type_, header.value.as_deref(), header.invert);
            headers.push(value.map_err(|message| at(format!("headers[{k}]"), message))?);
        }
        let each = selector.methods.iter().flatten();
        methods.extend(each.map(|method| (Arc::from(method.value.as_str()), method.invert)));
        if let Some(wanted) = &selector.path {
            rule.path = Some(path(wanted).map_err(|message| at("path".to_owned(), message))?);
        }
        if let Some(wanted) = &selector.source_cidr {
            rule.source = Some(source(wanted).map_err(|message| at("sourceCIDR".to_owned(), message))?);
        }
        for (k, parameter) in selector.query_params.iter().flatten().enumerate() {
            let value = value(&parameter.name, parameter.type_, parameter.value.as_deref(), parameter.invert);
            query.push(value.map_err(|message| at(format!("queryParams[{k}]"), message))?);
        }
    }
    Ok(RateLimitRule { headers: headers.into(), methods: methods.into(), query: query.into(), ..rule })
}

fn value(
    name: &str,
    kind: RateLimitMatchType,
    value: Option<&str>,
    inverted: bool,
) -> Result<ValueSelector, String> {
    let given = || value.ok_or_else(|| "needs a value".to_owned());
    let value = match kind {
        RateLimitMatchType::Distinct if inverted => return Err("Distinct does not go with invert".to_owned()),
        RateLimitMatchType::Distinct if value.is_some() => return Err("Distinct takes no value".to_owned()),
        RateLimitMatchType::Distinct => return Ok(ValueSelector::Each(name.into())),
        RateLimitMatchType::Exact => StringMatch::Exact(given()?.into()),
        RateLimitMatchType::RegularExpression => {
            let regex = given()?;
            expression::check(regex)?;
            StringMatch::Regex(regex.into())
        }
    };
    Ok(ValueSelector::Matching { wanted: ValueMatch { name: name.into(), value }, inverted })
}

/// The filter sees the path with its query and knows no segments, so a prefix becomes an expression.
fn path(spec: &RateLimitPathMatch) -> Result<(StringMatch, bool), String> {
    let value = match spec.type_ {
        PathMatchType::Exact => StringMatch::Exact(spec.value.as_str().into()),
        PathMatchType::PathPrefix if spec.value == "/" => StringMatch::Prefix("/".into()),
        PathMatchType::PathPrefix => {
            let prefix = expression::quoted(spec.value.strip_suffix('/').unwrap_or(&spec.value));
            StringMatch::Regex(format!(r"^{prefix}(/.*|\?.*|#.*|;.*|$)").into())
        }
        PathMatchType::RegularExpression => {
            expression::check(&spec.value)?;
            StringMatch::Regex(spec.value.as_str().into())
        }
    };
    Ok((value, spec.invert))
}

fn source(spec: &RateLimitSourceMatch) -> Result<SourceSelector, String> {
    let (network, length) = range(&spec.value)
        .ok_or_else(|| format!("{:?} must be a range such as 192.168.0.0/24", spec.value))?;
    Ok(SourceSelector {
        network,
        length,
        inverted: spec.invert,
        each: spec.type_ == SourceMatchType::Distinct,
    })
}

/// The first address of a range, and its length in bits.
fn range(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    // The standard library takes a sign.
    let length =
        Some(length).filter(|length| length.bytes().all(|b| b.is_ascii_digit()))?.parse::<u8>().ok()?;
    match address.parse::<IpAddr>().ok()? {
        IpAddr::V4(address) if length <= 32 => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            Some((IpAddr::V4((address.to_bits() & mask).into()), length))
        }
        IpAddr::V6(address) if length <= 128 => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            Some((IpAddr::V6((address.to_bits() & mask).into()), length))
        }
        _ => None,
    }
}

/// What a request counts for. What a response counts for is not for limits that proxies keep by themselves.
fn cost(spec: &RateLimitCost) -> Option<Cost> {
    let request = spec.request.as_ref()?;
    match request.from {
        RateLimitCostFrom::Number => request.number.map(Cost::Number),
        RateLimitCostFrom::Metadata => request.metadata.as_ref().map(|metadata| Cost::Metadata {
            namespace: metadata.namespace.as_str().into(),
            key: metadata.key.as_str().into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_are_cut_to_their_length() {
        let text = |text: &str| range(text).map(|(network, length)| format!("{network}/{length}"));
        assert_eq!(text("192.168.1.7/16").as_deref(), Some("192.168.0.0/16"));
        assert_eq!(text("10.0.0.1/32").as_deref(), Some("10.0.0.1/32"));
        assert_eq!(text("1.2.3.4/0").as_deref(), Some("0.0.0.0/0"));
        assert_eq!(text("2001:db8::1/32").as_deref(), Some("2001:db8::/32"));
        assert_eq!(text("::1/0").as_deref(), Some("::/0"));
        for wrong in ["10.0.0.1", "10.0.0.1/33", "::/129", "10.0.0/8", "10.0.0.1/+8", "10.0.0.1/", "a/8"] {
            assert_eq!(text(wrong), None, "{wrong}");
        }
    }
}
