//! The documents are true as far as a program can tell: paths, tests and sections that they name exist.

use std::path::Path;

use super::{files, has_extension, packages, text};

/// What a path without a directory ends in.
const EXTENSIONS: [&str; 5] = [".rs", ".sql", ".proto", ".toml", ".yaml"];

/// Hosts of package registries, in parts, so that this file does not name them either.
const REGISTRIES: [&[&str]; 10] = [
    &["crates", "io"],
    &["pypi", "org"],
    &["pythonhosted", "org"],
    &["proxy", "golang", "org"],
    &["sum", "golang", "org"],
    &["npmjs", "org"],
    &["npmjs", "com"],
    &["repo", "maven", "apache", "org"],
    &["repo1", "maven", "org"],
    &["plugins", "gradle", "org"],
];

/// Directories of machines on which this was written or built, in parts for the same reason.
const MACHINES: [&[&str]; 4] = [&["", "root"], &["", "work"], &["", "tmp", "brief"], &["", "home"]];

/// Lock files name where packages come from.
const LOCKS: [&str; 2] = ["Cargo.lock", "go.sum"];

#[test]
fn links_and_paths_lead_somewhere() {
    let files = files();
    let mut dead = Vec::new();
    for document in documents(&files) {
        let text = prose(&text(document));
        let dir = Path::new(document).parent().unwrap();
        let paths = spans(&text).into_iter().filter(|span| is_path(span) && !exists(&files, span));
        dead.extend(paths.map(|path| format!("{document}: {path}")));
        let targets = links(&text).into_iter().filter(|link| !exists_at(&files, &dir.join(link)));
        dead.extend(targets.map(|link| format!("{document}: link to {link}")));
    }
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

#[test]
fn named_tests_exist() {
    let files = files();
    let mut missing = Vec::new();
    let mut named = 0;
    for document in documents(&files) {
        let text = text(document);
        let tests = spans(&text).into_iter().filter(|span| is_test_name(span)).collect::<Vec<_>>();
        named += tests.len();
        missing.extend(tests.iter().filter(|test| !has_test(&files, test)).map(|test| format!("{document}: {test}")));
    }
    assert!(named > 60, "only {named} tests were looked for");
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_invariant_names_its_tests() {
    let architecture = text("ARCHITECTURE.md");
    let section = architecture.split("\n## ").find(|section| section.starts_with("7. ")).unwrap();
    let rows: Vec<_> = section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| no.")).collect();
    let numbers: Vec<usize> = rows.iter().filter_map(|row| row.split(" | ").next()?[2..].parse().ok()).collect();
    assert_eq!(numbers, (1..=rows.len()).collect::<Vec<_>>(), "numbered without a gap");
    let untested: Vec<_> = rows.iter().filter(|row| !spans(row).into_iter().any(is_test_name)).collect();
    assert!(!rows.is_empty() && untested.is_empty(), "{untested:?}");
}

#[test]
fn cited_sections_of_the_architecture_exist() {
    const CITATION: &str = "ARCHITECTURE.md ";
    let architecture = text("ARCHITECTURE.md");
    let headings: Vec<&str> =
        architecture.lines().filter_map(|line| line.trim_start_matches('#').strip_prefix(' ')).collect();
    let mut wrong = Vec::new();
    for file in files() {
        let text = text(&file);
        for (at, _) in text.match_indices(CITATION) {
            let rest = &text[at + CITATION.len()..];
            let number: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
            let number = number.trim_end_matches('.');
            let known =
                headings.iter().any(|heading| heading.split([' ']).next().unwrap().trim_end_matches('.') == number);
            if !number.is_empty() && !known {
                wrong.push(format!("{file}: {CITATION}{number}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_names_a_machine_or_a_registry() {
    let mut found = Vec::new();
    for file in files().iter().filter(|file| !LOCKS.iter().any(|lock| file.ends_with(lock))) {
        let text = text(file);
        let hosts = REGISTRIES.map(|parts| parts.join("."));
        found.extend(hosts.iter().filter(|host| text.contains(*host)).map(|host| format!("{file}: {host}")));
        let dirs = MACHINES.map(|parts| parts.join("/"));
        found.extend(dirs.iter().filter(|dir| names_dir(&text, dir)).map(|dir| format!("{file}: {dir}")));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn documents(files: &[String]) -> Vec<&String> {
    let is_document = |file: &&String| has_extension(file, "md") && (!file.contains('/') || file.starts_with("docs/"));
    let documents: Vec<_> = files.iter().filter(is_document).collect();
    for required in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"] {
        assert!(documents.iter().any(|document| *document == required), "{required} is missing");
    }
    documents
}

/// A document without its code blocks.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// What stands between backticks.
fn spans(text: &str) -> Vec<&str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// Targets of links within the repository.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let local = targets.filter(|target| !target.contains("://") && !target.starts_with('#'));
    local.map(|target| target.split('#').next().unwrap()).collect()
}

/// A path, as opposed to a URL's path, a manifest's group or a code with a slash.
fn is_path(span: &str) -> bool {
    let plain = span.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
    let (first, rest) = span.split_once('/').unwrap_or((span, ""));
    let named = first.starts_with(|c: char| c.is_ascii_lowercase()) && !first.contains('.') || first.starts_with('.');
    plain && (EXTENSIONS.iter().any(|extension| span.ends_with(extension)) || !rest.is_empty() && named)
}

/// From the root, or as the end of a path.
fn exists(files: &[String], path: &str) -> bool {
    let path = path.trim_end_matches('/');
    files.iter().any(|file| format!("/{file}/").contains(&format!("/{path}/")))
}

fn exists_at(files: &[String], path: &Path) -> bool {
    files.iter().any(|file| Path::new(file).starts_with(path))
}

/// `crate::path::test`, as the test harness prints it behind the crate's name.
fn is_test_name(span: &str) -> bool {
    span.starts_with("fiorino-") && span.contains("::")
}

fn has_test(files: &[String], name: &str) -> bool {
    let (package, path) = name.split_once("::").unwrap();
    let Some((_, dir)) = packages().into_iter().find(|(name, _)| name == package) else { return false };
    let (module, function) = path.rsplit_once("::").unwrap();
    let module = module.trim_end_matches("::tests").replace("::", "/");
    let at = if module.starts_with("it/") { format!("{dir}/tests/{module}") } else { format!("{dir}/src/{module}") };
    let holds = |file: &&String| {
        let rest = file.strip_prefix(&at);
        rest.is_some_and(|rest| {
            [".rs", "_tests.rs"].contains(&rest) || rest.starts_with('/') && has_extension(rest, "rs")
        })
    };
    files.iter().filter(holds).any(|file| is_test(&text(file), function))
}

/// Whether the source has a function of that name with a test's attribute.
fn is_test(source: &str, function: &str) -> bool {
    source.match_indices(&format!("fn {function}(")).any(|(at, _)| {
        let above = &source[..at];
        let item = above.rfind("\n\n").map_or(above, |begin| &above[begin..]);
        ["#[test]", "#[rstest", "#[tokio::test"].iter().any(|attribute| item.contains(attribute))
    })
}

/// An absolute path below a directory: at a word's beginning, and the whole of its first names.
fn names_dir(text: &str, dir: &str) -> bool {
    text.match_indices(dir).any(|(at, _)| {
        let begins = text[..at].chars().next_back().is_none_or(|c| c.is_whitespace() || "\"'`=:(".contains(c));
        begins && text[at + dir.len()..].starts_with('/')
    })
}
