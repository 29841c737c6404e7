//! Overlapping TLS configurations (GEP-3567): HTTP/2 clients reuse a connection for every name that its certificate
//! covers, so a request can arrive on a connection that was made for another listener.

use store::{first_overlap, names_overlap};

use super::listener::{Judged, OVERLAPPING_CERTIFICATES, Protocol};
use crate::{Finding, Reader};

/// Marks HTTPS listeners of one port whose hostnames or certificates overlap. Both serve; those whose certificates
/// overlap without HTTP/2.
pub(super) fn mark(judged: &mut [Judged<'_>], reader: &Reader<'_>) {
    let https: Vec<usize> =
        (0..judged.len()).filter(|i| judged[*i].protocol == Protocol::Https && judged[*i].ready()).collect();
    for &i in &https {
        let others =
            || https.iter().copied().filter(|j| *j != i && judged[*j].fact.port == judged[i].fact.port);
        let by_certificate = others().find_map(|j| {
            let (a, b) = overlapping_names(&judged[i], &judged[j])?;
            Some(Finding::new(
                ".tls.certificateRefs",
                OVERLAPPING_CERTIFICATES,
                format!(
                    "The certificate name {a} overlaps with {b} of listener {}: clients may send its requests over this listener's connections",
                    judged[j].label()
                ),
            ))
        });
        let finding = by_certificate.or_else(|| {
            others().find_map(|j| {
                let text = |k: usize| judged[k].fact.hostname.map(|h| reader.name(h).clone());
                let (own, other) = (text(i), text(j));
                let overlap = match (&own, &other) {
                    (Some(own), Some(other)) => names_overlap(own, other),
                    _ => true,
                };
                overlap.then(|| {
                    Finding::new(
                        ".hostname",
                        "OverlappingHostnames",
                        format!(
                            "The hostname {} overlaps with the hostname {} of listener {}",
                            own.as_deref().unwrap_or("*"),
                            other.as_deref().unwrap_or("*"),
                            judged[j].label()
                        ),
                    )
                })
            })
        });
        judged[i].overlapping = finding;
    }
}

fn overlapping_names(a: &Judged<'_>, b: &Judged<'_>) -> Option<(String, String)> {
    let names = |j: &Judged<'_>| -> Vec<std::sync::Arc<str>> {
        j.certificates.iter().flat_map(|c| c.alternative_names.iter().cloned()).collect()
    };
    let (own, others) = (names(a), names(b));
    let (own, other) = first_overlap(&own, &others)?;
    Some((own.to_owned(), other.to_owned()))
}
