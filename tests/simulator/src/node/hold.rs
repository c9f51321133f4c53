//! Who holds a notice: one payment at a time.

use super::{Node, NoticeKey, fault::Fault};
use crate::clock;

/// A notice that is being activated: whatever ends the activation, also a client that hangs up, frees it.
#[derive(Debug)]
pub(super) struct Hold<'a> {
    node: &'a Node,
    notice: Option<NoticeKey>,
}

// === impl Hold ===

impl Hold<'_> {
    /// The token is in the ledger: it holds the notice from here on.
    pub(super) fn keep(mut self) {
        self.notice = None;
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        if let Some(notice) = &self.notice {
            self.node.ledger().holders.remove(notice);
        }
    }
}

// === impl Node ===

impl Node {
    /// Takes the notice for `token`, unless it is paid or another token holds it. It is free again with the hold, unless kept.
    pub(super) fn hold(&self, key: &NoticeKey, token: &str) -> Result<Hold<'_>, Fault> {
        let now = clock::monotonic();
        let mut ledger = self.ledger();
        if let Some(holder) = ledger.holders.get(key) {
            match ledger.tokens.get(holder) {
                Some(entry) if entry.outcome == Some(true) => return Err(Fault::node("PPT_PAGAMENTO_DUPLICATO")),
                Some(entry) if now <= entry.expires => return Err(Fault::node("PPT_PAGAMENTO_IN_CORSO")),
                Some(_) => {}
                None => return Err(Fault::node("PPT_ATTIVAZIONE_IN_CORSO")),
            }
        }
        ledger.holders.insert(key.clone(), token.to_owned());
        Ok(Hold { node: self, notice: Some(key.clone()) })
    }
}
