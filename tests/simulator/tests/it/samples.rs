//! The official samples, where they are.

/// A file of `samples/paForNode`; nothing when the samples are not on this machine, which a CI run does not accept.
pub(crate) fn load(name: &str) -> Option<String> {
    let folder = fiorino_rig::samples()?.join("paForNode");
    Some(fs_err::read_to_string(folder.join(name)).unwrap())
}
