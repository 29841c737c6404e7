//! Matches of strings.

use envoy_api::matcher::{RegexMatcher, StringMatcher, string_matcher::MatchPattern};
use regex::Regex;

/// Whether a string is as wanted. What is of no kind that we send matches nothing.
pub(crate) fn matches(wanted: &StringMatcher, value: &str) -> bool {
    let fold = |text: &str| if wanted.ignore_case { text.to_ascii_lowercase() } else { text.to_owned() };
    let value = fold(value);
    match &wanted.match_pattern {
        Some(MatchPattern::Exact(text)) => value == fold(text),
        Some(MatchPattern::Prefix(text)) => value.starts_with(&fold(text)),
        Some(MatchPattern::Suffix(text)) => value.ends_with(&fold(text)),
        Some(MatchPattern::Contains(text)) => value.contains(&fold(text)),
        Some(MatchPattern::SafeRegex(regex)) => regex_matches(regex, &value),
        Some(MatchPattern::Custom(_)) | None => false,
    }
}

/// Whether a regular expression takes the whole of a string. One that cannot be read takes nothing: Envoy has refused
/// the route then.
pub(crate) fn regex_matches(wanted: &RegexMatcher, value: &str) -> bool {
    Regex::new(&format!(r"\A(?:{})\z", wanted.regex)).is_ok_and(|regex| regex.is_match(value))
}

/// A match in words, such as `= "x"`.
pub(crate) fn words(wanted: &StringMatcher) -> String {
    match &wanted.match_pattern {
        Some(MatchPattern::Exact(text)) => format!("= {text:?}"),
        Some(MatchPattern::Prefix(text)) => format!("begins with {text:?}"),
        Some(MatchPattern::Suffix(text)) => format!("ends with {text:?}"),
        Some(MatchPattern::Contains(text)) => format!("contains {text:?}"),
        Some(MatchPattern::SafeRegex(regex)) => format!("matches {}", regex.regex),
        Some(MatchPattern::Custom(_)) | None => "is as an extension wants it".to_owned(),
    }
}
