//! What holds of the repository itself: documents name what exists, layers stay layers. Reads files, starts nothing.

mod documents;
mod layers;
mod sources;
mod statements;

use std::{path::Path, process::Command};

use fiorino_rig::workspace_root;

/// Every file that is, or is about to be, in version control; paths from the root.
fn files() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(workspace_root())
        .output()
        .unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).unwrap();
    let present = names.lines().filter(|name| workspace_root().join(name).is_file());
    present.map(str::to_owned).collect()
}

/// A file's text; empty when it is none.
fn text(file: &str) -> String {
    let bytes = fs_err::read(workspace_root().join(file)).unwrap();
    String::from_utf8(bytes).unwrap_or_default()
}

/// The files below a directory with an extension.
fn below<'a>(files: &'a [String], dir: &str, extension: &str) -> Vec<&'a String> {
    let wanted = |file: &&String| Path::new(file).starts_with(dir) && has_extension(file, extension);
    files.iter().filter(wanted).collect()
}

fn has_extension(file: &str, extension: &str) -> bool {
    Path::new(file).extension().is_some_and(|found| found == extension)
}

/// Directories of the workspace's packages by name.
fn packages() -> Vec<(String, String)> {
    let manifest = text("Cargo.toml");
    let members = manifest.split_once("members = [").unwrap().1.split_once(']').unwrap().0;
    let dirs = members.lines().filter_map(|line| line.split('"').nth(1));
    dirs.map(|dir| {
        let manifest = text(&format!("{dir}/Cargo.toml"));
        let name = manifest.lines().find_map(|line| line.strip_prefix("name = ")).unwrap();
        (name.trim_matches('"').to_owned(), dir.to_owned())
    })
    .collect()
}
