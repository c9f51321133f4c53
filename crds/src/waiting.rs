//! Who must act next: a code with an English and an Italian text, so that the back office shows what kubectl does.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{lenient, schema};

/// Who must do what before the institution gets further.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaitingFor {
    /// Who must act. One of: Institution, Broker, PagoPA, Supplier. Example: `PagoPA`.
    pub party: Party,
    /// What is to be done, as a code. One of: FixManifest, ResolveConflict, RestoreServices, SignAgreement,
    /// EnableReadBack, AssociateStation, AddAccount, RegisterAccounts, RunAcceptanceTest, GoLive. Example: `RegisterAccounts`.
    pub action: Action,
    /// Since when it is waited for. Unit: instant, RFC 3339, UTC. Example: `"2026-11-22T10:42:00Z"`.
    #[schemars(schema_with = "schema::instant")]
    pub since: Timestamp,
    /// What is to be done, in English. Example: `register the account numbers at pagoPA`.
    #[schemars(length(max = 512))]
    pub text_en: String,
    /// What is to be done, in Italian. Example: `registrare gli IBAN presso pagoPA`.
    #[schemars(length(max = 512))]
    pub text_it: String,
    /// What is wrong or missing, in the words of the condition that says it. Example: `pagoPA does not show as enabled: tesoreria ...4233`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 8192))]
    pub detail: String,
}

/// Who can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Party {
    /// The creditor institution.
    Institution,
    /// The intermediary that runs this platform.
    Broker,
    /// PagoPA S.p.A.
    PagoPA,
    /// The institution's software house.
    Supplier,
}

/// What can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Action {
    /// The manifest or what it refers to is wrong.
    FixManifest,
    /// Another object holds the identity.
    ResolveConflict,
    /// A service of the platform is missing or refuses the configuration.
    RestoreServices,
    /// The adhesion has no date.
    SignAgreement,
    /// pagoPA's registry cannot be read.
    EnableReadBack,
    /// pagoPA does not show the association as the manifest has it.
    AssociateStation,
    /// The institution has no account.
    AddAccount,
    /// pagoPA does not show the account numbers as enabled.
    RegisterAccounts,
    /// The node has not called yet.
    RunAcceptanceTest,
    /// The phase is still Testing.
    GoLive,
}

// === impl WaitingFor ===

impl WaitingFor {
    /// Reads one whose party and action this version knows.
    pub(crate) fn known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Written {
            party: Value,
            action: Value,
            since: Timestamp,
            text_en: String,
            text_it: String,
            #[serde(default)]
            detail: String,
        }
        let Some(written) = Option::<Written>::deserialize(deserializer)? else { return Ok(None) };
        let Written { party, action, since, text_en, text_it, detail } = written;
        let words = lenient::known(party).zip(lenient::known(action));
        Ok(words.map(|(party, action)| Self { party, action, since, text_en, text_it, detail }))
    }
}

// === impl Action ===

impl Action {
    /// Who must act.
    ///
    /// Onboarding duties: SANP "onboarding" and the Backoffice's manual (pagopa.md 9.5).
    pub const fn party(self) -> Party {
        match self {
            Self::FixManifest
            | Self::ResolveConflict
            | Self::RestoreServices
            | Self::EnableReadBack
            | Self::RunAcceptanceTest
            | Self::GoLive => Party::Broker,
            Self::SignAgreement | Self::AddAccount | Self::RegisterAccounts => Party::Institution,
            Self::AssociateStation => Party::PagoPA,
        }
    }

    /// What is to be done, in English.
    pub const fn text_en(self) -> &'static str {
        match self {
            Self::FixManifest => "correct what the condition Validated names and apply the manifest again",
            Self::ResolveConflict => {
                "decide which of the two objects keeps the identity that the condition Stalled names"
            }
            Self::RestoreServices => "bring back the services that the condition Distributed names",
            Self::SignAgreement => "sign the agreement with the broker, then set spec.adhesion.date",
            Self::EnableReadBack => {
                "give the Broker a subscription key for the Backoffice external API and let it be read"
            }
            Self::AssociateStation => {
                "approve the association of the institution with the station as the manifest has it"
            }
            Self::AddAccount => "name the account that collects: create an Iban",
            Self::RegisterAccounts => "register the account numbers at pagoPA (Area Riservata) for this fiscal code",
            Self::RunAcceptanceTest => "run the acceptance test: no call of the node was seen yet",
            Self::GoLive => "go live when the acceptance plan is done: set spec.lifecycle.phase to Live",
        }
    }

    /// What is to be done, in Italian.
    pub const fn text_it(self) -> &'static str {
        match self {
            Self::FixManifest => "correggere quanto indicato dalla condizione Validated e riapplicare il manifesto",
            Self::ResolveConflict => {
                "decidere quale dei due oggetti mantiene l'identità indicata dalla condizione Stalled"
            }
            Self::RestoreServices => "ripristinare i servizi indicati dalla condizione Distributed",
            Self::SignAgreement => "firmare l'accordo con l'intermediario, poi indicare spec.adhesion.date",
            Self::EnableReadBack => {
                "dotare il Broker di una chiave per l'API esterna del Back Office e attendere la lettura"
            }
            Self::AssociateStation => "approvare l'associazione dell'ente alla stazione come indicata nel manifesto",
            Self::AddAccount => "indicare il conto di incasso: creare un Iban",
            Self::RegisterAccounts => "registrare gli IBAN presso pagoPA (Area Riservata) per questo codice fiscale",
            Self::RunAcceptanceTest => "eseguire i test di accettazione: il nodo non ha ancora chiamato",
            Self::GoLive => "avviare in esercizio a piano di test concluso: portare spec.lifecycle.phase a Live",
        }
    }

    /// The status entry for this action; `detail` = the words of the condition that asks for it, or empty.
    pub fn since(self, since: Timestamp, detail: String) -> WaitingFor {
        WaitingFor {
            party: self.party(),
            action: self,
            since,
            text_en: self.text_en().to_owned(),
            text_it: self.text_it().to_owned(),
            detail,
        }
    }
}
