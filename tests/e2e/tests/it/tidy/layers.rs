//! Who may depend on whom.

use std::collections::{BTreeMap, BTreeSet};

use super::{files, packages, text};

/// Whoever depends on one of these does IO, or is about to.
const IO: [&str; 13] = [
    "axum",
    "hyper",
    "kube",
    "kube-client",
    "mio",
    "rdkafka",
    "reqwest",
    "rustls",
    "socket2",
    "sqlx",
    "sqlx-core",
    "tokio",
    "tonic",
];

/// What each package of the workspace and of `Cargo.lock` depends on. Of the lock's own packages tests are not among it.
struct Graph(BTreeMap<String, BTreeSet<String>>);

#[test]
fn the_pure_crates_depend_on_nothing_that_does_io() {
    let graph = Graph::read();
    for pure in ["fiorino-domain", "fiorino-wire", "fiorino-crds"] {
        let all = graph.all_of(pure);
        assert!(all.contains("serde") || all.contains("quick-xml"), "{pure} depends on {all:?}");
        let io: Vec<_> = IO.iter().filter(|name| all.contains(**name)).collect();
        assert!(io.is_empty(), "{pure} depends on {io:?}");
    }
}

#[test]
fn no_service_depends_on_another() {
    let (files, packages) = (files(), packages());
    let has_process = |dir: &str| files.contains(&format!("{dir}/src/main.rs"));
    let is_service = |dir: &str| (dir == "operator" || dir.starts_with("services/")) && has_process(dir);
    let services: BTreeSet<_> =
        packages.iter().filter(|(_, dir)| is_service(dir)).map(|(name, _)| name.clone()).collect();
    assert!(services.len() >= 4, "{services:?}");
    for (name, dir) in packages.iter().filter(|(name, _)| services.contains(name)) {
        let direct = direct(dir, |_| true);
        let others: Vec<_> = direct.intersection(&services).collect();
        assert!(others.is_empty(), "{name} depends on {others:?}");
    }
}

#[test]
fn kit_knows_nothing_of_payments() {
    let all = Graph::read().all_of("fiorino-kit");
    let ours: Vec<_> = all.iter().filter(|name| name.starts_with("fiorino-")).collect();
    assert!(ours.is_empty(), "fiorino-kit depends on {ours:?}");
}

#[test]
fn the_simulator_shares_no_code_with_what_it_judges() {
    let all = Graph::read().all_of("fiorino-simulator");
    let ours: Vec<_> = all.iter().filter(|name| name.starts_with("fiorino-")).collect();
    assert!(ours.is_empty(), "the simulator depends on {ours:?}");
}

// === impl Graph ===

impl Graph {
    fn read() -> Self {
        let lock = text("Cargo.lock");
        let mut graph = BTreeMap::<String, BTreeSet<String>>::new();
        for package in lock.split("[[package]]").skip(1) {
            let quoted = |line: &str| line.split('"').nth(1).map(str::to_owned);
            let name = package.lines().find(|line| line.starts_with("name = ")).and_then(quoted).unwrap();
            let listed = package.lines().filter(|line| line.starts_with(" \"")).filter_map(quoted);
            // `name version` where there are several.
            let names = listed.map(|entry| entry.split(' ').next().unwrap().to_owned());
            graph.entry(name).or_default().extend(names);
        }
        for (name, dir) in packages() {
            graph.insert(name, direct(&dir, |section| section == "dependencies"));
        }
        Self(graph)
    }

    /// Everything that a package needs at run time.
    fn all_of(&self, package: &str) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        let mut open = vec![package];
        while let Some(name) = open.pop() {
            let needed = self.0.get(name).unwrap_or_else(|| panic!("{name} is not in Cargo.lock"));
            open.extend(needed.iter().filter(|name| all.insert((*name).clone())).map(String::as_str));
        }
        all
    }
}

/// What a package's manifest names in the sections that are wanted: `dependencies`, `dev-dependencies`, `build-dependencies`.
fn direct(dir: &str, wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let manifest = text(&format!("{dir}/Cargo.toml"));
    let sections = manifest.split("\n[").filter(|section| {
        let title = section.split(']').next().unwrap();
        title.ends_with("dependencies") && wanted(title)
    });
    let entries = sections.flat_map(|section| section.lines().skip(1));
    let names = entries.filter_map(|line| line.split(['.', ' ', '=']).next());
    names.filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic())).map(str::to_owned).collect()
}
