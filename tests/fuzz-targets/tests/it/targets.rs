//! A short run of every fuzz target: the same inputs each time, on the compiler that everything else is built with.

use std::{
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
};

use fiorino_fuzz_targets::{ALL, Target, mutate::Mutator, target};
use rstest::rstest;

/// Runs it; a panic is told with the input that led to it.
fn run(target: &Target, input: &[u8]) {
    let held = catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_ok();
    assert!(held, "{} fell over: b\"{}\"", target.name, input.escape_ascii());
}

#[rstest]
#[case("message")]
#[case("receipt")]
#[case("codes")]
#[case("registry")]
#[case("head")]
#[case("event")]
#[case("bundle")]
#[case("config_stream")]
#[case("certificate")]
#[case("portal")]
#[case("positions")]
#[case("receipts")]
#[case("manifests")]
fn mutated_inputs_break_nothing(#[case] name: &str) {
    let target = target(name).unwrap();
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty());
    for input in seeds.iter().map(Vec::as_slice).chain([&[][..], &[0], &[0xff; 64]]) {
        run(target, input);
    }
    let mut mutator = Mutator::new(0x000f_1021_1104);
    for _ in 0..target.iterations {
        run(target, &mutator.input(&seeds, target.dictionary));
    }
}

#[test]
fn the_mutator_makes_the_same_of_the_same_and_much_of_it() {
    let seeds = [b"seed".to_vec(), b"other seed".to_vec()];
    let row = |seed| {
        let mut mutator = Mutator::new(seed);
        (0..1_000).map(|_| mutator.input(&seeds, &["word"])).collect::<Vec<_>>()
    };
    assert_eq!(row(1), row(1));
    assert_ne!(row(1), row(2));
    let different: HashSet<_> = row(1).into_iter().collect();
    assert!(different.len() > 700, "{}", different.len());
    assert!(different.iter().any(|input| input.windows(4).any(|window| window == b"word")));
}

/// What is mutated begins where readers have gone all the way.
#[test]
fn seeds_are_read_to_their_end() {
    use fiorino_proto::{
        config::v1::ApplyBundleRequest, positions::v1::CreatePositionsRequest, receipts::v1::ApplyReceiptsRequest,
    };
    use prost::Message as _;

    let seeds = |name| (target(name).unwrap().seeds)();
    for seed in seeds("bundle") {
        let request = ApplyBundleRequest::decode(seed.as_slice()).unwrap();
        fiorino_tenant::configuration::fuzz::bundle(request).unwrap();
    }
    let messages = seeds("message");
    let read = messages.iter().filter(|seed| fiorino_wire::read(&seed[1..], &fiorino_wire::Limits::default()).is_ok());
    assert!(read.count() >= 5, "of {}", messages.len());
    let entries: Vec<_> = seeds("registry").iter().map(|seed| fiorino_node_connector::fuzz::registry(seed)).collect();
    assert_eq!(entries, [[Some(1), None], [None, Some(1)], [Some(0), Some(0)]]);
    let known =
        seeds("certificate").iter().filter(|seed| fiorino_node_connector::fuzz::certificate(seed).0.is_some()).count();
    assert_eq!(known, 2);
    for seed in seeds("positions") {
        let request = CreatePositionsRequest::decode(seed.as_slice()).unwrap();
        for new in &request.positions {
            fiorino_tenant::positions::fuzz::position("position", new).unwrap();
        }
    }
    let applied = |seed: &Vec<u8>| {
        let request = ApplyReceiptsRequest::decode(seed.as_slice()).unwrap();
        fiorino_tenant::receipts::fuzz::apply(request.receipts, false).outcomes
    };
    let outcomes: HashSet<_> = seeds("receipts").iter().flat_map(applied).collect();
    assert_eq!(outcomes.len(), 4, "all but UNSPECIFIED: {outcomes:?}");
    let bundles: Vec<_> =
        seeds("manifests").iter().map(|seed| fiorino_fuzz_targets::manifests::bundles(seed)).collect();
    let mut sent: Vec<_> = bundles.iter().flatten().map(|it| (it.resources().count(), it.keep.len())).collect();
    sent.sort_unstable();
    assert_eq!(sent, [(2, 0), (6, 0), (6, 0)], "{bundles:?}");
    let asked = seeds("portal").into_iter().filter(|seed| {
        let query = String::from_utf8_lossy(seed).lines().next().unwrap_or_default().to_owned();
        let uri = format!("/avviso?{query}").parse().unwrap();
        matches!(fiorino_front_office::fuzz::query(&uri), Some(fiorino_front_office::fuzz::Read::Asked(..)))
    });
    assert_eq!(asked.count(), 4);
}

/// A target for cargo-fuzz is a file of the same name, and none is forgotten here.
#[test]
fn every_target_is_run_by_cargo_fuzz_too() {
    let dir = fiorino_rig::workspace_root().join("tests/fuzz");
    let manifest = fs_err::read_to_string(dir.join("Cargo.toml")).unwrap();
    let this = include_str!("targets.rs");
    for Target { name, .. } in ALL {
        let source = fs_err::read_to_string(dir.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(source.contains(&format!("target(\"{name}\")")), "{source}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in {manifest}");
        assert!(this.contains(&format!("#[case(\"{name}\")]")), "{name} is not run here");
    }
}
