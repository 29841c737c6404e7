//! No connection carries requests to a listener that asks clients for certificates which the connection has not shown:
//! however listeners come to share a port, in each protocol and mode.

use e2e::{
    Authority, Backends, Certificate, Client, Gateway, Resuming, eventually, free_port, get, manifest as m,
};

use crate::neighbours::{ANNOTATION, Certificates, MODES, Place, SET_UPS, SetUp};

/// What a policy says that asks for certificates of the authorities in a ConfigMap.
fn asks(map: &str) -> String {
    format!("tls: {{clientValidation: {{caCertificateRefs: [{{kind: ConfigMap, name: {map}}}]}}}}\n")
}

/// The first listener asks for nothing and offers HTTP/3, the others ask for certificates: each of an authority of its
/// own. Each has a backend and a route for all its hosts.
fn files(
    set_up: &SetUp,
    port: u16,
    mode: &str,
    certificates: &Certificates,
    (backends, authorities): (&Backends, &[Authority; 3]),
) -> String {
    let mut text = set_up.files(port, mode, certificates);
    for (place, authority) in set_up.places.iter().zip(authorities) {
        let name = place.listener();
        let policy =
            if name == "web" { "http3: {}\n".to_owned() } else { format!("http3: {{}}\n{}", asks(name)) };
        text += &place.home(&m::backend(name, backends.port(name)));
        text += &place.home(&m::authorities(name, &authority.certificate));
        text += &place.policy(&policy);
        text += &place.at(&m::route(name, place.owner, &[], &m::to(name)));
    }
    text
}

/// The status over a new connection; `None` when the client is turned away.
async fn answer(port: u16, (name, host): (&str, &str), alpn: &str, own: Option<&Certificate>) -> Option<u16> {
    let (mut client, _) = Client::tls_as(port, name, alpn, own).await?;
    Some(client.try_send(get(host, "/")).await?.status)
}

/// Hosts of listeners that ask for certificates, over connections of others: by TCP as anybody and with a certificate
/// that another listener takes, and by QUIC.
async fn all_is_refused(set_up: &SetUp, port: u16, offered: &[&str], of: &[Certificate; 3], what: &str) {
    let (web, guarded) = (set_up.places[0], &set_up.places[1..]);
    for (index, place) in guarded.iter().enumerate() {
        let own = &of[index + 1];
        for host in [place.host.to_owned(), format!("{}:8443", place.host.to_uppercase())] {
            for alpn in offered {
                for shown in [None, Some(own)] {
                    let status = answer(port, (web.host, &host), alpn, shown).await;
                    assert_eq!(status, Some(421), "{what} {alpn}: {host} over a connection to {}", web.host);
                }
                // From one that asks to one that asks for something else.
                for (other, shown) in guarded.iter().zip(&of[1..]).filter(|(other, _)| *other != place) {
                    let status = answer(port, (other.host, &host), alpn, Some(shown)).await;
                    assert_eq!(
                        status,
                        Some(421),
                        "{what} {alpn}: {host} over a connection to {}",
                        other.host
                    );
                }
            }
            for name in [web.host, place.host] {
                // QUIC leads to the first listener whatever the server name is, as no other can be reached by it.
                let (mut client, _) = Client::http3(port, name).await.unwrap();
                assert_eq!(client.send(get(&host, "/")).await.status, 421, "{what} h3 to {name}: {host}");
                let own = client.send(get(web.host, "/")).await;
                assert_eq!((own.status, own.backend()), (200, "web"), "{what} h3 to {name}");
            }
        }
        for alpn in offered {
            let at = (place.host, place.host);
            assert_eq!(answer(port, at, alpn, Some(own)).await, Some(200), "{what} {alpn} {}", place.host);
            for wrong in [None, Some(&of[0])] {
                assert_eq!(answer(port, at, alpn, wrong).await, None, "{what} {alpn} {}", place.host);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_set_up_lets_a_connection_pass_that_has_not_shown_what_is_asked_for() {
    let backends = Backends::start(&["web", "exact", "team"]).await;
    let authorities = ["web", "exact", "team"].map(Authority::new);
    let of = [0, 1, 2].map(|index: usize| authorities[index].issue(&["client"]));
    let certificates = Certificates::new();
    for set_up in &SET_UPS {
        let port = free_port();
        let files = |mode: &str| files(set_up, port, mode, &certificates, (&backends, &authorities));
        let gateway = Gateway::start(&[("all.yaml", &files("Misdirect421"))]).await;
        for (mode, first) in MODES {
            gateway.write("all.yaml", &files(mode));
            let what = format!("{} {mode}", set_up.name);
            eventually(&format!("{what} is in force"), async || {
                let agreed = Client::agreed(port, set_up.places[0].host).await?;
                let told =
                    gateway.status("Gateway", "eg").await.to_string().contains(&format!("Mode {mode}"));
                (agreed == first && told).then_some(())
            })
            .await;
            eventually(&format!("{what}: HTTP/3 is spoken"), async || {
                Client::http3(port, set_up.places[0].host).await.map(drop)
            })
            .await;
            let offered = if first == "h2" { &["h2", "http/1.1"][..] } else { &["http/1.1"] };
            all_is_refused(set_up, port, offered, &of, &what).await;
            assert_eq!(gateway.json("/audit").await, serde_json::json!([]), "{what}");
        }
    }
}

/// A listener of `NAME.example.org` that asks for what a policy says.
const ASKING: [&str; 8] = ["one", "twin", "again", "optional", "named", "hashed", "other", "free"];

/// Mode Serve lets listeners serve each other's hosts that show the same certificate. One policy for two listeners asks
/// for the same; nothing else does, also where only the mode, a name, a hash or an authority differs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_serve_each_others_hosts_only_if_they_ask_for_the_same() {
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let (one, two) = (Authority::new("one"), Authority::new("two"));
    let (of_one, of_two) = (one.issue(&["client"]), two.issue(&["client"]));
    let hash: String = ring::digest::digest(&ring::digest::SHA256, &of_one.der)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let listeners: String =
        ASKING.iter().map(|name| m::https(name, port, &format!("{name}.example.org"), &["cert"])).collect();
    let policy = |name: &str, map: &str, more: &str| {
        let spec = format!(
            "tls: {{clientValidation: {{caCertificateRefs: [{{kind: ConfigMap, name: {map}}}]{more}}}}}\n"
        );
        m::client_policy(name, "eg", name, &spec)
    };
    // One policy for two listeners.
    let second = "    sectionName: one\n  - group: gateway.networking.k8s.io\n    kind: Gateway\n    name: eg\n    \
                  sectionName: twin\n";
    let files = backends.manifest()
        + &Certificate::new(&["*.example.org"]).secret("cert")
        + &m::annotated_gateway("eg", (ANNOTATION, "Serve"), &listeners)
        + &m::authorities("one", &one.certificate)
        + &m::authorities("two", &two.certificate)
        + &policy("one", "one", "").replace("    sectionName: one\n", second)
        + &policy("again", "one", "")
        + &policy("optional", "one", ", mode: VerifyIfGiven")
        + &policy("named", "one", ", subjectAltNames: {dnsNames: [{type: Exact, value: client}]}")
        + &policy("hashed", "one", &format!(", certificateHashes: [{hash}]"))
        + &policy("other", "two", "")
        + &m::route("all", "eg", &[], &m::to("a"));
    let gateway = Gateway::start(&[("all.yaml", &files)]).await;
    for alpn in ["h2", "http/1.1"] {
        for own in ASKING {
            let shown = if own == "other" { &of_two } else { &of_one };
            for other in ASKING {
                let (name, host) = (format!("{own}.example.org"), format!("{other}.example.org"));
                let same = own == other || [own, other].iter().all(|name| ["one", "twin"].contains(name));
                let wanted = match (same, other) {
                    (true, _) => 200,
                    // It asks for nothing, so it gets what any listener of its kind gets.
                    (false, "free") if alpn == "http/1.1" => 404,
                    (false, _) => 421,
                };
                let status = answer(port, (&name, &host), alpn, Some(shown)).await;
                assert_eq!(status, Some(wanted), "{alpn}: {host} over a connection to {name}");
            }
        }
    }
    assert_eq!(gateway.json("/audit").await, serde_json::json!([]));
}

/// A client that goes on with a TLS session of one listener at another has shown nothing there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_session_begun_at_another_listener_lets_a_client_in() {
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let (one, two) = (Authority::new("one"), Authority::new("two"));
    let of_one = one.issue(&["client"]);
    let listeners = m::https("wild", port, "*.example.org", &["cert"])
        + &m::https("shop", port, "shop.example.org", &["cert"]);
    let keeps = "session: {resumption: {stateless: {}, stateful: {}}}";
    let validation = "clientValidation: {caCertificateRefs: [{kind: ConfigMap, name: ca}]}";
    let files = backends.manifest()
        + &Certificate::new(&["*.example.org"]).secret("cert")
        + &m::gateway("eg", &listeners)
        + &m::client_policy("all", "eg", "", &format!("tls: {{{keeps}}}\n"))
        + &m::client_policy("shop", "eg", "shop", &format!("tls: {{{keeps}, {validation}}}\n"))
        + &m::route("all", "eg", &[], &m::to("a"));
    let authority = |authority: &Authority| m::authorities("ca", &authority.certificate);
    let gateway = Gateway::start(&[("all.yaml", &files), ("ca.yaml", &authority(&one))]).await;
    /// The status and whether the session went on; `None` when the client is turned away.
    async fn goes_on(client: &Resuming, port: u16, host: &str) -> Option<(u16, bool)> {
        let (mut connection, resumed) = client.connect(port, host).await?;
        Some((connection.try_send(get(host, "/")).await?.status, resumed))
    }
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let nobody = Resuming::new(None, version);
        assert_eq!(goes_on(&nobody, port, "web.example.org").await, Some((200, false)));
        assert_eq!(goes_on(&nobody, port, "web.example.org").await, Some((200, true)), "sessions go on");
        assert_eq!(goes_on(&nobody, port, "shop.example.org").await, None, "{version:?}");

        gateway.write("ca.yaml", &authority(&one));
        let known = Resuming::new(Some(&of_one), version);
        eventually("the client is let in", async || {
            (goes_on(&known, port, "shop.example.org").await?.0 == 200).then_some(())
        })
        .await;
        assert_eq!(goes_on(&known, port, "shop.example.org").await, Some((200, true)), "sessions go on");
        // Nor does one that began while another authority was trusted.
        gateway.write("ca.yaml", &authority(&two));
        eventually("its authority counts no more", async || {
            goes_on(&known, port, "shop.example.org").await.is_none().then_some(())
        })
        .await;
    }
    assert_eq!(gateway.json("/audit").await, serde_json::json!([]));
}

/// Places of the set-ups that the tests count on.
#[test]
fn the_first_place_covers_the_others() {
    for set_up in &SET_UPS {
        let [Place { hostname, .. }, others @ ..] = set_up.places else { panic!("{}", set_up.name) };
        assert!(!others.is_empty());
        for other in others {
            assert!(other.host.ends_with(hostname.trim_start_matches('*')), "{}", other.host);
        }
    }
}
