//! What a PSP is told when it does not work: `PPT_*`, with the station's own fault inside where there is one.

use serde::Serialize;

use crate::{
    judge::{StationFault, Violation},
    station::Unreachable,
};

/// A fault towards the PSP.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// `PPT_*`
    pub fault_code: &'static str,
    /// The station's fault, copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original: Option<Box<StationFault>>,
    /// The rules that the station's answer broke.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub violations: Vec<Violation>,
    /// W3C trace id of the call to the station, if there was an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Milliseconds that the station took, if there was an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elapsed_ms: Option<u64>,
}

// === impl Fault ===

impl Fault {
    /// A fault that the node raises by itself.
    pub const fn node(fault_code: &'static str) -> Self {
        Self { fault_code, original: None, violations: Vec::new(), trace_id: None, elapsed_ms: None }
    }

    /// The station's answer was unusable.
    pub const fn malformed() -> Self {
        Self::node("PPT_STAZIONE_INT_PA_ERRORE_RESPONSE")
    }

    /// The station said KO.
    pub fn of_station(fault: StationFault, trace_id: String, elapsed_ms: u64) -> Self {
        Self {
            original: Some(Box::new(fault)),
            trace_id: Some(trace_id),
            elapsed_ms: Some(elapsed_ms),
            ..Self::node("PPT_ERRORE_EMESSO_DA_PAA")
        }
    }

    /// The station did not answer.
    pub const fn unreachable(unreachable: Unreachable) -> Self {
        Self::node(match unreachable {
            Unreachable::Connection => "PPT_STAZIONE_INT_PA_IRRAGGIUNGIBILE",
            Unreachable::Timeout => "PPT_STAZIONE_INT_PA_TIMEOUT",
        })
    }
}
