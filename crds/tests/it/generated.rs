//! The committed YAML is what the types say.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn templates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/fiorino-crds/templates")
}

#[test]
fn the_charts_templates_are_the_types() {
    let mut expected = Vec::new();
    for definition in fiorino_crds::all() {
        let file = fiorino_crds::file_name(&definition);
        let committed = fs::read_to_string(templates().join(&file)).unwrap_or_default();
        let current = fiorino_crds::yaml(&definition).unwrap();
        assert!(committed == current, "{file} is stale: run `cargo xtask crds`");
        expected.push(file);
    }
    let committed = fs::read_to_string(templates().join(fiorino_crds::WARNINGS)).unwrap_or_default();
    assert!(committed == fiorino_crds::warnings_yaml().unwrap(), "the warnings are stale: run `cargo xtask crds`");
    expected.push(fiorino_crds::WARNINGS.to_owned());
    let mut present: Vec<String> =
        fs::read_dir(templates()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    present.sort();
    expected.sort();
    assert_eq!(present, expected, "the chart has templates that are no kind");
}

#[test]
fn helm_reads_nothing_in_them_and_keeps_them() {
    for definition in fiorino_crds::all() {
        let yaml = fiorino_crds::yaml(&definition).unwrap();
        let kind = definition.spec.names.kind;
        assert!(!yaml.contains("{{"), "{kind} holds a template action");
        assert!(yaml.contains("helm.sh/resource-policy: keep"), "{kind} would go with the chart");
    }
}
