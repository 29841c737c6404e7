//! Fragments are found by name, in whatever order the translator has them.

use std::sync::Arc;

use ir::resource::Fragment;
use proptest::prelude::*;

use crate::session::holders::for_each_new_fragment;

fn fragment((name, hash): (u8, u64)) -> Arc<Fragment> {
    let name = Arc::from(name.to_string());
    Arc::new(Fragment { name, bytes: bytes::Bytes::new(), hash, clusters: [].into(), owners: [].into() })
}

/// Fragments with distinct names in any order.
fn fragments() -> impl Strategy<Value = Vec<(u8, u64)>> {
    prop::collection::btree_map(0u8..40, 0u64..3, 0..40)
        .prop_map(|m| m.into_iter().collect::<Vec<_>>())
        .prop_shuffle()
}

proptest! {
    #[test]
    fn what_differs_is_found_in_any_order(base in fragments(), new in fragments(), shared in prop::collection::vec(any::<bool>(), 40)) {
        let base: Vec<Arc<Fragment>> = base.into_iter().map(fragment).collect();
        // Some of the equal ones are the same allocation, as after a commit that did not touch them.
        let new: Vec<Arc<Fragment>> = new.into_iter().enumerate().map(|(i, f)| {
            let made = fragment(f);
            let same = base.iter().find(|b| b.name == made.name && b.hash == made.hash).filter(|_| shared[i]);
            same.cloned().unwrap_or(made)
        }).collect();
        let mut found = Vec::new();
        for_each_new_fragment(&new, &base, |fragment, before| {
            found.push((fragment.name.clone(), before.map(|b| b.hash)));
        });
        let expected: Vec<_> = new.iter().filter_map(|f| {
            let before = base.iter().find(|b| b.name == f.name);
            before.is_none_or(|b| b.hash != f.hash).then(|| (f.name.clone(), before.map(|b| b.hash)))
        }).collect();
        prop_assert_eq!(found, expected);
    }
}
