//! docs/cases.md has a row for every kind, and none for another.

use std::collections::BTreeSet;

use fiorino_domain::case::CaseKind;
use fiorino_test_support::workspace_root;

#[test]
fn every_kind_has_its_meaning_and_its_remedy() {
    let page = std::fs::read_to_string(workspace_root().join("docs/cases.md")).unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split(" | ").collect())
        .collect();
    let mut documented = BTreeSet::new();
    for row in &rows {
        let [kind, by, means, remedy] = row.as_slice() else { panic!("four columns: {row:?}") };
        let kind = kind.trim().trim_matches('`');
        assert!(documented.insert(kind), "{kind} twice");
        let parts = ["tenant", "reporting", "tenant, reporting"];
        assert!(parts.contains(&by.trim()), "{kind} is opened by {by}");
        for text in [means, remedy] {
            assert!(text.trim().len() >= 20 && text.trim().ends_with('.'), "{kind}: {text:?} is no sentence");
        }
    }
    let kinds: BTreeSet<&str> = CaseKind::ALL.iter().map(CaseKind::as_str).collect();
    assert_eq!(documented, kinds);
}
