//! Commands of `curl` as people and browsers write them.

use super::*;

fn header<'a>(question: &'a Question, name: &str) -> Option<&'a str> {
    question.headers.iter().find(|(own, _)| own == name).map(|(_, value)| &**value)
}

#[test]
fn commands_are_understood() {
    let command = "curl -sS -XPUT 'https://a.example.com:8443/x?y=1' \\\n  -H 'X-A: b c' --data-raw $'{\\'a\\': 1}' \
                   --resolve a.example.com:8443:127.0.0.1 -k --http1.1 -u me:pw";
    let question = parse_curl(command).unwrap();
    assert_eq!(question.to_string(), "PUT https://a.example.com:8443/x?y=1");
    assert_eq!((question.port, question.protocol), (8443, Some(Protocol::Http1)));
    assert_eq!(question.server_name.as_deref(), Some("a.example.com"));
    assert_eq!(header(&question, "x-a"), Some("b c"));
    assert_eq!(header(&question, "authorization"), Some("Basic bWU6cHc="));
    assert_eq!(header(&question, "content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!((question.body, &*question.notes), (8, &[][..]));
    let question = parse_curl("curl -G -d a=1 --data-urlencode 'b=x y' http://[::1]/x -H Host:shop").unwrap();
    assert_eq!(question.to_string(), "GET http://shop/x?a=1&b=x%20y");
    assert_eq!((question.server_name.as_deref(), question.body), (None, 0));
    for (bad, why) in [
        ("wget x", "no curl command"),
        ("curl -v", "no URL"),
        ("curl ftp://x/", "no URL of http or https"),
        ("curl http://$GATEWAY/cart", "a variable of the shell as its host"),
        ("curl \"http://${HOST}:80/\"", "a variable of the shell as its host"),
    ] {
        let refused = parse_curl(bad).unwrap_err().to_string();
        assert!(refused.contains(why), "{bad}: {refused}");
    }
}

#[test]
fn commands_that_browsers_copy_are_understood() {
    let chrome = "curl 'https://shop.example.com/api?q=a%20b' \\\n  -H 'accept: */*' \\\n  -b 'session=abc; theme=dark' \
                  \\\n  -H 'sec-ch-ua: \"Chromium\";v=\"130\"' \\\n  --data-raw $'{\"name\":\"caf\\u00e9\\u0021\"}' \\\n  \
                  --compressed";
    let question = parse_curl(chrome).unwrap();
    assert_eq!(question.to_string(), "POST https://shop.example.com/api?q=a%20b");
    assert_eq!(header(&question, "cookie"), Some("session=abc; theme=dark"));
    assert_eq!(header(&question, "sec-ch-ua"), Some("\"Chromium\";v=\"130\""));
    assert_eq!(header(&question, "accept-encoding"), Some("deflate, gzip, br, zstd"));
    assert_eq!((question.body, &*question.notes), (17, &[][..]));
    let windows = "curl ^\"https://shop.example.com/a^\" ^\r\n  -H ^\"x-quote: ^\\^\"b^\\^\"^\" ^\r\n  --data-raw ^\"x=1^\"";
    let question = parse_curl(windows).unwrap();
    assert_eq!(question.to_string(), "POST https://shop.example.com/a");
    assert_eq!(header(&question, "x-quote"), Some("\"b\""));
    let firefox = "$ curl.exe 'https://shop.example.com/' --compressed -X 'DELETE' -H 'Accept: text/html'";
    assert_eq!(parse_curl(firefox).unwrap().to_string(), "DELETE https://shop.example.com/");
}

#[test]
fn what_cannot_be_followed_is_named_and_stops_nothing() {
    for (command, note) in [
        ("curl --frobnicate http://a/", "option --frobnicate is not known"),
        ("curl -sB http://a/", "option -B is not known"),
        ("curl http://a/ -H", "option -H lacks its value"),
        ("curl http://a/ http://b/", "another URL, \"http://b/\""),
        ("curl http://a/ -H 'no colon'", "no colon"),
        ("curl -x http://proxy:3128 http://a/", "option -x is passed over"),
        ("curl http://a/ -d @body.json", "file \"body.json\""),
        ("curl http://a/ -b jar.txt", "cookies in the file"),
        ("curl http://a/ --next http://b/", "several requests"),
        ("curl --digest -u a:b http://a/", "without credentials first"),
        ("curl --http2 http://a/", "by an upgrade"),
        ("curl 'http://a/ -H 'x: y'", "does not end"),
        ("curl http://a/ -H \"x-token: $TOKEN\"", "$TOKEN is a variable of the shell"),
    ] {
        let question = parse_curl(command).unwrap();
        assert!(question.notes.iter().any(|own| own.contains(note)), "{command}: {:?}", question.notes);
        assert_eq!(question.host.split('/').next(), Some("a"), "{command}");
    }
    let question = parse_curl("curl 'http://a/?$filter=x'").unwrap();
    assert_eq!((&*question.path, &*question.notes), ("/?$filter=x", &[][..]));
    // The notes are told with the answer.
    let question = parse_curl("curl --frobnicate http://a.example.com/").unwrap();
    let told = ask(&route("shop", "[a.example.com]", TO_SHOP), &question);
    assert!(told.notes[0].contains("--frobnicate") && matches!(outcome(&told), Outcome::Forwarded { .. }));
}

#[test]
fn options_that_change_the_request_are_followed() {
    let asked = |command: &str| parse_curl(command).unwrap();
    let question = asked("curl --connect-to a.example.com:443:10.0.0.1:8443 https://a.example.com/x");
    assert_eq!((question.port, question.to_string()), (8443, "GET https://a.example.com/x".to_owned()));
    assert_eq!(asked("curl --connect-to other:443:10.0.0.1:1 https://a/").port, 443);
    assert_eq!(asked("curl --connect-to ::[::1]:9443 https://a/").port, 9443);
    assert_eq!(asked("curl -I http://a/").method, "HEAD");
    assert_eq!(asked("curl -T x.txt http://a/up/").to_string(), "PUT http://a/up/x.txt");
    assert_eq!(asked("curl http://a/b/../c/./d").path, "/c/d");
    assert_eq!(asked("curl --path-as-is http://a/b/../c").path, "/b/../c");
    assert_eq!(asked("curl --url-query 'q=a b' http://a/x").path, "/x?q=a%20b");
    assert_eq!(header(&asked("curl --json '{}' http://a/"), "accept"), Some("application/json"));
    assert_eq!(header(&asked("curl --oauth2-bearer t http://a/"), "authorization"), Some("Bearer t"));
    assert_eq!(header(&asked("curl -H 'accept:' http://a/"), "accept"), None);
    assert_eq!(header(&asked("curl http://me:pw@a/"), "authorization"), Some("Basic bWU6cHc="));
    let versions = |command: &str| (asked(command).protocol, asked(command).falls_back);
    assert_eq!(versions("curl --http2-prior-knowledge http://a/"), (Some(Protocol::Http2), false));
    assert_eq!(versions("curl --http3 https://a/"), (Some(Protocol::Http3), true));
    assert_eq!(versions("curl --http3-only https://a/"), (Some(Protocol::Http3), false));
    let told = ask(&route("shop", "[a.example.com]", TO_SHOP), &asked("curl -0 http://a.example.com/"));
    assert_eq!(status(&told), 426);
}
