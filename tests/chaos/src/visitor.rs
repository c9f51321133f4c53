//! A citizen who looks notices up on the portal: he is shown them as they are, or told to come again, in time.

use std::time::Duration;

use anyhow::{Context as _, Result};
use fiorino_e2e::town::Town;
use reqwest::{Client, StatusCode, header::HOST};

use crate::ledger::Asked;
use crate::node::Node;

/// The process that serves the portal.
pub const PORTAL: &str = "front-office";
/// After which he gives up: long after an answer is late.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is written on a notice that can be paid.
const PAYABLE: &str = ">Da pagare<";
/// And on one that was paid.
const PAID: &str = ">Pagato<";

/// A browser.
#[derive(Debug)]
pub struct Visitor {
    http: Client,
    port: u16,
}

// === impl Visitor ===

impl Visitor {
    /// Of a town's portal.
    ///
    /// # Errors
    /// When there can be no HTTP client.
    pub fn of(town: &Town) -> Result<Self> {
        let http = Client::builder().timeout(PATIENCE).no_proxy().build()?;
        Ok(Self { http, port: town.world.addresses().portal_port })
    }

    /// Looks at a notice on its institution's site, and judges what he is shown; the status, if something came.
    pub async fn look(&self, node: &Node, notice_number: &str) -> Option<StatusCode> {
        let (ledger, key) = (node.ledger(), node.key(notice_number));
        let was_paid = ledger.was_told_paid(&key);
        let begun = ledger.now();
        let path = format!("/avviso?codice={notice_number}&ente={}", key.0);
        let Ok((status, page)) = self.page(node, &path).await else {
            ledger.unanswered();
            return None;
        };
        ledger.timed(Asked::Page, PORTAL, begun, ledger.now());
        match status {
            StatusCode::OK if was_paid && page.contains(PAYABLE) => {
                ledger.broken(format!("{key:?} was paid and is payable on the portal"));
            }
            StatusCode::OK if !page.contains(node.institution().shown) => {
                ledger.broken(format!("{key:?} has another amount on the portal than {}", node.institution().shown));
            }
            StatusCode::OK if page.contains(PAID) => ledger.told_paid(&key),
            StatusCode::OK if page.contains(PAYABLE) => {}
            StatusCode::SERVICE_UNAVAILABLE => ledger.page_later(),
            _ => ledger.broken(format!("{key:?} is told with {status} on the portal: {page}")),
        }
        Some(status)
    }

    /// A page of an institution's site.
    ///
    /// # Errors
    /// When none came.
    pub async fn page(&self, node: &Node, path: &str) -> Result<(StatusCode, String)> {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let response = self.http.get(url).header(HOST, node.institution().names.hostname()).send();
        let response = response.await.context("the portal does not answer")?;
        Ok((response.status(), response.text().await?))
    }
}
