//! Kubernetes types of every kind that Ferrogate reads, with defaults, limits and CEL rules beside the fields.
