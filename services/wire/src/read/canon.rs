//! The canonical form of a receipt's content, as a tree of hashes.
//!
//! The hash of an element covers its name and its value, or the hashes of its children in ascending order: order and spelling do not
//! count, every value does.

use sha2::{Digest, Sha256};

type Hash = [u8; 32];

/// Hashes of the elements that are open, the innermost last.
#[derive(Default)]
pub(super) struct Canon {
    open: Vec<Vec<Hash>>,
}

// === impl Canon ===

impl Canon {
    /// An element with children begins.
    pub(super) fn enter(&mut self) {
        self.open.push(Vec::new());
    }

    /// The innermost element ends; at the outermost this is the hash of it all.
    pub(super) fn leave(&mut self, name: &str) -> Hash {
        let mut children = self.open.pop().unwrap_or_default();
        children.sort_unstable();
        let mut hash = begin(b'N', name);
        for child in &children {
            hash.update(child);
        }
        self.close(hash)
    }

    /// A value in canonical form.
    pub(super) fn value(&mut self, name: &str, value: &str) {
        let mut hash = begin(b'V', name);
        hash.update(value);
        self.close(hash);
    }

    fn close(&mut self, hash: Sha256) -> Hash {
        let hash: Hash = hash.finalize().into();
        if let Some(siblings) = self.open.last_mut() {
            siblings.push(hash);
        }
        hash
    }
}

/// Names have no NUL: it ends them.
fn begin(kind: u8, name: &str) -> Sha256 {
    let mut hash = Sha256::new();
    hash.update([kind]);
    hash.update(name);
    hash.update([0]);
    hash
}
