//! Facts to the proxy-neutral model and problems: pure functions in fixed stages.
