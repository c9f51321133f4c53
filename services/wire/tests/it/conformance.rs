//! docs/conformance.md: complete, by the official schema and the tables below; true, because every test that it names exists.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use fiorino_rig::{contracts, workspace_root};
use libxml::{
    parser::Parser,
    tree::{Document, Node},
};

struct Line {
    number: usize,
    rule: String,
    source: String,
    test: String,
}

/// Faults that verify and get answer (pagopa.md 2.10): each is a cell per operation.
const FAULTS: [&str; 12] = [
    "PAA_SINTASSI_EXTRAXSD",
    "PAA_SINTASSI_XSD",
    "PAA_ID_DOMINIO_ERRATO",
    "PAA_ID_INTERMEDIARIO_ERRATO",
    "PAA_STAZIONE_INT_ERRATA",
    "PAA_PAGAMENTO_SCONOSCIUTO",
    "PAA_PAGAMENTO_DUPLICATO",
    "PAA_PAGAMENTO_IN_CORSO",
    "PAA_PAGAMENTO_ANNULLATO",
    "PAA_PAGAMENTO_SCADUTO",
    "PAA_SEMANTICA",
    "PAA_SYSTEM_ERROR",
];

/// Examples of pagopa.md 7.2, as their lines begin.
const EXAMPLES: &[&str] = &[
    "verify: KO without fault",
    "verify: empty tags",
    "verify: two options",
    "verify: amount `11,34`",
    "verify: amount `11.342`",
    "verify: amount `1219087657.34`",
    "verify: dueDate `12-28-2022`",
    "verify: allCCP `3`",
    "verify: texts of 141 characters",
    "verify: no paymentDescription",
    "verify: no fiscalCodePA",
    "verify: no companyName",
    "payment: amount `0.00`",
    "payment: amount `11.3`",
    "payment: country `ITA`",
    "payment: country `it`",
    "payment: e-mail without @",
    "payment: six transfers",
    "payment: idTransfer `6`",
    "payment: idTransfer `11`",
    "payment: idTransfer `a`",
    "payment: fiscalCodePA of 12 digits",
    "payment: IBAN of 36 characters",
    "payment: no dueDate",
    "payment: no description",
    "payment: no debtor",
    "payment: no transferList",
    "SEM_PGPR_01",
    "SEM_PGPR_02",
    "SEM_PGPR_03",
    "SEM_PGPR_05",
    "Mod4: paDemandPaymentNotice",
    "MBD/flows/paSendRTV2",
    "PSRT_19",
    "gestioneReceiptMb: primary and broadcast",
    "gestioneReceiptMb_08",
    "gestioneReceiptMb_11",
    "gestioneReceiptMb: timeout",
    "NewMod1: paGetPaymentV2",
    "NewMod3/flows: idempotency",
    "NewMod3/flows: token expiry",
    "NewMod3/flows: concurrent activation",
    "NewMod3/flows: duplicated outcome",
];

/// Rules of ARCHITECTURE.md 4.4, 5.3, 6.3 on receipts, by the tests of the node-connector.
const RECEIPTS: [&str; 14] = [
    "raw_message_is_committed_before_the_answer",
    "equal_repetition_is_receipt_duplicata_and_kept",
    "same_key_with_other_content_is_a_second_version_and_a_case",
    "institution_never_ours_is_refused_with_a_case",
    "broker_never_ours_is_refused_with_a_case",
    "station_never_ours_is_refused_with_a_case",
    "saved_institution_needs_no_tenant",
    "unknown_institution_with_tenant_away_is_stored_and_503",
    "retry_after_503_is_judged_again",
    "suspended_closed_or_unmanaged_is_accepted",
    "schema_violations_are_accepted_with_a_case",
    "unreadable_body_is_stored_and_500",
    "database_away_is_503",
    "path_that_differs_from_the_body_is_only_a_case",
];

#[test]
fn conformance_is_complete_and_true() {
    let lines = lines(&fs_err::read_to_string(workspace_root().join("docs/conformance.md")).unwrap());
    let mut faults = numbering(&lines);
    faults.extend(missing(&lines));
    faults.extend(lines.iter().filter_map(untrue));
    assert!(faults.is_empty(), "docs/conformance.md:\n{}", faults.join("\n"));
}

/// The schema derives what must have a line: a test that derives nothing would always hold.
#[test]
fn the_schema_tells_what_is_required() {
    let Some(required) = required_by_the_schema() else { return };
    for key in
        ["`stText35` maxLength `35`", "`stAmountOption` enumeration `EQ` `LS` `GT` `ANY`", "`stISODate` is `xsd:date`"]
    {
        assert!(required.contains(key), "{key} of {required:?}");
    }
    for key in ["`xsd:boolean` as the type", "`ctPaymentPAV2` sequence", "`ctMetadata` sequence"] {
        assert!(required.contains(key), "{key} of {required:?}");
    }
    // In the file, but in no message of the six operations.
    assert!(!required.iter().any(|key| key.contains("stPassword") || key.contains("stIUVBase")));
    assert!(required.len() > 70, "{}", required.len());
}

fn lines(document: &str) -> Vec<Line> {
    let rows = document.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let cells = rows.map(|row| row.split(" | ").collect::<Vec<_>>());
    let lines = cells.filter_map(|cells| match cells.as_slice() {
        [number, rule, source, test] => Some(Line {
            number: number.parse().ok()?,
            rule: (*rule).to_owned(),
            source: (*source).to_owned(),
            test: test.trim_matches('`').to_owned(),
        }),
        ["no.", ..] => None,
        _ => panic!("not four cells: {cells:?}"),
    });
    lines.collect()
}

fn numbering(lines: &[Line]) -> Vec<String> {
    let wrong = lines.iter().zip(1..).find(|(line, expected)| line.number != *expected);
    let mut faults: Vec<_> =
        wrong.map(|(line, expected)| format!("line {} should be {expected}", line.number)).into_iter().collect();
    faults.extend(
        lines.iter().filter(|line| line.source.is_empty()).map(|line| format!("line {} names no source", line.number)),
    );
    let mut rules = BTreeSet::new();
    faults.extend(
        lines
            .iter()
            .filter(|line| !rules.insert(&line.rule))
            .map(|line| format!("line {} repeats a rule", line.number)),
    );
    faults
}

fn missing(lines: &[Line]) -> Vec<String> {
    let has = |key: &str| lines.iter().any(|line| line.rule.starts_with(key));
    let cells = FAULTS.iter().flat_map(|fault| ["verify", "get"].map(|operation| (*fault, operation)));
    let cells = cells.filter(|(fault, operation)| {
        let test = format!("fiorino-node-connector::it::faults::{}_{operation}", fault.to_lowercase());
        let rule = format!("`{fault}` on {operation}");
        !lines.iter().any(|line| line.rule == rule && line.test == test)
    });
    let mut faults: Vec<_> = cells.map(|(fault, operation)| format!("no line for {fault} on {operation}")).collect();
    let schema = required_by_the_schema().unwrap_or_default();
    let keys = schema.iter().map(String::as_str).chain(EXAMPLES.iter().copied());
    faults.extend(keys.filter(|key| !has(key)).map(|key| format!("no line for {key}")));
    let receipts = RECEIPTS.iter().map(|name| format!("fiorino-node-connector::it::receipts::{name}"));
    faults.extend(
        receipts.filter(|test| !lines.iter().any(|line| line.test == *test)).map(|test| format!("no line for {test}")),
    );
    faults
}

/// Why the test that a line names does not exist.
fn untrue(line: &Line) -> Option<String> {
    let why = |why: &str| Some(format!("line {}: {}: {why}", line.number, line.test));
    let parts: Vec<_> = line.test.split("::").collect();
    let [package, "it", module, .., function] = parts.as_slice() else {
        return why("must be crate::it::module::function");
    };
    let Some(dir) = crate_dir(package) else { return why("no such crate") };
    let it = workspace_root().join(dir).join("tests/it");
    let mut files = vec![it.join(format!("{module}.rs"))];
    files.extend(sources(&it.join(module)));
    let found =
        files.iter().filter_map(|file| std::fs::read_to_string(file).ok()).any(|source| is_test(&source, function));
    if found { None } else { why("no such test") }
}

/// Whether the source has a function of that name with a test's attribute.
fn is_test(source: &str, function: &str) -> bool {
    let name = format!("fn {function}(");
    source.match_indices(&name).any(|(at, _)| {
        let above = &source[..at];
        let item = above.rfind("\n\n").map_or(above, |begin| &above[begin..]);
        ["#[test]", "#[rstest]", "#[tokio::test"].iter().any(|attribute| item.contains(attribute))
    })
}

fn crate_dir(package: &str) -> Option<PathBuf> {
    let manifest = fs_err::read_to_string(workspace_root().join("Cargo.toml")).unwrap();
    let line = manifest.lines().find(|line| line.starts_with(&format!("{package} = {{ path = ")))?;
    line.split('"').nth(1).map(PathBuf::from)
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// How the lines begin that the official schema asks for: every facet of every simple type and every sequence that a message of the
/// six operations can reach.
fn required_by_the_schema() -> Option<BTreeSet<String>> {
    let dir = contracts()?.join("pagopa/soap-paForNode");
    let parse = |file: &str| Parser::default().parse_file(dir.join(file).to_str().unwrap()).unwrap();
    let schema = parse("wsdl/xsd/paForNode.xsd");
    let common = parse("xsd-common/sac-common-types-1.0.xsd");
    let types: BTreeMap<_, _> = [("tns", &schema), ("common", &common)]
        .into_iter()
        .flat_map(|(prefix, document)| top(document).into_iter().map(move |node| (prefix, node)))
        .filter(|(_, node)| node.get_name() != "element")
        .filter_map(|(prefix, node)| Some((format!("{prefix}:{}", node.get_attribute("name")?), node)))
        .collect();
    let elements = top(&schema).into_iter().filter(|node| node.get_name() == "element");
    let mut open: Vec<_> = elements.filter_map(|node| node.get_attribute("type")).collect();
    let (mut seen, mut required) = (BTreeSet::new(), BTreeSet::new());
    while let Some(name) = open.pop() {
        // The common file names its own types without a prefix.
        let known = types.get_key_value(&name).or_else(|| types.get_key_value(&format!("common:{name}")));
        match known {
            Some((full, node)) if seen.insert(full.clone()) => {
                required.extend(keys(node));
                open.extend(references(node));
            }
            Some(_) => {}
            None => drop(required.insert(format!("`{name}` as the type"))),
        }
    }
    Some(required)
}

fn top(document: &Document) -> Vec<Node> {
    document.get_root_element().unwrap().get_child_elements()
}

/// What a type must have lines for.
fn keys(node: &Node) -> Vec<String> {
    let name = node.get_attribute("name").unwrap();
    if node.get_name() == "complexType" {
        return vec![format!("`{name}` sequence")];
    }
    let restriction = node.get_child_elements().into_iter().find(|child| child.get_name() == "restriction").unwrap();
    let mut facets: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for facet in restriction.get_child_elements() {
        facets.entry(facet.get_name()).or_default().push(format!("`{}`", facet.get_attribute("value").unwrap()));
    }
    if facets.is_empty() {
        return vec![format!("`{name}` is `{}`", restriction.get_attribute("base").unwrap())];
    }
    facets.into_iter().map(|(facet, values)| format!("`{name}` {facet} {}", values.join(" "))).collect()
}

/// The types that a complex type names.
fn references(node: &Node) -> Vec<String> {
    let mut names = Vec::new();
    for child in node.get_child_elements() {
        if node.get_name() == "simpleType" {
            continue;
        }
        names.extend(child.get_attribute("type").or_else(|| child.get_attribute("base")));
        names.extend(references(&child));
    }
    names
}
