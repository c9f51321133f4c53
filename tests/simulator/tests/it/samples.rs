//! The official samples, where they are.

use std::path::PathBuf;

/// A file of `samples/paForNode`; nothing when the samples are not on this machine, which a CI run does not accept.
pub(crate) fn load(name: &str) -> Option<String> {
    let root = option_env!("FIORINO_SAMPLES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples"), PathBuf::from);
    let path = root.join("paForNode").join(name);
    match fs_err::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if std::env::var_os("CI").is_some() => panic!("{error}"),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}
