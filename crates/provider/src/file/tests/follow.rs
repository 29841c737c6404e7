//! What following finds, case by case.

use std::{io::Write, os::unix::fs::symlink, time::Instant};

use super::*;

/// Longer than any file takes to settle.
const SETTLED: Duration = Duration::from_millis(300);

#[tokio::test]
async fn the_first_update_is_complete_and_later_ones_hold_changes_only() {
    let (_guard, at) = folder();
    write(&at, "a.yaml", &format!("{}---\n{}", config_map("one", "1"), config_map("two", "2")));
    write(&at, "b.yaml", &config_map("three", "3"));
    let mut reader = Reader::at(&at).await;
    assert_eq!(reader.latest().revision, 1);
    assert_eq!(reader.contents().len(), 3);
    let before = reader.latest().work;
    write(&at, "a.yaml", &format!("# new\n{}---\n{}", config_map("one", "1"), config_map("two", "changed")));
    reader.until(&[("one", "1"), ("two", "changed"), ("three", "3")]).await;
    assert_eq!(reader.applied[3..], ["two"]);
    assert_eq!(reader.latest().work.judged - before.judged, 1);
}

#[tokio::test]
async fn changes_that_change_nothing_are_not_sent() {
    let (_guard, at) = folder();
    write(&at, "a.yaml", &config_map("one", "1"));
    let mut reader = Reader::at(&at).await;
    write(&at, "a.yaml", &format!("# comment\n{}", config_map("one", "1")));
    write(&at, "notes.txt", "x");
    write(&at, ".hidden.yaml", &config_map("two", "2"));
    fs::File::open(at.join("a.yaml")).unwrap();
    reader.is_quiet().await;
    fs::rename(at.join("a.yaml"), at.join("z.yaml")).unwrap();
    tokio::time::sleep(SETTLED).await;
    write(&at, "b.yaml", &config_map("two", "2"));
    reader.until(&[("one", "1"), ("two", "2")]).await;
    assert_eq!(reader.applied, ["one", "two"]);
}

#[tokio::test]
async fn an_idle_watch_reacts_at_once() {
    let (_guard, at) = folder();
    let mut reader = Reader::at(&at).await;
    let mut fastest = Duration::MAX;
    for round in 0..5 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let value = round.to_string();
        let start = Instant::now();
        rename_over(&at, "a.yaml", &config_map("one", &value));
        reader.until(&[("one", &value)]).await;
        fastest = fastest.min(start.elapsed());
    }
    assert!(fastest < Duration::from_millis(50), "{fastest:?}");
}

#[tokio::test]
async fn an_edit_costs_one_file_and_one_document() {
    let (_guard, at) = folder();
    for number in 0..50 {
        let name = format!("n{number}");
        let text = format!("{}---\n{}", config_map(&name, "1"), config_map(&format!("{name}-too"), "1"));
        write(&at, &format!("{name}.yaml"), &text);
    }
    let mut reader = Reader::at(&at).await;
    reader.is_quiet().await;
    let before = reader.latest().work;
    let text = format!("{}---\n{}", config_map("n7", "1"), config_map("n7-too", "2"));
    rename_over(&at, "n7.yaml", &text);
    reader.next().await;
    let after = reader.latest().work;
    let spent = (after.read - before.read, after.parsed - before.parsed, after.judged - before.judged);
    assert_eq!(spent, (1, 1, 1));
    assert_eq!(reader.latest().apply.len(), 1);
}

#[tokio::test]
async fn create_edit_replace_and_delete() {
    let (_guard, at) = folder();
    let mut reader = Reader::at(&at).await;
    reader.until_told("holds no *.yaml").await;
    write(&at, "a.yaml", &config_map("one", "1"));
    reader.until(&[("one", "1")]).await;
    assert_eq!(reader.messages(), "");
    write(&at, "a.yaml", &config_map("one", "2"));
    reader.until(&[("one", "2")]).await;
    rename_over(&at, "a.yaml", &config_map("one", "3"));
    reader.until(&[("one", "3")]).await;
    fs::hard_link(at.join("a.yaml"), at.join("copy")).unwrap();
    fs::remove_file(at.join("a.yaml")).unwrap();
    reader.until(&[]).await;
    fs::rename(at.join("copy"), at.join("a.yaml")).unwrap();
    reader.until(&[("one", "3")]).await;
}

#[tokio::test]
async fn a_file_given_directly_is_followed_by_its_name() {
    let (_guard, at) = folder();
    let mut reader = Reader::at(&at.join("late/a.conf")).await;
    assert_eq!(reader.latest().missing, [at.join("late/a.conf")]);
    reader.until_told("is read when it appears").await;
    fs::create_dir(at.join("late")).unwrap();
    write(&at, "late/other.yaml", &config_map("other", "0"));
    write(&at, "late/a.conf", &config_map("one", "1"));
    reader.until(&[("one", "1")]).await;
    assert!(reader.latest().missing.is_empty());
    rename_over(&at.join("late"), "a.conf", &config_map("one", "2"));
    reader.until(&[("one", "2")]).await;
    fs::remove_dir_all(at.join("late")).unwrap();
    reader.until(&[]).await;
    reader.until_told("does not exist").await;
}

#[tokio::test]
async fn half_written_content_is_not_taken_while_the_writer_has_it_open() {
    let (_guard, at) = folder();
    write(&at, "a.yaml", &config_map("one", "1"));
    let mut reader = Reader::at(&at).await;
    let mut file = fs::File::create(at.join("a.yaml")).unwrap();
    tokio::time::sleep(SETTLED).await;
    file.write_all(b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: o").unwrap();
    reader.is_quiet().await;
    file.write_all(b"ne\ndata:\n  key: two\n").unwrap();
    drop(file);
    reader.until(&[("one", "two")]).await;
    assert_eq!(reader.applied, ["one", "one"]);
}

#[tokio::test]
async fn a_mistake_keeps_the_last_good_content_and_other_files_go_on() {
    let (_guard, at) = folder();
    write(&at, "a.yaml", &config_map("one", "1"));
    let mut reader = Reader::at(&at).await;
    write(&at, "a.yaml", &format!("{}---\nkind: [\n", config_map("one", "2")));
    reader.until_told("last good content of this file stays in force").await;
    assert!(
        reader.messages().contains("a.yaml:8:") || reader.messages().contains("a.yaml:9:"),
        "{}",
        reader.messages()
    );
    assert!(!reader.latest().sources[0].good);
    write(&at, "b.yaml", &config_map("two", "2"));
    reader.until(&[("one", "1"), ("two", "2")]).await;
    fs::write(at.join("a.yaml"), b"\xff").unwrap();
    reader.until_told("not UTF-8").await;
    write(&at, "a.yaml", &config_map("one", "3"));
    reader.until(&[("one", "3"), ("two", "2")]).await;
    reader.until_fine().await;
}

#[tokio::test]
async fn an_emptied_file_counts_after_a_while() {
    let (_guard, at) = folder();
    write(&at, "a.yaml", &config_map("one", "1"));
    let mut reader = Reader::at(&at).await;
    write(&at, "a.yaml", "");
    tokio::time::sleep(Duration::from_millis(40)).await;
    write(&at, "a.yaml", &config_map("one", "1"));
    reader.is_quiet().await;
    write(&at, "a.yaml", "\n");
    reader.until(&[]).await;
}

#[tokio::test]
async fn saving_as_editors_do_never_removes_anything() {
    let (_guard, at) = folder();
    write(&at, "a.yaml", &config_map("one", "1"));
    write(&at, "z.yaml", &config_map("one", "other"));
    let mut reader = Reader::at(&at).await;
    for round in 0..3 {
        fs::write(at.join(".a.yaml.swp"), "x").unwrap();
        fs::write(at.join("4913"), "").unwrap();
        fs::remove_file(at.join("4913")).unwrap();
        fs::rename(at.join("a.yaml"), at.join("a.yaml~")).unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
        write(&at, "a.yaml", &config_map("one", &format!("edit{round}")));
        fs::remove_file(at.join("a.yaml~")).unwrap();
        reader.until(&[("one", &format!("edit{round}"))]).await;
        assert!(reader.latest().delete.is_empty());
    }
    assert_eq!(reader.applied.len(), 4);
}

#[tokio::test]
async fn a_mounted_config_map_is_swapped_as_one() {
    let (_guard, at) = folder();
    let version = |number: u32, names: &[&str]| {
        let data = at.join(format!("..{number}"));
        fs::create_dir(&data).unwrap();
        for name in names {
            write(&data, &format!("{name}.yaml"), &config_map(name, &number.to_string()));
        }
        symlink(format!("..{number}"), at.join("..data_tmp")).unwrap();
        fs::rename(at.join("..data_tmp"), at.join("..data")).unwrap();
    };
    version(1, &["one", "two"]);
    symlink("..data/one.yaml", at.join("one.yaml")).unwrap();
    symlink("..data/two.yaml", at.join("two.yaml")).unwrap();
    let mut reader = Reader::at(&at).await;
    for number in 2..5 {
        version(number, &["one", "two"]);
        fs::remove_dir_all(at.join(format!("..{}", number - 1))).unwrap();
        reader.until(&[("one", &number.to_string()), ("two", &number.to_string())]).await;
        assert_eq!(reader.latest().apply.len(), 2);
        assert!(reader.latest().delete.is_empty());
    }
    version(5, &["one"]);
    fs::remove_file(at.join("two.yaml")).unwrap();
    fs::remove_dir_all(at.join("..4")).unwrap();
    reader.until(&[("one", "5")]).await;
}

#[tokio::test]
async fn a_folder_may_be_replaced_and_return() {
    let (_guard, at) = folder();
    for (name, value) in [("live", "1"), ("next", "2")] {
        fs::create_dir(at.join(name)).unwrap();
        write(&at.join(name), "a.yaml", &config_map("one", value));
    }
    let mut reader = Reader::at(&at.join("live")).await;
    fs::rename(at.join("live"), at.join("old")).unwrap();
    fs::rename(at.join("next"), at.join("live")).unwrap();
    reader.until(&[("one", "2")]).await;
    fs::remove_dir_all(at.join("old")).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    write(&at.join("live"), "a.yaml", &config_map("one", "3"));
    reader.until(&[("one", "3")]).await;
    fs::remove_dir_all(at.join("live")).unwrap();
    reader.until(&[]).await;
    fs::create_dir(at.join("live")).unwrap();
    write(&at.join("live"), "a.yaml", &config_map("one", "4"));
    reader.until(&[("one", "4")]).await;
    write(&at.join("live"), "a.yaml", &config_map("one", "5"));
    reader.until(&[("one", "5")]).await;
}

#[tokio::test]
async fn a_linked_folder_and_folders_above_may_be_swapped() {
    let (_guard, at) = folder();
    for (name, value) in [("v1", "1"), ("v2", "2")] {
        fs::create_dir_all(at.join(name).join("conf")).unwrap();
        write(&at.join(name).join("conf"), "a.yaml", &config_map("one", value));
    }
    symlink("v1", at.join("current")).unwrap();
    let mut reader = Reader::at(&at.join("current/conf")).await;
    symlink("v2", at.join("new")).unwrap();
    fs::rename(at.join("new"), at.join("current")).unwrap();
    reader.until(&[("one", "2")]).await;
    write(&at.join("v2/conf"), "a.yaml", &config_map("one", "3"));
    reader.until(&[("one", "3")]).await;
    fs::rename(at.join("v2"), at.join("gone")).unwrap();
    reader.until(&[]).await;
    fs::rename(at.join("gone"), at.join("v2")).unwrap();
    reader.until(&[("one", "3")]).await;
}

#[tokio::test]
async fn of_two_declarations_the_other_takes_over() {
    let (_guard, at) = folder();
    write(&at, "a.yaml", &config_map("one", "first"));
    write(&at, "b.yaml", &config_map("one", "second"));
    let mut reader = Reader::at(&at).await;
    reader.until(&[("one", "first")]).await;
    reader.until_told("a.yaml:1 is in force").await;
    fs::remove_file(at.join("a.yaml")).unwrap();
    reader.until(&[("one", "second")]).await;
    reader.until_fine().await;
    write(&at, "a.yaml", &config_map("one", "first"));
    reader.until(&[("one", "first")]).await;
}

#[tokio::test]
async fn a_rejected_edit_leaves_the_last_accepted_version_in_force() {
    let (_guard, at) = folder();
    write(&at, "a.yaml", &config_map("one", "1"));
    write(&at, "b.yaml", &config_map("one", "other"));
    let mut reader = Reader::at(&at).await;
    write(&at, "a.yaml", &refused("one"));
    reader.until_told("last accepted version of this object stays in force").await;
    reader.is_quiet().await;
    assert_eq!(reader.contents()["one"], "1");
    fs::remove_file(at.join("b.yaml")).unwrap();
    fs::rename(at.join("a.yaml"), at.join("c.yaml")).unwrap();
    tokio::time::sleep(SETTLED).await;
    write(&at, "c.yaml", &format!("{}---\n{}", refused("one"), refused("two")));
    reader.until_told("two").await;
    reader.until(&[("one", "1")]).await;
    write(&at, "c.yaml", &config_map("one", "2"));
    reader.until(&[("one", "2")]).await;
    write(&at, "c.yaml", &refused("one"));
    reader.until_told("stays in force").await;
    fs::remove_file(at.join("c.yaml")).unwrap();
    reader.until(&[]).await;
}

#[tokio::test]
async fn a_slow_reader_gets_everything_merged() {
    let (_guard, at) = folder();
    let mut reader = Reader::at(&at).await;
    for round in 0..10 {
        write(&at, &format!("{round}.yaml"), &config_map(&format!("n{round}"), "1"));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    fs::remove_file(at.join("0.yaml")).unwrap();
    tokio::time::sleep(SETTLED).await;
    reader.next().await;
    assert_eq!(reader.contents().len(), 9);
    reader.is_quiet().await;
}

#[tokio::test]
async fn without_events_files_are_looked_at() {
    let (_guard, at) = folder();
    write(&at, "a.yaml", &config_map("one", "1"));
    let mut reader = Reader::polling(&at).await;
    reader.until(&[("one", "1")]).await;
    write(&at, "a.yaml", &config_map("one", "2"));
    reader.until(&[("one", "2")]).await;
    rename_over(&at, "b.yaml", &config_map("two", "2"));
    reader.until(&[("one", "2"), ("two", "2")]).await;
    fs::remove_file(at.join("a.yaml")).unwrap();
    reader.until(&[("two", "2")]).await;
    reader.is_quiet().await;
}

#[tokio::test]
async fn dropping_the_updates_ends_the_thread() {
    let (_guard, at) = folder();
    let inotify = || {
        let links = fs::read_dir("/proc/self/fd").unwrap().flatten();
        links
            .filter(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.to_string_lossy().contains("inotify")))
            .count()
    };
    let mut most = 0;
    for _ in 0..20 {
        let reader = Reader::at(&at).await;
        most = most.max(inotify());
        drop(reader);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Other tests of this process have their own.
    assert!(most < 20 + 15, "{most}");
}
