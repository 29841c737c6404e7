//! Conditions, as every Gateway API status carries them.

use std::{borrow::Cow, fmt};

use serde::Serialize;

/// `status` of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Not known yet.
    Unknown,
}

impl fmt::Display for ConditionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConditionStatus::True => "True",
            ConditionStatus::False => "False",
            ConditionStatus::Unknown => "Unknown",
        })
    }
}

/// One condition. Its transition time is added by whoever publishes it, so that equal conditions are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Condition {
    /// Type, such as `Accepted`.
    pub kind: &'static str,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Reason in CamelCase; several reasons of one condition are joined with commas, as Envoy Gateway does.
    pub reason: Cow<'static, str>,
    /// A sentence for people.
    pub message: String,
    /// `metadata.generation` of the object that was judged.
    pub observed_generation: i64,
}
