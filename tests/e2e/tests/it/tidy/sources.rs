//! Rules that no type can hold, read off the sources.

use std::collections::{BTreeMap, BTreeSet};

use super::{below, files, packages, text};

/// What calls by which a client of the API server writes begin with.
const WRITES: [&str; 6] = ["create", "delete", "entry", "evict", "patch", "replace"];

#[test]
fn no_service_names_anothers_tables() {
    let (files, packages) = (files(), packages());
    let mut owners = BTreeMap::<String, BTreeSet<&str>>::new();
    for (service, dir) in &packages {
        for migration in below(&files, &format!("{dir}/migrations"), "sql") {
            for table in words_after(&text(migration), "create table") {
                owners.entry(table).or_default().insert(service);
            }
        }
    }
    assert!(owners.len() > 20, "{owners:?}");
    let mut foreign = Vec::new();
    // Operator included, though it has no database; libraries work on tables that each service creates for itself.
    for (service, dir) in packages.iter().filter(|(_, dir)| files.contains(&format!("{dir}/src/main.rs"))) {
        for source in below(&files, &format!("{dir}/src"), "rs") {
            let named =
                ["from", "join", "into", "update", "table"].map(|word| words_after(&text(source), word)).concat();
            let others =
                named.iter().filter(|table| owners.get(*table).is_some_and(|of| !of.contains(service.as_str())));
            foreign.extend(others.map(|table| format!("{source}: {table}")));
        }
    }
    assert!(foreign.is_empty(), "{}", foreign.join("\n"));
}

#[test]
fn the_state_of_a_notice_is_written_in_one_place() {
    let files = files();
    let mut places = BTreeSet::new();
    for source in below(&files, "services/tenant/src", "rs") {
        let text = text(source);
        let statements = text.split("\"update notice").skip(1).filter_map(|rest| rest.split('"').next());
        if statements.into_iter().any(|statement| statement.contains("state =")) {
            places.insert(source.as_str());
        }
    }
    assert_eq!(places, BTreeSet::from(["services/tenant/src/positions/transition.rs"]));
}

#[test]
fn amounts_are_integer_cents() {
    let files = files();
    let mut wrong = Vec::new();
    let mut seen = 0;
    let sql = files.iter().filter(|file| file.contains("/migrations/"));
    for file in below(&files, "proto", "proto").into_iter().chain(sql) {
        for line in text(file).lines().map(str::trim).filter(|line| !line.starts_with("--") && !line.starts_with("//"))
        {
            // Whether a column may be absent changes nothing of its type.
            let amount = line.split(' ').any(|word| word.ends_with("_cents")) && !line.ends_with("drop not null;");
            seen += usize::from(amount);
            let whole = ["int64 ", " bigint", " int8"].iter().any(|kind| line.contains(kind));
            let fraction =
                ["float", "double", "numeric", "decimal", " real", " money"].iter().any(|kind| line.contains(kind));
            if amount && !whole || fraction {
                wrong.push(format!("{file}: {line}"));
            }
        }
    }
    assert!(seen > 10, "only {seen} amounts were seen");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_operator_writes_statuses_finalizers_and_its_lease_alone() {
    let files = files();
    let mut writes = BTreeSet::new();
    for source in below(&files, "operator/src", "rs") {
        let text = text(source);
        let calls = text.split('.').skip(1).filter_map(|rest| rest.split_once('(')).map(|(call, _)| call);
        let of_a_client = calls.filter(|_| text.contains("Api<") || text.contains("Api::"));
        let written = of_a_client.filter(|call| WRITES.contains(&call.split('_').next().unwrap()));
        writes.extend(written.map(|call| format!("{}: {call}", source.rsplit('/').next().unwrap())));
    }
    // Events are published by kube's recorder, which writes nothing else; `patch` is the executor's own function.
    let expected = [
        "apply.rs: patch",
        "apply.rs: patch_metadata",
        "apply.rs: patch_status",
        "lease.rs: create",
        "lease.rs: replace",
    ];
    assert_eq!(writes, BTreeSet::from(expected.map(str::to_owned)));
}

/// `notify` takes a lock of the whole database at commit: money is not written under it (ARCHITECTURE.md 4.8).
#[test]
fn configuration_alone_notifies() {
    let files = files();
    let mut places = BTreeSet::new();
    for source in below(&files, "services", "rs").into_iter().chain(below(&files, "services", "sql")) {
        let calls = text(source).contains("pg_notify(") || text(source).contains("\"notify ");
        places.extend((calls && !source.contains("/tests/")).then(|| source.clone()));
    }
    assert_eq!(places, BTreeSet::from(["services/tenant/src/configuration/wake.rs".to_owned()]));
}

/// Where a process can be told to die, it is told to: by the tests of `tests/chaos`, which find the points in their table.
#[test]
fn every_fault_point_is_tried_and_documented() {
    let files = files();
    let mut named = BTreeSet::new();
    for source in below(&files, "services", "rs").into_iter().filter(|source| source.contains("/src/")) {
        let text = text(source);
        let points = text.split("fault::point(\"").skip(1).filter_map(|rest| rest.split('"').next());
        named.extend(points.map(str::to_owned));
    }
    assert!(named.len() > 5, "{named:?}");
    let (table, document) = (text("tests/chaos/src/fault.rs"), text("docs/chaos.md"));
    let lacking: Vec<_> = named
        .iter()
        .filter(|point| {
            !table.contains(&format!("name: \"{point}\"")) || !document.contains(&format!("\n| `{point}` |"))
        })
        .collect();
    assert!(lacking.is_empty(), "{lacking:?}");
}

/// A busy machine makes everything last longer: an upper limit stretches with it (`Stopwatch::within`, `within`, `eventually`).
#[test]
fn tests_have_no_limit_that_a_busy_machine_breaks() {
    let files = files();
    let sources = ["services", "operator", "tests"].map(|dir| below(&files, dir, "rs")).concat();
    let tests = sources.into_iter().filter(|source| source.contains("/tests/"));
    let mut wrong = Vec::new();
    let mut measured = 0;
    for source in tests {
        for line in text(source).lines() {
            measured += usize::from(line.contains(".within("));
            if line.contains(concat!("elapsed() ", "<")) {
                wrong.push(format!("{source}: {}", line.trim()));
            }
        }
    }
    assert!(measured > 20, "{measured}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The word that follows each `keyword`.
fn words_after(text: &str, keyword: &str) -> Vec<String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let keyword = format!("{keyword} ");
    let found = text.match_indices(&keyword).filter(|(at, _)| !text[..*at].ends_with(is_word));
    let rest = found.map(|(at, _)| &text[at + keyword.len()..]);
    rest.map(|rest| rest.chars().take_while(|c| is_word(*c)).collect()).collect()
}
