use proptest::prelude::*;

use super::*;

/// A toy program of two stages: `double` reads one fact, `sum` reads the doubles of a range.
struct Program {
    facts: rustc_hash::FxHashMap<u32, i64>,
    double: Table<u32, i64, Dep>,
    sum: Table<u32, i64, Dep>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
enum Dep {
    Fact(u32),
    Double(u32),
}

impl Program {
    fn new() -> Self {
        Program { facts: Default::default(), double: Table::new("double"), sum: Table::new("sum") }
    }

    fn commit(&mut self, changes: &[(u32, Option<i64>)]) {
        let mut dirty = Dirty::default();
        for (key, value) in changes {
            match value {
                Some(v) => self.facts.insert(*key, *v),
                None => self.facts.remove(key),
            };
            dirty.insert(Dep::Fact(*key));
        }
        let facts = &self.facts;
        let roots: Vec<u32> = changes.iter().map(|(k, _)| *k).collect();
        let mut next = Vec::new();
        self.double.update(
            &dirty,
            roots,
            |key, reads| {
                reads.record(Dep::Fact(key));
                facts.get(&key).map(|v| v.abs() * 2)
            },
            |change| next.push(Dep::Double(change.key)),
        );
        dirty.extend(next);
        let double = &self.double;
        self.sum.update(
            &dirty,
            0..4,
            |key, reads| {
                let range = key * 50..(key + 1) * 50;
                Some(
                    range
                        .map(|i| {
                            reads.record(Dep::Double(i));
                            double.get(i).copied().unwrap_or(0)
                        })
                        .sum(),
                )
            },
            |_| {},
        );
    }
}

#[test]
fn equal_output_stops_the_wave() {
    let mut program = Program::new();
    program.commit(&[(1, Some(3))]);
    let before = program.sum.counters();
    program.commit(&[(1, Some(-3))]);
    assert_eq!(program.double.counters(), Counters { recomputed: 2, changed: 1 });
    // Only the roots ran again, and nothing changed.
    assert_eq!(
        program.sum.counters(),
        Counters { recomputed: before.recomputed + 4, changed: before.changed }
    );
}

#[test]
fn reading_something_absent_wakes_on_creation() {
    let mut program = Program::new();
    program.commit(&[]);
    assert_eq!(program.sum.get(0), Some(&0));
    program.commit(&[(7, Some(5))]);
    assert_eq!(program.sum.get(0), Some(&10));
    program.commit(&[(7, None)]);
    assert_eq!(program.sum.get(0), Some(&0));
    assert!(program.double.get(7).is_none());
    assert!(program.double.reads(7).is_none(), "a unit that is gone keeps no reads");
}

#[test]
fn freed_ids_are_used_again_and_held_ones_stay() {
    let mut names: Interner<String> = Interner::default();
    let a = names.hold(&"a".to_owned());
    let again = names.hold(&"a".to_owned());
    assert_eq!(a, again);
    names.release(a);
    names.sweep();
    assert_eq!(names.get(a), Some(&"a".to_owned()));
    names.release(again);
    assert_eq!(names.get(a), Some(&"a".to_owned()), "an unheld id lives until the sweep");
    names.sweep();
    assert_eq!(names.get(a), None);
    assert!(names.is_empty());
    let b = names.hold(&"b".to_owned());
    assert_eq!(b, a, "the slot is used again");
}

proptest! {
    #[test]
    fn incremental_equals_from_scratch(steps in prop::collection::vec(prop::collection::vec((0u32..200, prop::option::of(-9i64..9)), 0..90), 1..12)) {
        let mut program = Program::new();
        for step in &steps {
            program.commit(step);
        }
        let mut fresh = Program::new();
        let all: Vec<_> = program.facts.iter().map(|(k, v)| (*k, Some(*v))).collect();
        fresh.commit(&all);
        let doubles: Vec<_> = program.double.iter_sorted().collect();
        prop_assert_eq!(doubles, fresh.double.iter_sorted().collect::<Vec<_>>());
        let sums: Vec<_> = program.sum.iter_sorted().collect();
        prop_assert_eq!(sums, fresh.sum.iter_sorted().collect::<Vec<_>>());
    }

    #[test]
    fn buckets_and_counts_return_to_empty(ops in prop::collection::vec((0u8..4, 0u8..4), 0..60)) {
        let mut buckets = Buckets::default();
        let mut counts = Counts::default();
        for (b, m) in &ops {
            if buckets.insert(*b, *m) { counts.increment(*b); }
            prop_assert_eq!(buckets.len(*b) as u32, counts.get(*b));
        }
        for (b, m) in &ops {
            if buckets.remove(*b, *m) { counts.decrement(*b); }
        }
        prop_assert_eq!(buckets.buckets().count(), 0);
        for (b, _) in &ops { prop_assert_eq!(counts.get(*b), 0); }
    }
}
