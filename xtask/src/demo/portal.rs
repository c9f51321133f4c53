//! What a citizen sees.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::header::HOST;

/// Looks a notice up on the portal and checks that it shows `amount`.
pub(crate) async fn shows(portal_url: &str, institution: &str, notice: &str, amount: &str) -> Result<()> {
    let authority = portal_url.strip_prefix("http://").context("the portal's URL is no http URL")?;
    let (_, port) = authority.rsplit_once(':').context("the portal's URL has no port")?;
    // Browsers know that names below localhost are this machine; resolvers need not.
    let url = format!("http://127.0.0.1:{port}/avviso?codice={notice}&ente={institution}");
    let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?;
    let response = client.get(url).header(HOST, authority).send().await?;
    let (status, page) = (response.status(), response.text().await?);
    ensure!(status.is_success(), "the portal answered {status}");
    ensure!(page.contains(amount), "the portal does not show {amount}");
    Ok(())
}
