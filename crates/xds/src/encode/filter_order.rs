//! The order of HTTP filters, as an EnvoyProxy changes it (`filterOrder`).

use std::borrow::Cow;

use ir::listener::FilterMove;

/// Moves filters before the first or after the last of others. All of a name keep their order among themselves.
pub(super) fn apply<T>(moved: &FilterMove, all: &mut Vec<(Cow<'static, str>, T)>) {
    let anchored = |name: &str| name.starts_with(&*moved.anchor);
    if moved.filter == moved.anchor || !all.iter().any(|(name, _)| anchored(name)) {
        return;
    }
    let (mut movers, mut rest) = (Vec::new(), Vec::with_capacity(all.len()));
    for filter in all.drain(..) {
        let list = if filter.0.starts_with(&*moved.filter) { &mut movers } else { &mut rest };
        list.push(filter);
    }
    let at = match moved.before {
        true => rest.iter().position(|(name, _)| anchored(name)).unwrap_or(0),
        false => rest.iter().rposition(|(name, _)| anchored(name)).map_or(rest.len(), |last| last + 1),
    };
    rest.splice(at..at, movers);
    *all = rest;
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILTERS: [&str; 5] = ["a", "b/1", "b/2", "c/1", "c/2"];

    fn moved(filter: &str, anchor: &str, before: bool) -> Vec<String> {
        let mut all: Vec<(Cow<'static, str>, ())> = FILTERS.map(|name| (name.into(), ())).into();
        apply(&FilterMove { filter: filter.into(), anchor: anchor.into(), before }, &mut all);
        all.into_iter().map(|(name, ())| name.into_owned()).collect()
    }

    #[test]
    fn filters_move_before_the_first_and_after_the_last() {
        assert_eq!(moved("c", "b", true), ["a", "c/1", "c/2", "b/1", "b/2"]);
        assert_eq!(moved("a", "b", false), ["b/1", "b/2", "a", "c/1", "c/2"]);
        assert_eq!(moved("b", "c", false), ["a", "c/1", "c/2", "b/1", "b/2"]);
        assert_eq!(moved("a", "b", true), FILTERS);
    }

    #[test]
    fn what_is_not_there_changes_nothing() {
        assert_eq!(moved("d", "a", true), FILTERS);
        assert_eq!(moved("c", "d", true), FILTERS);
        assert_eq!(moved("b", "b", false), FILTERS);
    }
}
