//! The chart's custom resource definitions, generated from the Rust types.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::say;

const TEMPLATES: &str = "charts/fiorino-crds/templates";

/// Writes them, or with `check` fails when a file differs.
pub(crate) fn run(root: &Path, check: bool) -> Result<()> {
    let chart = root.join(TEMPLATES);
    if check {
        return ensure_fresh(&chart);
    }
    fs_err::create_dir_all(&chart)?;
    let fresh = generate()?;
    for (name, _) in read(&chart)?.iter().filter(|(name, _)| !fresh.contains_key(*name)) {
        fs_err::remove_file(chart.join(name))?;
    }
    for (name, text) in &fresh {
        fs_err::write(chart.join(name), text)?;
    }
    say::line(&format!("  {} definitions in {TEMPLATES}", fresh.len()));
    Ok(())
}

fn ensure_fresh(chart: &Path) -> Result<()> {
    let (fresh, committed) = (generate()?, read(chart)?);
    let names: std::collections::BTreeSet<&String> = fresh.keys().chain(committed.keys()).collect();
    let stale: Vec<&str> =
        names.into_iter().filter(|name| fresh.get(*name) != committed.get(*name)).map(String::as_str).collect();
    ensure!(stale.is_empty(), "stale in {TEMPLATES}: {}; run `cargo xtask crds`", stale.join(", "));
    Ok(())
}

fn generate() -> Result<BTreeMap<String, String>> {
    let dir = tempfile::tempdir()?;
    fiorino_crds::generate(dir.path()).context("failed to generate the custom resource definitions")?;
    read(dir.path())
}

fn read(dir: &Path) -> Result<BTreeMap<String, String>> {
    let entries = fs_err::read_dir(dir)?;
    entries
        .map(|entry| {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Ok((name, fs_err::read_to_string(path)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_missing_or_foreign_file_is_told_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let chart = dir.path().join(TEMPLATES);
        run(dir.path(), false).unwrap();
        run(dir.path(), true).unwrap();
        fs_err::write(chart.join("ibans.yaml"), "other").unwrap();
        fs_err::remove_file(chart.join("brokers.yaml")).unwrap();
        fs_err::write(chart.join("old.yaml"), "old").unwrap();
        let told = run(dir.path(), true).unwrap_err().to_string();
        assert!(["brokers.yaml", "ibans.yaml", "old.yaml"].iter().all(|name| told.contains(name)), "{told}");
        run(dir.path(), false).unwrap();
        run(dir.path(), true).unwrap();
    }
}
