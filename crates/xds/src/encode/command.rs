//! Command operators in header values.

use std::borrow::Cow;

/// A header value with every `%` that starts no command operator doubled, which is how Envoy takes it literally.
pub(super) fn escape(value: &str) -> Cow<'_, str> {
    if !value.contains('%') {
        return Cow::Borrowed(value);
    }
    Cow::Owned(value.replace('%', "%%"))
}
