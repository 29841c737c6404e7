//! The first words to a person: where the gateway listens, and commands to try it.

use std::{net::SocketAddr, time::Duration};

use pipeline::HostView;
use tokio_util::sync::CancellationToken;

use crate::{gateway::Gateway, view};

/// Commands shown; a person tries a few.
const SHOWN: usize = 8;

/// Waits until every fleet has its configuration, then prints a `curl` line for the first hosts.
pub(crate) async fn say(gateway: Gateway, admin: SocketAddr, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
            () = shutdown.cancelled() => return,
        }
        let keys = gateway.feeds.keys();
        let statuses = keys.iter().filter_map(|key| gateway.feeds.status(key));
        if !keys.is_empty() && statuses.into_iter().all(|s| s.acked.is_some_and(|acked| acked >= s.revision))
        {
            break;
        }
    }
    let hosts = gateway.control.query(|pipeline| pipeline.hosts()).await.unwrap_or_default();
    let mut text = String::from("\nThe gateway is ready. Try:\n\n");
    for host in hosts.iter().take(SHOWN) {
        text.push_str(&format!("  {}\n", curl(host)));
    }
    text.push_str(&format!("\nStatus: ferrogate status --admin {admin}\nStop with Ctrl-C.\n\n"));
    // Standard output may be closed; that must not stop the gateway.
    let _ = view::write_out(text.as_bytes());
}

fn curl(host: &HostView) -> String {
    let address = if &*host.address == "0.0.0.0" { "127.0.0.1" } else { &host.address };
    // A wildcard needs some name in the star's place.
    let name = host.host.replacen('*', "any", 1);
    match (host.tls, &*host.host) {
        (false, "*") => format!("curl http://{address}:{}{}", host.port, host.path),
        (false, _) => format!("curl -H 'Host: {name}' http://{address}:{}{}", host.port, host.path),
        (true, "*") => format!("curl -k https://{address}:{}{}", host.port, host.path),
        (true, _) => format!(
            "curl -k --resolve {name}:{port}:{address} https://{name}:{port}{}",
            host.path,
            port = host.port
        ),
    }
}
