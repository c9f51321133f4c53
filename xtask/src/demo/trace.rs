//! The payment's trace, as the viewer has it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result};
use fiorino_rig::eventually;
use serde_json::Value;

/// Exporters send in batches of a few seconds.
const TRACE_DEADLINE: Duration = Duration::from_secs(30);
/// The way of a receipt.
const WAY: [&str; 3] = ["node-connector", "tenant", "reporting"];

/// Waits for a trace that goes from the node's call to reporting, and answers with its page.
pub(crate) async fn page(traces_url: &str) -> Result<String> {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?;
    let list = format!("{traces_url}/api/v2/traces?serviceName={}&limit=50", WAY[2]);
    let look = async || {
        let traces: Vec<Vec<Value>> = client.get(&list).send().await?.error_for_status()?.json().await?;
        let whole = traces.iter().find(|spans| goes_all_the_way(spans)).context("no trace reaches reporting yet")?;
        let id = whole.first().and_then(|span| span["traceId"].as_str()).context("a span without a trace")?;
        anyhow::Ok(format!("{traces_url}/zipkin/traces/{id}"))
    };
    eventually(TRACE_DEADLINE, look).await.context("no trace goes from the node's call to reporting")
}

fn goes_all_the_way(spans: &[Value]) -> bool {
    let services: BTreeSet<&str> =
        spans.iter().filter_map(|span| span.pointer("/localEndpoint/serviceName")?.as_str()).collect();
    WAY.iter().all(|service| services.contains(service))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_trace_must_touch_every_service() {
        let span = |service: &str| json!({"traceId": "1", "localEndpoint": {"serviceName": service}});
        assert!(goes_all_the_way(&[span("reporting"), span("tenant"), span("node-connector")]));
        assert!(!goes_all_the_way(&[span("tenant"), span("node-connector")]));
    }
}
