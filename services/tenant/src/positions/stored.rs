//! What rows of notices hold as JSON. Names are short: they are repeated in every row, and never change.

use fiorino_domain::{
    debtor::{Debtor, Told},
    institution::InstitutionCode,
    money::Cents,
    taxonomy::TaxonomyCode,
};
use fiorino_proto::{notices::v1 as notices, positions::v1 as positions};
use serde::{Deserialize, Serialize};

/// The debtor in clear; not `Debug` on purpose.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct StoredDebtor {
    /// `F` or `G`.
    kind: String,
    pub(crate) code: String,
    name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    street: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    civic: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    postal: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    city: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    province: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    country: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    email: String,
}

/// A transfer; its account number is resolved when it is needed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredTransfer {
    pub(crate) id: u8,
    pub(crate) cents: Cents,
    pub(crate) taxonomy: TaxonomyCode,
    /// Another institution; absent = the issuer, to the account of the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<StoredBeneficiary>,
    /// Absent = the description of the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) remittance: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) metadata: Vec<StoredEntry>,
    /// A digital stamp: `to` is the issuer, and names no account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stamp: Option<StoredStamp>,
}

/// What a digital stamp is for (`ctRichiestaMarcaDaBollo`, pagopa.md 2.6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredStamp {
    /// SHA-256 of the document, base64.
    pub(crate) digest: String,
    /// Two capital letters.
    pub(crate) province: String,
}

/// Who else receives, to the number that its account has when somebody pays.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredBeneficiary {
    pub(crate) code: InstitutionCode,
    pub(crate) name: String,
    pub(crate) account: String,
}

/// An entry of metadata, of a transfer or of the payment (ctMetadata, pagopa.md 2.2); its `Debug` shows the key alone.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredEntry {
    pub(crate) key: String,
    pub(crate) value: String,
}

// === impl StoredDebtor ===

impl From<&Debtor> for StoredDebtor {
    fn from(debtor: &Debtor) -> Self {
        let Told {
            kind,
            fiscal_code,
            full_name,
            street_name,
            civic_number,
            postal_code,
            city,
            province,
            country,
            email,
        } = debtor.expose();
        Self {
            kind: kind.as_str().to_owned(),
            code: fiscal_code.to_owned(),
            name: full_name.to_owned(),
            street: street_name.to_owned(),
            civic: civic_number.to_owned(),
            postal: postal_code.to_owned(),
            city: city.to_owned(),
            province: province.to_owned(),
            country: country.to_owned(),
            email: email.to_owned(),
        }
    }
}

impl From<&StoredDebtor> for positions::Debtor {
    fn from(stored: &StoredDebtor) -> Self {
        let kind = if stored.kind == "G" { positions::PersonKind::Legal } else { positions::PersonKind::Natural };
        let StoredDebtor { kind: _, code, name, street, civic, postal, city, province, country, email } =
            stored.clone();
        Self {
            kind: kind.into(),
            fiscal_code: code,
            full_name: name,
            street_name: street,
            civic_number: civic,
            postal_code: postal,
            city,
            province,
            country,
            email,
        }
    }
}

impl From<StoredDebtor> for notices::Debtor {
    fn from(stored: StoredDebtor) -> Self {
        let StoredDebtor { kind, code, name, street, civic, postal, city, province, country, email } = stored;
        Self {
            kind,
            fiscal_code: code,
            full_name: name,
            street_name: street,
            civic_number: civic,
            postal_code: postal,
            city,
            province,
            country,
            email,
        }
    }
}

// === impl StoredEntry ===

impl std::fmt::Debug for StoredEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredEntry").field("key", &self.key).finish_non_exhaustive()
    }
}

impl From<&StoredEntry> for positions::MapEntry {
    fn from(stored: &StoredEntry) -> Self {
        Self { key: stored.key.clone(), value: stored.value.clone() }
    }
}

impl From<&StoredEntry> for notices::MapEntry {
    fn from(stored: &StoredEntry) -> Self {
        Self { key: stored.key.clone(), value: stored.value.clone() }
    }
}

// === impl StoredStamp ===

impl From<&StoredStamp> for positions::Stamp {
    fn from(stored: &StoredStamp) -> Self {
        Self { document_digest: stored.digest.clone(), province: stored.province.clone() }
    }
}

#[cfg(test)]
mod tests {
    use fiorino_domain::debtor::PersonKind;

    use super::*;

    /// Rows outlive programs: a renamed field would lose what is stored.
    #[test]
    fn shapes_of_the_rows() {
        let told = Told {
            kind: PersonKind::Natural,
            fiscal_code: "RSSMRA80A01H501U",
            full_name: "Maria Rossi",
            street_name: "Via Roma",
            civic_number: "",
            postal_code: "00100",
            city: "Roma",
            province: "RM",
            country: "IT",
            email: "",
        };
        let debtor = StoredDebtor::from(&Debtor::new(&told).unwrap());
        insta::assert_json_snapshot!(debtor, @r#"
        {
          "kind": "F",
          "code": "RSSMRA80A01H501U",
          "name": "Maria Rossi",
          "street": "Via Roma",
          "postal": "00100",
          "city": "Roma",
          "province": "RM",
          "country": "IT"
        }
        "#);
        let transfer = StoredTransfer {
            id: 2,
            cents: Cents::new(500).unwrap(),
            taxonomy: TaxonomyCode::parse("0201102IM").unwrap(),
            to: Some(StoredBeneficiary {
                code: InstitutionCode::parse("80001234567").unwrap(),
                name: "Provincia".to_owned(),
                account: "tefa".to_owned(),
            }),
            remittance: Some("TEFA 2026".to_owned()),
            metadata: vec![StoredEntry { key: "TARI-TEFA-2".to_owned(), value: "x".to_owned() }],
            stamp: Some(StoredStamp { digest: "47DE".to_owned(), province: "MI".to_owned() }),
        };
        insta::assert_json_snapshot!(transfer, @r#"
        {
          "id": 2,
          "cents": 500,
          "taxonomy": "9/0201102IM/",
          "to": {
            "code": "80001234567",
            "name": "Provincia",
            "account": "tefa"
          },
          "remittance": "TEFA 2026",
          "metadata": [
            {
              "key": "TARI-TEFA-2",
              "value": "x"
            }
          ],
          "stamp": {
            "digest": "47DE",
            "province": "MI"
          }
        }
        "#);
        let back: StoredTransfer = serde_json::from_value(serde_json::to_value(&transfer).unwrap()).unwrap();
        assert!(back == transfer);
    }
}
