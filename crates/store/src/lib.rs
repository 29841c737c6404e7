//! Facts: Kubernetes objects lowered to what translation needs, with their indexes.
