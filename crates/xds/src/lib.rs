//! The proxy-neutral model to encoded Envoy resources, with provenance.
