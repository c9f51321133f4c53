//! SQL names its columns, so that a column that is added changes no statement of a version that does not know it.

use proc_macro2::{Delimiter, Literal, TokenStream, TokenTree};

use super::{files, has_extension, text};

/// What stands before a star that means "every column".
const BEFORE_STAR: [&str; 6] = ["select", "distinct", "all", "returning", ",", "."];

#[test]
fn statements_name_their_columns() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    // The examples below are what is refused.
    for file in files().iter().filter(|file| !file.ends_with("tidy/statements.rs")) {
        for statement in statements(file) {
            let tokens = tokens(&statement);
            seen += usize::from(tokens.iter().any(|token| ["select", "insert"].contains(&token.as_str())));
            wrong.extend(unnamed(&tokens).map(|problem| format!("{file}: {problem} in {}", tokens.join(" "))));
        }
    }
    assert!(seen > 200, "only {seen} statements were seen");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_names_no_columns_is_seen() {
    for refused in [
        "select * from notice",
        "select distinct * from notice",
        "select n.nav, * from notice n",
        "select r.*, i.fiscal_code from config_resource r",
        "with asked as (select *\n from unnest($1::text[]))",
        "update notice set state = 1 returning *",
        "select max(nav) * from notice",
        "insert into notice values (1)",
        "insert into tenant.notice select id from other",
        "insert into notice as held (select id from other)",
        "insert into \"notice\"",
        "select nav from notice natural join association",
    ] {
        assert!(unnamed(&tokens(refused)).is_some(), "{refused}");
    }
    for allowed in [
        "select count(*) from notice",
        "select count(*), 2 * n.version, (n.version) * 3 from notice n",
        "insert into notice (institution_id, nav) select institution_id, nav from other",
        "insert into notice as held (nav) values ($1)",
        "insert into tenant.\"notice\" (nav) values ($1)",
        "insert into config_head default values",
        "insert into {table} (nav) values ($1)",
        "it is written into the log",
    ] {
        assert_eq!(unnamed(&tokens(allowed)), None, "{allowed}");
    }
    let source = "/// select * from a\n#[doc = \"select * from b\"] // \"select * from c\"\nconst D: &str = r#\"select * from d\"#; f!(\"e \\\n  f\")";
    assert_eq!(literals(source.parse().unwrap()), ["select * from d", "e f"]);
}

/// The texts of a file that may be SQL.
fn statements(file: &str) -> Vec<String> {
    if has_extension(file, "sql") {
        let code = |line: &str| line.split("--").next().unwrap_or_default().to_owned();
        vec![text(file).lines().map(code).collect::<Vec<_>>().join("\n")]
    } else if has_extension(file, "rs") {
        literals(text(file).parse().unwrap_or_else(|error| panic!("{file}: {error}")))
    } else {
        Vec::new()
    }
}

/// The strings of a Rust source. Not those of attributes: documentation is one.
fn literals(source: TokenStream) -> Vec<String> {
    let mut found = Vec::new();
    let mut attribute = false;
    for token in source {
        match token {
            TokenTree::Group(group) if attribute && group.delimiter() == Delimiter::Bracket => attribute = false,
            TokenTree::Group(group) => found.extend(literals(group.stream())),
            TokenTree::Literal(literal) => found.extend(string(literal)),
            TokenTree::Punct(punct) => attribute = punct.as_char() == '#' || attribute && punct.as_char() == '!',
            TokenTree::Ident(_) => attribute = false,
        }
    }
    found
}

fn string(literal: Literal) -> Option<String> {
    match syn::Lit::new(literal) {
        syn::Lit::Str(text) => Some(text.value()),
        _ => None,
    }
}

/// Words, and everything else letter by letter.
fn tokens(statement: &str) -> Vec<String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_\"{}$".contains(c);
    let mut tokens = Vec::new();
    let mut rest = statement.trim_start();
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (token, left) = rest.split_at(if word > 0 { word } else { first.len_utf8() });
        tokens.push(token.to_ascii_lowercase());
        rest = left.trim_start();
    }
    tokens
}

/// What of a statement names no columns.
fn unnamed(tokens: &[String]) -> Option<&'static str> {
    let at = |index: usize| tokens.get(index).map_or("", String::as_str);
    (0..tokens.len()).find_map(|index| match at(index) {
        "*" if index > 0 && BEFORE_STAR.contains(&at(index - 1)) || at(index) == "*" && at(index + 1) == "from" => {
            Some("a star for columns")
        }
        "natural" if at(index + 1) == "join" => Some("a join by whatever columns have the same name"),
        "insert" if at(index + 1) == "into" => {
            let name = if at(index + 3) == "." { index + 4 } else { index + 2 };
            let list = if at(name + 1) == "as" { name + 3 } else { name + 1 };
            let listed = at(list) == "(" && !["select", "values", "with"].contains(&at(list + 1));
            let defaults = at(list) == "default" && at(list + 1) == "values";
            (!listed && !defaults).then_some("an insert without a list of columns")
        }
        _ => None,
    })
}
