//! Whatever happens, a watch ends where a fresh list begins.

use proptest::{collection::vec, prelude::*};

use super::{fake::Fault, *};

/// Something that happens to the API server.
#[derive(Clone, Debug)]
enum Step {
    Route(u8, u8),
    /// A Gateway that refers to these Secrets.
    Gateway(u8, u8, u8),
    Secret(u8, u8),
    Undecodable(u8),
    DeleteRoute(u8),
    DeleteGateway(u8),
    DeleteSecret(u8),
    Team(u8, bool),
    DeleteNamespace(u8),
    Cut,
    Bookmark,
    Compact,
    Streaming(bool),
    Trouble(u8),
    Heal,
    Pause,
}

fn step() -> impl Strategy<Value = Step> {
    use Step::{
        Bookmark, Compact, Cut, DeleteGateway, DeleteNamespace, DeleteRoute, DeleteSecret, Gateway, Heal,
        Pause, Route, Secret, Streaming, Team, Trouble, Undecodable,
    };
    prop_oneof![
        6 => (0..6_u8, any::<u8>()).prop_map(|(name, value)| Route(name, value)),
        5 => (0..4_u8, any::<u8>(), 0..8_u8).prop_map(|(name, value, refs)| Gateway(name, value, refs)),
        5 => (0..3_u8, any::<u8>()).prop_map(|(name, value)| Secret(name, value)),
        1 => (0..6_u8).prop_map(Undecodable),
        3 => (0..6_u8).prop_map(DeleteRoute),
        2 => (0..4_u8).prop_map(DeleteGateway),
        2 => (0..3_u8).prop_map(DeleteSecret),
        2 => (0..2_u8, any::<bool>()).prop_map(|(name, team)| Team(name, team)),
        1 => (0..2_u8).prop_map(DeleteNamespace),
        3 => Just(Cut),
        1 => Just(Bookmark),
        2 => Just(Compact),
        1 => any::<bool>().prop_map(Streaming),
        2 => (0..6_u8).prop_map(Trouble),
        2 => Just(Heal),
        3 => Just(Pause),
    ]
}

fn space(number: u8) -> &'static str {
    if number.is_multiple_of(2) { "even" } else { "odd" }
}

async fn take(fake: &Fake, step: Step) {
    match step {
        Step::Route(name, value) => {
            fake.put(ROUTES, route(space(name), &format!("r{name}"), &value.to_string()));
        }
        Step::Gateway(name, value, refs) => {
            let secrets = (0..3_u8).filter(|bit| refs & (1 << bit) != 0);
            let secrets: Vec<String> = secrets.map(|bit| format!("{}/s{bit}", space(bit))).collect();
            let mut gateway = gateway(&format!("g{name}"), &value.to_string(), &secrets.join(" "));
            gateway["metadata"]["namespace"] = json!(space(name));
            fake.put(GATEWAYS, gateway);
        }
        Step::Secret(name, value) => {
            fake.put(SECRETS, secret(space(name), &format!("s{name}"), &value.to_string()));
        }
        Step::Undecodable(name) => {
            let mut bad = route(space(name), &format!("r{name}"), "");
            bad["spec"]["rules"] = json!(7);
            fake.put(ROUTES, bad);
        }
        Step::DeleteRoute(name) => fake.delete(ROUTES, space(name), &format!("r{name}")),
        Step::DeleteGateway(name) => fake.delete(GATEWAYS, space(name), &format!("g{name}")),
        Step::DeleteSecret(name) => fake.delete(SECRETS, space(name), &format!("s{name}")),
        Step::Team(name, team) => {
            fake.put(NAMESPACES, namespace(space(name), if team { "blue" } else { "red" }));
        }
        Step::DeleteNamespace(name) => fake.delete(NAMESPACES, "", space(name)),
        Step::Cut => fake.cut(),
        Step::Bookmark => fake.bookmark(),
        Step::Compact => fake.compact(),
        Step::Streaming(streaming) => fake.set_streaming(streaming),
        Step::Trouble(which) => {
            let (pattern, fault) = match which {
                0 => ("", Fault::Status(500, None)),
                1 => ("watch=true", Fault::CutAfter(Duration::from_millis(3))),
                2 => ("limit=", Fault::Truncated),
                3 => ("/secrets/", Fault::Slow(Duration::from_millis(10))),
                4 => ("resourceVersion=", Fault::Status(429, Some(1))),
                _ => ("httproutes", Fault::Line("{\"type\":\n")),
            };
            fake.trouble(pattern, fault, 5);
        }
        Step::Heal => fake.heal(),
        Step::Pause => tokio::time::sleep(Duration::from_millis(8)).await,
    }
}

async fn check(steps: Vec<Step>, scope: Scope) {
    let fake = Fake::start().await;
    for name in 0..2 {
        fake.put(NAMESPACES, namespace(space(name), "blue"));
    }
    let timing = Timing { longest_retry_after: Duration::from_millis(5), ..timing() };
    let options = Options { scope, timing, ..options() };
    let mut reader = Reader::start(&fake, options.clone()).await;
    for step in &steps {
        take(&fake, step.clone()).await;
    }
    fake.heal();
    fake.cut();
    let mut fresh = Reader::start(&fake, options).await;
    fresh.next().await;
    while reader.objects != fresh.objects || reader.problems != fresh.problems {
        let next = timeout(PATIENCE, reader.watch.updates.next()).await;
        let Ok(Some(update)) = next else {
            panic!(
                "{:?} {:?} instead of {:?} {:?}",
                reader.objects, reader.problems, fresh.objects, fresh.problems
            )
        };
        reader.take(update);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn a_watch_ends_where_a_fresh_list_begins(steps in vec(step(), 1..60), by_team in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(steps, if by_team { by_label("blue") } else { Scope::All }));
    }
}
