//! Random edits of a folder: following them leads to the same as reading the folder once.

use proptest::prelude::*;

use super::*;

/// An edit of one of a few files.
#[derive(Clone, Debug)]
enum Edit {
    Write(u8, Vec<(u8, u8)>),
    RenameOver(u8, Vec<(u8, u8)>),
    Break(u8),
    Empty(u8),
    Delete(u8),
    Move(u8, u8),
    Wait(u8),
}

fn edit() -> impl Strategy<Value = Edit> {
    let documents = || prop::collection::vec((0..6u8, 0..3u8), 0..5);
    let file = 0..4u8;
    prop_oneof![
        4 => (file.clone(), documents()).prop_map(|(file, documents)| Edit::Write(file, documents)),
        3 => (file.clone(), documents()).prop_map(|(file, documents)| Edit::RenameOver(file, documents)),
        1 => file.clone().prop_map(Edit::Break),
        1 => file.clone().prop_map(Edit::Empty),
        2 => file.clone().prop_map(Edit::Delete),
        2 => (file.clone(), file).prop_map(|(from, to)| Edit::Move(from, to)),
        2 => (0..200u8).prop_map(Edit::Wait),
    ]
}

fn text(documents: &[(u8, u8)]) -> String {
    documents
        .iter()
        .map(|(name, value)| format!("{}---\n", config_map(&format!("n{name}"), &value.to_string())))
        .collect()
}

async fn perform(at: &Path, edit: &Edit) {
    let name = |file: &u8| format!("{file}.yaml");
    match edit {
        Edit::Write(file, documents) => write(at, &name(file), &text(documents)),
        Edit::RenameOver(file, documents) => rename_over(at, &name(file), &text(documents)),
        Edit::Break(file) => write(at, &name(file), "kind: [\n"),
        Edit::Empty(file) => write(at, &name(file), ""),
        Edit::Delete(file) => drop(fs::remove_file(at.join(name(file)))),
        Edit::Move(from, to) => drop(fs::rename(at.join(name(from)), at.join(name(to)))),
        Edit::Wait(time) => tokio::time::sleep(Duration::from_millis(u64::from(*time))).await,
    }
}

/// Edits a watched folder, mends what is broken in the end, and compares.
async fn follow(edits: Vec<Edit>) {
    let (_guard, at) = folder();
    let mut reader = Reader::at(&at).await;
    for edit in &edits {
        perform(&at, edit).await;
    }
    for file in 0..4 {
        let path = at.join(format!("{file}.yaml"));
        if fs::read_to_string(&path).is_ok_and(|text| text.contains('[')) {
            write(&at, &format!("{file}.yaml"), &config_map("mended", "1"));
        }
    }
    let fresh = once(std::slice::from_ref(&at));
    let expected = contents(&fresh.objects);
    let expected: Vec<_> = expected.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    reader.until(&expected).await;
    let same = async {
        while reader.latest().problems != fresh.problems || reader.latest().sources != fresh.sources {
            reader.next().await;
        }
    };
    if timeout(SOON, same).await.is_err() {
        panic!("{:?} instead of {:?}", reader.latest(), fresh);
    }
    reader.until(&expected).await;
    let objects: Vec<_> = reader.objects.values().cloned().collect();
    assert_eq!(objects, fresh.objects);
}

proptest! {
    // About 0.4 s each: mostly waiting for files to settle.
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn following_equals_reading(edits in prop::collection::vec(edit(), 1..14)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(follow(edits));
    }
}
