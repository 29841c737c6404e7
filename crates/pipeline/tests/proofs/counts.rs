//! What a change costs.
