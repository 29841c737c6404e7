//! Ids, the proxy-neutral model, problems and the status model.
