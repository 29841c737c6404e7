//! The way of a request as text.

use explain::{Backend, Change, Explanation, Lost, Outcome, Possible, Setting, Socket, Upstream};

/// Endpoints shown for a backend; the rest is counted.
const MOST_ENDPOINTS: usize = 5;

/// Width of the first column.
const COLUMN: usize = 14;

/// The whole answer: one line for each step, then what may happen, then what did not.
pub(crate) fn text(told: &Explanation) -> String {
    let mut out = format!("{}\n", told.request);
    let mut step = |name: &str, text: String| out.push_str(&format!("{name:COLUMN$}{text}\n"));
    step("gateway", told.gateway.clone());
    if let Some(socket) = &told.socket {
        let listeners = socket.listeners.join(", ");
        let Socket { address, transport, gateway_port, .. } = socket;
        step("socket", format!("{transport} {address} for port {gateway_port}: {listeners}"));
    }
    if let Some(chain) = &told.chain {
        let speaks = match &*chain.protocol {
            "" => String::new(),
            protocol => format!(" speaks {protocol}"),
        };
        let mut text = format!("{}{speaks}; {}", chain.name, chain.chosen);
        for (what, values) in [("certificates", &chain.certificates), ("ALPN", &chain.alpn)] {
            if !values.is_empty() {
                text.push_str(&format!("; {what} {}", values.join(", ")));
            }
        }
        step("filter chain", text);
        chain.settings.iter().for_each(|setting| step("", set(setting)));
    }
    if let Some(host) = &told.virtual_host {
        let mut text = format!("{} of {}", host.domain, host.listener);
        if !host.broader.is_empty() {
            text.push_str(&format!("; goes before {}", host.broader.join(", ")));
        }
        step("virtual host", text);
    }
    if let Some(route) = &told.route {
        let rule = route.rule.as_ref().map(|rule| format!(" ({rule})")).unwrap_or_default();
        step("route", format!("{} {}{rule}: {}", route.object, route.field, route.wants));
    }
    for filter in &told.filters {
        let moved = filter.moved.as_ref().map(|moved| format!("; put {} [{}]", moved.value, source(moved)));
        step("filter", format!("{}: {}{}", filter.name, filter.does, moved.unwrap_or_default()));
    }
    for setting in &told.settings {
        step("setting", set(setting));
    }
    for policy in &told.policies {
        let over: String = policy.merged_over.iter().map(|over| format!(" merged over {over}")).collect();
        step("policy", format!("{}{over}", policy.object));
        for setting in &policy.settings {
            step("", format!("{} = {} [{}]", setting.field, setting.value, setting.object));
        }
        for invalid in &policy.invalid {
            step("", format!("cannot be applied: {invalid}"));
        }
    }
    for possible in &told.outcomes {
        for (index, line) in outcome(possible).into_iter().enumerate() {
            step(if index == 0 { "result" } else { "" }, line);
        }
    }
    for mirror in &told.mirrors {
        let mut lines = upstream(&mirror.to).into_iter();
        let first = lines.next().unwrap_or_default();
        let asked = format!("{} {}", mirror.object, mirror.field);
        step("mirror", format!("{} a copy to {first} [{asked}]", percent(mirror.to.percent)));
        lines.for_each(|line| step("", line));
    }
    for lost in &told.lost {
        step("lost", not_chosen(lost));
    }
    for missed in &told.missed {
        step("not matched", not_chosen(missed));
    }
    for trouble in &told.troubles {
        let field = if trouble.field.is_empty() { String::new() } else { format!(" {}", trouble.field) };
        step("problem", format!("{}{field}: {}", trouble.object, trouble.message));
    }
    for note in &told.notes {
        step("note", note.clone());
    }
    out
}

/// A setting with who set it.
fn set(setting: &Setting) -> String {
    format!("{}: {} [{}]", setting.name, setting.value, source(setting))
}

fn source(setting: &Setting) -> String {
    if setting.field.is_empty() {
        setting.object.clone()
    } else {
        format!("{} {}", setting.object, setting.field)
    }
}

fn not_chosen(lost: &Lost) -> String {
    format!("{} {} ({}): {}", lost.route.object, lost.route.field, lost.route.wants, lost.why)
}

fn outcome(possible: &Possible) -> Vec<String> {
    let share = percent(possible.percent);
    match &possible.outcome {
        Outcome::Forwarded { request, headers, to } => {
            let mut lines = vec![format!("{share} forwarded as {request}")];
            lines.extend(headers.iter().map(|header| format!("    {header}")));
            let mut to = upstream(to).into_iter();
            lines.extend(to.next().map(|first| format!("  to {first}")));
            lines.extend(to);
            lines
        }
        Outcome::Answered { status, grpc_status, why } => {
            let of_grpc = grpc_status.map(|status| format!(" (to gRPC: 200 with grpc-status {status})"));
            vec![format!("{share} answered with {status}{}: {why}", of_grpc.unwrap_or_default())]
        }
        Outcome::Redirected { status, location, why } => {
            vec![format!("{share} redirected with {status} to {location}: {why}")]
        }
        Outcome::Closed { why } => vec![format!("{share} connection fails: {why}")],
    }
}

fn upstream(upstream: &Upstream) -> Vec<String> {
    let mut lines = vec![format!("cluster {} ({})", upstream.cluster, upstream.discovery)];
    lines.extend(upstream.settings.iter().map(|setting| format!("    {}", set(setting))));
    for own in &upstream.backends {
        lines.push(backend(own));
        lines.extend(own.tls.iter().map(|setting| format!("      {}", set(setting))));
    }
    lines
}

fn backend(backend: &Backend) -> String {
    let shown = backend.endpoints.iter().take(MOST_ENDPOINTS).map(|endpoint| {
        let draining = if endpoint.draining { " (draining)" } else { "" };
        format!("{}{draining}", endpoint.address)
    });
    let mut endpoints = shown.collect::<Vec<_>>().join(", ");
    let more = backend.endpoints.len().saturating_sub(MOST_ENDPOINTS);
    if more > 0 {
        endpoints.push_str(&format!(" and {more} more"));
    }
    if backend.endpoints.is_empty() {
        "no endpoints".clone_into(&mut endpoints);
    }
    let priority =
        if backend.priority == 0 { String::new() } else { format!(" priority {}", backend.priority) };
    format!("    {} {}{priority}: {endpoints}", percent(backend.percent), backend.object)
}

/// A share with at most two digits behind the point.
fn percent(share: f64) -> String {
    let text = format!("{share:.2}");
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Changes below the place where they are, `-` before what was and `+` before what is.
pub(crate) fn changes(changes: &[Change]) -> String {
    let mut out = String::new();
    let mut last = String::new();
    for change in changes {
        let host = if change.host.is_empty() { String::new() } else { format!(" host {}", change.host) };
        let place = format!("Gateway {} {}{host}", change.gateway, change.listener);
        if place != last {
            out.push_str(&format!("{place}\n"));
            last = place;
        }
        if !change.requests.is_empty() {
            out.push_str(&format!("  {}\n", change.requests));
        }
        for (mark, does) in [('-', &change.old), ('+', &change.new)] {
            if let Some(does) = does {
                out.push_str(&format!("    {mark} {does}\n"));
            }
        }
    }
    out
}
