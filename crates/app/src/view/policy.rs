//! The effective policy as text.

use explain::{Other, Place, PolicyExplanation};

/// The policy, then each place with what holds there, then what its status says.
pub(crate) fn text(told: &PolicyExplanation) -> String {
    let mut out = format!("{}\n", told.policy);
    for place in &told.places {
        at(place, &mut out);
    }
    if told.places.is_empty() && told.conditions.is_empty() {
        out.push_str("acts nowhere: none of its targets is there, or ours\n");
    }
    for said in &told.conditions {
        let holds = if said.holds { "True" } else { "False" };
        out.push_str(&format!(
            "status of {}: {}={holds} {}: {}\n",
            said.ancestor, said.kind, said.reason, said.message
        ));
    }
    out
}

fn at(place: &Place, out: &mut String) {
    let within = if place.target == place.at { String::new() } else { format!(" on {}", place.at) };
    out.push_str(&format!("for {}{within}\n", place.target));
    let mut line = |text: String| out.push_str(&format!("    {text}\n"));
    let other = |other: &Other| format!("{}, which is for {}", other.policy, other.target);
    if let Some(why) = &place.not_applied {
        line(format!("not applied: {why}"));
    }
    if !place.merged_over.is_empty() {
        line(format!("merged over {}", place.merged_over.join(" merged over ")));
    }
    if let Some(broader) = &place.replaces {
        line(format!("overrides {}", other(broader)));
    }
    for narrower in &place.merged {
        line(format!("has merged over it {}", other(narrower)));
    }
    for narrower in &place.replaced {
        line(format!("overridden by {}", other(narrower)));
    }
    for setting in &place.settings {
        line(format!("{} = {} [{}]", setting.field, setting.value, setting.object));
    }
    for warning in &place.warnings {
        line(format!("warning: {warning}"));
    }
}
