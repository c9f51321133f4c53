//! Migrations say which versions of their service work on what they leave behind.

use std::collections::BTreeMap;

use super::{below, files, packages, text};

/// The row of a migration.
const ROW: &str = "insert into schema_version (version, compatible_from) values (";

/// First line of a migration that is no transaction, as building an index while others write: it can hold nothing else.
const NO_TRANSACTION: &str = "-- no-transaction";

#[test]
fn each_records_its_version_and_who_works_with_it() {
    let (files, ddl) = (files(), text("services/kit/sql/schema_version.sql"));
    let mut services = 0;
    for (_, dir) in packages() {
        let migrations: BTreeMap<i64, &String> =
            below(&files, &format!("{dir}/migrations"), "sql").into_iter().map(|file| (number(file), file)).collect();
        let Some(last) = migrations.keys().next_back() else { continue };
        services += 1;
        let first = migrations.iter().find(|(_, file)| text(file).contains(&ddl)).map(|(number, _)| *number);
        let first =
            first.unwrap_or_else(|| panic!("{dir}: no migration has the table of services/kit/sql/schema_version.sql"));
        let mut compatible_from = 1;
        for (number, file) in migrations.range(first..) {
            let text = text(file);
            let rows: Vec<_> = text.split(ROW).skip(1).map(|row| row.split(')').next().unwrap_or_default()).collect();
            if text.starts_with(NO_TRANSACTION) {
                assert!(rows.is_empty() && number < last, "{file}: the migration after it records that it was applied");
                continue;
            }
            let [row] = rows[..] else { panic!("{file}: must record its version once, by `{ROW}{number}, ...)`") };
            let (version, from) = row.split_once(", ").unwrap_or_else(|| panic!("{file}: {row}"));
            assert_eq!(version.parse(), Ok(*number), "{file}: records another version");
            let from: i64 = from.parse().unwrap_or_else(|error| panic!("{file}: {row}: {error}"));
            assert!(
                (compatible_from..=*number).contains(&from),
                "{file}: {from} is not from {compatible_from} to {number}"
            );
            compatible_from = from;
        }
    }
    assert_eq!(services, 4);
}

fn number(file: &str) -> i64 {
    let name = file.rsplit('/').next().unwrap_or_default();
    let number = name.split('_').next().unwrap_or_default();
    number.parse().unwrap_or_else(|error| panic!("{file}: {error}"))
}
