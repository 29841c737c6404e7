use std::borrow::Cow;

use crate::encode::command::escape;

#[test]
fn a_percent_sign_is_doubled() {
    for (value, expected) in [
        ("100%", "100%%"),
        ("%", "%%"),
        ("50% off", "50%% off"),
        ("%20a%2F", "%%20a%%2F"),
        ("%%", "%%"),
        ("%%%", "%%%%"),
        ("ä%ö", "ä%%ö"),
        // Unknown, or not as Envoy wants it.
        ("%FOO%", "%%FOO%%"),
        ("%REQ%", "%%REQ%%"),
        ("%PROTOCOL(a)%", "%%PROTOCOL(a)%%"),
        ("%PROTOCOL:3%", "%%PROTOCOL:3%%"),
        ("%REQ(a", "%%REQ(a"),
        ("%REQ(a)", "%%REQ(a)"),
        ("%req(a)%", "%%req(a)%%"),
    ] {
        assert_eq!(escape(value), expected, "{value}");
    }
}

#[test]
fn operators_work() {
    for value in [
        "%PROTOCOL%",
        "%REQ(X-REQUEST-ID)%",
        "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH):10%",
        "%START_TIME%",
        "%START_TIME(%s)%",
        "%TLS_JA3_FINGERPRINT%",
        "%DYNAMIC_METADATA(io.example:key)%",
        "a%PROTOCOL%b%DURATION%c",
    ] {
        assert_eq!(escape(value), value);
    }
    assert_eq!(escape("5% of %PROTOCOL%%"), "5%% of %PROTOCOL%%%");
}

#[test]
fn plain_values_are_not_copied() {
    assert!(matches!(escape("no-cache, max-age=0"), Cow::Borrowed(_)));
}
