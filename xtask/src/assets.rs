//! The portal's style, fonts and icons, made from Bootstrap Italia and the templates.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, ensure};

use crate::cli::Context;
use crate::run::Run;
use crate::say;
use crate::tools;

const SERVICE: &str = "services/front-office";
const STEP: &str = "assets of the portal";

/// Writes them, or with `check` fails when a file differs from what would be written.
pub(crate) async fn run(context: &Context, check: bool) -> Result<()> {
    let modules = tools::web(&context.cache, &context.root).await?;
    let assets = context.root.join(SERVICE).join("assets");
    let fresh = made(context, &modules, &context.root.join(SERVICE)).await?;
    if check {
        return ensure_fresh(&fresh, &read(&assets)?);
    }
    fs_err::create_dir_all(&assets)?;
    for name in read(&assets)?.keys().filter(|name| !fresh.contains_key(*name)) {
        fs_err::remove_file(assets.join(name))?;
    }
    for (name, bytes) in &fresh {
        fs_err::write(assets.join(name), bytes)?;
    }
    say::line(&format!("  {} files in {SERVICE}/assets", fresh.len()));
    Ok(())
}

async fn made(context: &Context, modules: &Path, service: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let output = tempfile::tempdir()?;
    let script = context.root.join("xtask/tools/web/assets.mjs");
    Run::new(STEP, "node").arg(script).arg(modules).arg(service).arg(output.path()).output().await?;
    read(output.path())
}

fn ensure_fresh(fresh: &BTreeMap<String, Vec<u8>>, committed: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    let names: std::collections::BTreeSet<&String> = fresh.keys().chain(committed.keys()).collect();
    let stale: Vec<&str> =
        names.into_iter().filter(|name| fresh.get(*name) != committed.get(*name)).map(String::as_str).collect();
    ensure!(stale.is_empty(), "stale in {SERVICE}/assets: {}; run `cargo xtask assets`", stale.join(", "));
    Ok(())
}

fn read(dir: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let entries = fs_err::read_dir(dir)?;
    entries
        .map(|entry| {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Ok((name, fs_err::read(path)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        names.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn a_stale_missing_or_foreign_file_is_told_by_name() {
        let fresh = files(&[("style.css", "a"), ("icons.svg", "b"), ("font.woff2", "c")]);
        ensure_fresh(&fresh, &fresh).unwrap();
        let committed = files(&[("style.css", "other"), ("icons.svg", "b"), ("old.css", "d")]);
        let told = ensure_fresh(&fresh, &committed).unwrap_err().to_string();
        assert!(["style.css", "font.woff2", "old.css"].iter().all(|name| told.contains(name)), "{told}");
        assert!(!told.contains("icons.svg") && told.contains("cargo xtask assets"), "{told}");
    }
}
