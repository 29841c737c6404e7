//! Certificates of every kind at real Envoy: what it takes is shown, and what it would refuse keeps no port waiting.

use e2e::{Backends, Certificate, Client, Gateway, Shown, eventually, free_port, get, manifest as m};
use rcgen::{BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::SignatureScheme;

/// An RSA key, which nothing at hand makes. It guards nothing.
const RSA: &str = include_str!("rsa.pem");

/// Names of subject alternative names, and of TLS features.
const ALTERNATIVE_NAMES: &[u64] = &[2, 5, 29, 17];
const TLS_FEATURE: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 1, 24];
/// A staple is needed, in DER.
const STATUS_REQUEST: &[u8] = &[0x30, 3, 2, 1, 5];
/// Of the certificates made here.
const SERIAL: u8 = 77;

fn p256() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn named(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.serial_number = Some(vec![SERIAL].into());
    params
}

/// Without any name, but for what an extension says.
fn nameless(extensions: &[(&[u64], &[u8])]) -> CertificateParams {
    let mut params = named(&[]);
    params.distinguished_name = rcgen::DistinguishedName::new();
    let extension = |(id, der): &(&[u64], &[u8])| CustomExtension::from_oid_content(id, der.to_vec());
    params.custom_extensions = extensions.iter().map(extension).collect();
    params
}

/// Alternative names in DER, each with its tag; short ones only.
fn alternative_names(names: &[(u8, &str)]) -> Vec<u8> {
    let names = names.iter().map(|(tag, name)| element(*tag, name.as_bytes()));
    element(0x30, &names.collect::<Vec<_>>().concat())
}

/// One element of DER.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = match u8::try_from(length) {
        Ok(short) if short < 0x80 => vec![tag, short],
        Ok(long) => vec![tag, 0x81, long],
        Err(_) => vec![tag, 0x82, (length >> 8) as u8, (length & 0xff) as u8],
    };
    [&head[..], content].concat()
}

/// An OCSP response (RFC 6960) that finds the certificate with this number good, and is valid until 2099.
fn staple(serial: u8) -> Vec<u8> {
    staple_until("20991231000000Z", serial)
}

fn staple_until(end: &str, serial: u8) -> Vec<u8> {
    const SHA1: &[u8] = &[0x30, 9, 6, 5, 0x2b, 0x0e, 3, 2, 0x1a, 5, 0];
    const BASIC: &[u8] = &[6, 9, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
    let time = |text: &str| element(0x18, text.as_bytes());
    let hash = |byte: u8| element(4, &[byte; 20]);
    let id = element(0x30, &[SHA1, &hash(1), &hash(2), &[2, 1, serial]].concat());
    let next = element(0xa0, &time(end));
    let single = element(0x30, &[&id[..], &[0x80, 0], &time("20260101000000Z"), &next].concat());
    let responder = element(0xa2, &hash(3));
    let data = [responder, time("20260101000000Z"), element(0x30, &single)].concat();
    let basic = [element(0x30, &data), SHA1.to_vec(), element(3, &[0, 1])].concat();
    let body = [BASIC, &element(4, &element(0x30, &basic))].concat();
    element(0x30, &[&[0x0a, 1, 0][..], &element(0xa0, &element(0x30, &body))].concat())
}

fn with(params: &CertificateParams, key: &KeyPair) -> Certificate {
    let made = params.self_signed(key).unwrap();
    Certificate { certificate: made.pem(), key: key.serialize_pem(), der: made.der().to_vec() }
}

/// A Secret with a staple.
fn stapled(certificate: &Certificate, name: &str, staple: &[u8]) -> String {
    use base64::Engine as _;
    let staple = base64::engine::general_purpose::STANDARD.encode(staple);
    let entry = format!("type: kubernetes.io/tls\ndata:\n  tls.ocsp-staple: {staple}\n");
    certificate.secret(name).replace("type: kubernetes.io/tls\n", &entry)
}

/// A leaf with the certificate of an authority that signed it, behind one that has nothing to do with it.
fn in_wrong_order(host: &str) -> Certificate {
    let (key, authority) = (p256(), p256());
    let mut params = named(&[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "authority");
    let issuer = params.self_signed(&authority).unwrap().pem();
    let made = named(&[host]).signed_by(&key, &Issuer::new(params, authority)).unwrap();
    let other = with(&named(&["unrelated.example.com"]), &p256()).certificate;
    Certificate {
        certificate: made.pem() + &other + &issuer,
        key: key.serialize_pem(),
        der: made.der().to_vec(),
    }
}

/// What Envoy takes, by the first label of its host, with what `/problems` says of it (nothing when empty).
fn served() -> Vec<(&'static str, Certificate, &'static str)> {
    let odd =
        |names: &[(u8, &str)]| with(&nameless(&[(ALTERNATIVE_NAMES, &alternative_names(names))]), &p256());
    let with_common_name = {
        let mut params = named(&[]);
        params.distinguished_name.push(DnType::CommonName, "common.example.com");
        with(&params, &p256())
    };
    let key_of = |algorithm| KeyPair::generate_for(algorithm).unwrap();
    let many: Vec<String> = (0..2000).map(|n| format!("h{n}.many.example.com")).collect();
    let mut many: Vec<&str> = many.iter().map(String::as_str).collect();
    many.push("many.example.com");
    let mut address = nameless(&[]);
    address.subject_alt_names = vec![
        SanType::IpAddress([127, 0, 0, 1].into()),
        SanType::IpAddress("2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().into()),
    ];
    vec![
        ("p256", with(&named(&["p256.example.com"]), &p256()), ""),
        ("p384", with(&named(&["p384.example.com"]), &key_of(&rcgen::PKCS_ECDSA_P384_SHA384)), ""),
        ("ed25519", with(&named(&["ed25519.example.com"]), &key_of(&rcgen::PKCS_ED25519)), "Ed25519"),
        ("rsa", with(&named(&["rsa.example.com"]), &KeyPair::from_pem(RSA).unwrap()), ""),
        ("many", with(&named(&many), &p256()), ""),
        ("chain", in_wrong_order("chain.example.com"), ""),
        ("upper", odd(&[(0x82, "UPPER.Example.COM")]), ""),
        ("alabel", odd(&[(0x82, "alabel.xn--bcher-kva.example"), (0x82, "alabel.example.com")]), ""),
        ("ulabel", odd(&[(0x82, "ulabel.b\u{fc}cher.example")]), "A-label"),
        ("nul", odd(&[(0x82, "nul.example.com\0.example.org")]), "no DNS name"),
        ("partial", odd(&[(0x82, "part*.example.com"), (0x82, "*.*.example.com")]), "wildcard"),
        ("dot", odd(&[(0x82, "dot.example.com.")]), "ends with a dot"),
        ("uri", odd(&[(0x86, "spiffe://uri.example.com/shop")]), "no DNS name"),
        ("address", with(&address, &p256()), ""),
        ("common", with_common_name, "common name"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_envoy_takes_is_shown_and_what_it_would_refuse_harms_no_other_listener() {
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let served = served();
    let must = {
        let mut params = named(&["must.example.com"]);
        params.custom_extensions =
            vec![CustomExtension::from_oid_content(TLS_FEATURE, STATUS_REQUEST.to_vec())];
        with(&params, &p256())
    };
    let plain = |host: &str| with(&named(&[host]), &p256());
    let [good, stale, late] = ["staple", "stale", "late"].map(|name| plain(&format!("{name}.example.com")));
    let anonymous = with(&nameless(&[]), &p256());
    let mail =
        with(&nameless(&[(ALTERNATIVE_NAMES, &alternative_names(&[(0x81, "a@example.com")]))]), &p256());
    let mut secrets: Vec<(&str, String)> =
        served.iter().map(|(name, certificate, _)| (*name, certificate.secret(name))).collect();
    secrets.extend([
        ("staple", stapled(&good, "staple", &staple(SERIAL))),
        ("stale", stapled(&stale, "stale", &staple(SERIAL + 1))),
        ("late", stapled(&late, "late", &staple_until("20260102000000Z", SERIAL))),
        ("must", stapled(&must, "must", &staple(SERIAL))),
        ("without", must.secret("without")),
        ("anonymous", anonymous.secret("anonymous")),
        ("mail", mail.secret("mail")),
    ]);
    let host = |name: &str| format!("{name}.example.com");
    let listeners: String =
        secrets.iter().map(|(name, _)| m::https(name, port, &host(name), &[name])).collect();
    let files = backends.manifest()
        + &secrets.iter().map(|(_, secret)| secret.as_str()).collect::<String>()
        + &m::gateway("eg", &listeners)
        + &m::route("all", "eg", &[], &m::to("a"));
    let gateway = Gateway::start(&[("all.yaml", &files)]).await;

    let problems = gateway.json("/problems").await;
    let of = |name: &str| {
        let index = secrets.iter().position(|(other, _)| *other == name).unwrap();
        let at = format!("spec.listeners[{index}].tls.certificateRefs");
        let all = problems.as_array().unwrap().iter();
        let told =
            all.filter(|problem| problem["field"].as_str().is_some_and(|field| field.starts_with(&at)));
        told.map(|problem| problem["message"].as_str().unwrap_or_default()).collect::<Vec<_>>().join("; ")
    };
    for (name, certificate, told) in &served {
        let shown =
            Shown::to(port, &host(name), &[]).await.unwrap_or_else(|| panic!("no handshake for {name}"));
        assert!(shown.chain[0] == certificate.der && shown.staple.is_empty(), "{name}");
        let (mut client, _) = Client::tls(port, &host(name), "h2").await.unwrap();
        assert_eq!(client.send(get(&host(name), "/")).await.status, 200, "{name}");
        assert_eq!(of(name).is_empty(), told.is_empty(), "{name}: {}", of(name));
        assert!(of(name).contains(told), "{name}: {}", of(name));
    }
    assert_eq!(Shown::to(port, &host("chain"), &[]).await.unwrap().chain.len(), 3, "as it is written");
    for (name, certificate, expected) in [
        ("staple", &good, staple(SERIAL)),
        ("stale", &stale, Vec::new()),
        ("late", &late, Vec::new()),
        ("must", &must, staple(SERIAL)),
    ] {
        let shown =
            Shown::to(port, &host(name), &[]).await.unwrap_or_else(|| panic!("no handshake for {name}"));
        assert!(shown.chain[0] == certificate.der, "{name}");
        assert_eq!(shown.staple, expected, "{name}");
    }
    assert!(of("stale").contains("tls.ocsp-staple is for another certificate"), "{}", of("stale"));
    for (name, told) in [
        ("without", "tls.ocsp-staple is not there"),
        ("anonymous", "neither a common name"),
        ("mail", "neither a common name"),
    ] {
        assert!(Shown::to(port, &host(name), &[]).await.is_none(), "{name} is served");
        assert!(of(name).contains(told), "{name}: {}", of(name));
    }
    assert_eq!(gateway.json("/audit").await, serde_json::json!([]));
}

/// Of two certificates for one name the client is shown the one whose key it can use, the ECDSA one if it can use both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_kinds_of_keys_for_one_name_each_client_has_the_one_that_it_takes() {
    const HOST: &str = "shop.example.com";
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let rsa = with(&named(&[HOST]), &KeyPair::from_pem(RSA).unwrap());
    let (ecdsa, again) = (with(&named(&[HOST]), &p256()), with(&named(&[HOST]), &p256()));
    let gateway_with = |secrets: &[&str]| {
        backends.manifest()
            + &rsa.secret("rsa")
            + &ecdsa.secret("ecdsa")
            + &again.secret("again")
            + &m::gateway("eg", &m::https("https", port, HOST, secrets))
            + &m::route("all", "eg", &[], &m::to("a"))
    };
    let shown =
        async |schemes: &[SignatureScheme]| Some(Shown::to(port, HOST, schemes).await?.chain[0].clone());
    let gateway = Gateway::start(&[("all.yaml", &gateway_with(&["rsa", "ecdsa"]))]).await;
    for order in [["rsa", "ecdsa"], ["ecdsa", "rsa"]] {
        gateway.write("all.yaml", &gateway_with(&order));
        gateway.ready().await;
        for (schemes, expected) in [
            (&[SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PKCS1_SHA256][..], &rsa),
            (&[SignatureScheme::ECDSA_NISTP256_SHA256], &ecdsa),
            (&[], &ecdsa),
        ] {
            assert!(shown(schemes).await.as_ref() == Some(&expected.der), "{order:?} {schemes:?}");
        }
    }
    // A second of one kind for the name is refused, and the listener serves the others.
    gateway.write("all.yaml", &gateway_with(&["ecdsa", "again", "rsa"]));
    let partly = |c: &serde_json::Value| c["reason"] == "PartiallyInvalidCertificateRef";
    eventually("the second is refused", async || {
        let status = gateway.status("Gateway", "eg").await;
        let conditions = status["listeners"][0]["conditions"].as_array()?.clone();
        conditions.iter().find(|condition| partly(condition)).map(|condition| {
            let message = condition["message"].as_str().unwrap_or_default();
            assert!(message.contains("certificateRefs[1]"), "{message}");
        })
    })
    .await;
    assert!(shown(&[]).await.as_ref() == Some(&ecdsa.der));
    assert_eq!(gateway.json("/audit").await, serde_json::json!([]));
}

/// A renewed certificate comes with a staple of its own, or with the one of its predecessor, while clients are at work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staples_follow_their_certificates_and_no_connection_ends() {
    const HOST: &str = "shop.example.com";
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let files = backends.manifest()
        + &m::gateway("eg", &m::https("https", port, "", &["cert"]))
        + &m::route("all", "eg", &[], &m::to("a"));
    let numbered = |serial: u8| {
        let mut params = named(&[HOST]);
        params.serial_number = Some(vec![serial].into());
        with(&params, &p256())
    };
    let first = numbered(1);
    let gateway =
        Gateway::start(&[("all.yaml", &files), ("cert.yaml", &stapled(&first, "cert", &staple(1)))]).await;
    let mut old = Client::tls(port, HOST, "h2").await.unwrap().0;
    let mut clients = e2e::Loop::new();
    clients.tls(port, HOST, "/", "h2");
    let mut before = 1;
    for serial in 2..10 {
        let next = numbered(serial);
        // Every other time the staple is late.
        if serial % 2 == 0 {
            gateway.write("cert.yaml", &stapled(&next, "cert", &staple(before)));
            eventually("the new certificate is shown without a staple", async || {
                let shown = Shown::to(port, HOST, &[]).await?;
                (shown.chain[0] == next.der && shown.staple.is_empty()).then_some(())
            })
            .await;
        }
        gateway.write("cert.yaml", &stapled(&next, "cert", &staple(serial)));
        eventually("the new certificate is shown with its staple", async || {
            let shown = Shown::to(port, HOST, &[]).await?;
            (shown.chain[0] == next.der && shown.staple == staple(serial)).then_some(())
        })
        .await;
        assert_eq!(old.send(get(HOST, "/")).await.status, 200, "the connection goes on");
        before = serial;
    }
    let report = clients.stop().await;
    assert_eq!(report.bad, Vec::<String>::new());
    assert!(report.good > 0);
    assert_eq!(gateway.json("/audit").await, serde_json::json!([]));
}
