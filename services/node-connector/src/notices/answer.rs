//! What tenant tells, as an answer to the node. Pure; the writer of `fiorino-wire` has the last word.

use fiorino_domain::{
    date::LegalDate, iban::Iban, institution::InstitutionCode, money::Cents, secret::Masked, taxonomy::TaxonomyCode,
};
use fiorino_proto::notices::v1::{self as proto, ActivatedNotice, PayableNotice};
use fiorino_wire::{Account, Debtor, DueDate, EntityKind, MapEntry, Payment, QrCode, Stamp, Transfer, VerifiedNotice};

/// A field of tenant's reply that cannot be answered. Never its value: that may be personal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} of tenant's reply cannot be read")]
pub(super) struct Broken {
    pub(super) field: &'static str,
}

/// `paVerifyPaymentNotice`.
///
/// # Errors
/// The first field that cannot be read.
pub(super) fn verified(notice: PayableNotice, qr_code: &QrCode) -> Result<VerifiedNotice, Broken> {
    Ok(VerifiedNotice {
        amount: cents(notice.amount_cents, "amount_cents")?,
        due: due(&notice)?,
        description: notice.description,
        all_postal: notice.all_postal,
        institution: qr_code.fiscal_code,
        company_name: notice.company_name,
        office_name: told(notice.office_name),
    })
}

/// `paGetPayment`, `paGetPaymentV2`.
///
/// # Errors
/// The first field that cannot be read.
pub(super) fn payment(activated: ActivatedNotice) -> Result<Payment, Broken> {
    let notice = activated.notice.ok_or(Broken { field: "notice" })?;
    Ok(Payment {
        amount: cents(notice.amount_cents, "amount_cents")?,
        due: due(&notice)?,
        iuv: notice.iuv,
        description: notice.description,
        company_name: notice.company_name,
        office_name: told(notice.office_name),
        debtor: debtor(activated.debtor.ok_or(Broken { field: "debtor" })?)?,
        transfers: activated.transfers.into_iter().map(transfer).collect::<Result<_, _>>()?,
        metadata: metadata(activated.metadata),
    })
}

fn due(notice: &PayableNotice) -> Result<DueDate, Broken> {
    let date = |text: &str, field| LegalDate::parse(text).map_err(|_| Broken { field });
    if notice.due_date.is_empty() {
        date(&notice.issued_on, "issued_on").map(|issued_on| DueDate::Open { issued_on })
    } else {
        date(&notice.due_date, "due_date").map(DueDate::On)
    }
}

fn debtor(debtor: proto::Debtor) -> Result<Debtor, Broken> {
    Ok(Debtor {
        kind: EntityKind::parse(&debtor.kind).ok_or(Broken { field: "debtor.kind" })?,
        code: Masked::new(debtor.fiscal_code),
        full_name: Masked::new(debtor.full_name),
        street_name: masked(debtor.street_name),
        civic_number: masked(debtor.civic_number),
        postal_code: masked(debtor.postal_code),
        city: masked(debtor.city),
        province: masked(debtor.province),
        country: masked(debtor.country),
        email: masked(debtor.email),
    })
}

fn transfer(transfer: proto::Transfer) -> Result<Transfer, Broken> {
    let account = account(&transfer)?;
    Ok(Transfer {
        id: transfer.id,
        amount: cents(transfer.amount_cents, "transfers.amount_cents")?,
        institution: InstitutionCode::parse(&transfer.beneficiary)
            .map_err(|_| Broken { field: "transfers.beneficiary" })?,
        company_name: told(transfer.beneficiary_name),
        account,
        remittance_information: transfer.remittance,
        category: TaxonomyCode::parse(&transfer.taxonomy_code)
            .map_err(|_| Broken { field: "transfers.taxonomy_code" })?,
        metadata: metadata(transfer.metadata),
    })
}

fn account(transfer: &proto::Transfer) -> Result<Account, Broken> {
    let Some(stamp) = &transfer.stamp else {
        return Iban::parse(&transfer.iban).map(Account::Iban).map_err(|_| Broken { field: "transfers.iban" });
    };
    let document_hash =
        stamp.document_digest[..].try_into().map_err(|_| Broken { field: "transfers.stamp.document_digest" })?;
    Ok(Account::Stamp(Stamp { document_hash, province: stamp.province.clone() }))
}

fn metadata(entries: Vec<proto::MapEntry>) -> Vec<MapEntry> {
    entries.into_iter().map(|entry| MapEntry { key: entry.key, value: entry.value }).collect()
}

fn cents(amount: i64, field: &'static str) -> Result<Cents, Broken> {
    Cents::new(amount).map_err(|_| Broken { field })
}

/// Proto has no absent text, the messages of the node have no empty one.
fn told(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn masked(text: String) -> Option<Masked<String>> {
    told(text).map(Masked::new)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn notice() -> PayableNotice {
        PayableNotice {
            iuv: "12000000000471179".into(),
            amount_cents: 12_000,
            due_date: "2026-06-16".into(),
            issued_on: "2026-01-02".into(),
            description: "TARI 2026 rata 1".into(),
            company_name: "Comune di Esempio".into(),
            office_name: String::new(),
            all_postal: false,
        }
    }

    fn activated() -> ActivatedNotice {
        ActivatedNotice {
            notice: Some(notice()),
            debtor: Some(proto::Debtor {
                kind: "F".into(),
                fiscal_code: "RSSMRA80A01H501U".into(),
                full_name: "Mario Rossi".into(),
                ..proto::Debtor::default()
            }),
            transfers: vec![proto::Transfer {
                id: 1,
                amount_cents: 12_000,
                beneficiary: "77777777777".into(),
                iban: "IT60X0542811101000000123456".into(),
                remittance: "TARI 2026 rata 1".into(),
                taxonomy_code: "9/0101101IM/".into(),
                ..proto::Transfer::default()
            }],
            metadata: Vec::new(),
        }
    }

    #[rstest]
    #[case::told("2026-06-16", DueDate::On(LegalDate::parse("2026-06-16").unwrap()))]
    #[case::not_told("", DueDate::Open { issued_on: LegalDate::parse("2026-01-02").unwrap() })]
    fn a_notice_without_due_date_is_left_open(#[case] due_date: &str, #[case] expected: DueDate) {
        let qr_code =
            QrCode { fiscal_code: InstitutionCode::parse("77777777777").unwrap(), notice_number: "3".repeat(18) };
        let notice = PayableNotice { due_date: due_date.into(), ..notice() };
        let verified = verified(notice, &qr_code).unwrap();
        assert_eq!((verified.due, verified.office_name), (expected, None));
    }

    #[test]
    fn an_activated_notice_is_a_payment() {
        let payment = payment(activated()).unwrap();
        assert_eq!((payment.amount.get(), payment.transfers.len()), (12_000, 1));
        assert_eq!((payment.debtor.email, payment.transfers[0].company_name.as_deref()), (None, None));
    }

    #[test]
    fn metadata_and_stamps_are_passed_on() {
        let mut reply = activated();
        let entry = |key: &str| proto::MapEntry { key: key.into(), value: "A000|2026|3944".into() };
        reply.metadata = vec![entry("pratica")];
        reply.transfers[0].metadata = vec![entry("TARI-TEFA-1")];
        reply.transfers[0].iban.clear();
        reply.transfers[0].stamp = Some(proto::Stamp { document_digest: vec![7; 32].into(), province: "MI".into() });
        let payment = payment(reply).unwrap();
        assert_eq!((&*payment.metadata[0].key, &*payment.transfers[0].metadata[0].key), ("pratica", "TARI-TEFA-1"));
        let stamp = Stamp { document_hash: [7; 32], province: "MI".into() };
        assert_eq!(payment.transfers[0].account, Account::Stamp(stamp));
    }

    #[rstest]
    #[case::amount(|reply: &mut ActivatedNotice| reply.notice.as_mut().unwrap().amount_cents = -1, "amount_cents")]
    #[case::due(|reply: &mut ActivatedNotice| reply.notice.as_mut().unwrap().due_date = "16/06/2026".into(), "due_date")]
    #[case::debtor(|reply: &mut ActivatedNotice| reply.debtor = None, "debtor")]
    #[case::kind(|reply: &mut ActivatedNotice| reply.debtor.as_mut().unwrap().kind = "X".into(), "debtor.kind")]
    #[case::iban(|reply: &mut ActivatedNotice| reply.transfers[0].iban = "IT00".into(), "transfers.iban")]
    #[case::stamp(|reply: &mut ActivatedNotice| reply.transfers[0].stamp = Some(proto::Stamp::default()), "transfers.stamp.document_digest")]
    #[case::taxonomy(|reply: &mut ActivatedNotice| reply.transfers[0].taxonomy_code.clear(), "transfers.taxonomy_code")]
    fn a_field_that_cannot_be_read_is_named(#[case] spoil: fn(&mut ActivatedNotice), #[case] field: &str) {
        let mut reply = activated();
        spoil(&mut reply);
        assert_eq!(payment(reply).unwrap_err().field, field);
    }
}
