//! Every refusal of ARCHITECTURE.md 4.7, 4.3, and the numbers that are answered.

use std::collections::BTreeMap;

use fiorino_domain::{
    date::LegalDate,
    notice::NoticeNumber,
    position::{ExpiryPolicy, InstalmentState},
};
use rstest::rstest;

use super::*;
use crate::positions::stored::StoredBeneficiary;

const POSTAL: &str = "IT26A0760103200001012345678";
const OTHER_POSTAL: &str = "IT06A0760103200009876543210";
const BANK: &str = "IT60X0542811101000000123456";

fn now() -> Timestamp {
    "2026-11-24T10:00:00Z".parse().unwrap()
}

fn code(text: &str) -> InstitutionCode {
    InstitutionCode::parse(text).unwrap()
}

fn number(iban: &str) -> Number {
    Number { iban: iban.to_owned(), postal: [POSTAL, OTHER_POSTAL].contains(&iban) }
}

fn transfer(id: u8, to: Option<StoredBeneficiary>) -> StoredTransfer {
    let taxonomy = TaxonomyCode::parse("0101101IM").unwrap();
    StoredTransfer {
        id,
        cents: Cents::new(50).unwrap(),
        taxonomy,
        to,
        remittance: None,
        metadata: Vec::new(),
        stamp: None,
    }
}

fn province(account: &str) -> StoredBeneficiary {
    StoredBeneficiary { code: code("80001234567"), name: "Provincia".to_owned(), account: account.to_owned() }
}

fn found() -> Found {
    let institution = Institution {
        id: 7,
        code: code("80012340560"),
        phase: LifecyclePhase::Live,
        legal_name: "Comune".to_owned(),
        office_name: String::new(),
        config_seq: 1,
        node_connected: true,
        associated: true,
    };
    let notice = Notice {
        nav: NoticeNumber::parse("312000000000471179").unwrap(),
        state: InstalmentState::Payable,
        version: 1,
        amount: Cents::new(100).unwrap(),
        due: None,
        issued_on: LegalDate::parse("2026-01-01").unwrap(),
        expiry: ExpiryPolicy::NotPayableAfterDueDate,
        description: "TARI".to_owned(),
        account: "tesoreria".to_owned(),
        transfers: vec![transfer(1, None), transfer(2, Some(province("tefa")))],
        number: Some(number(BANK)),
        others: [(2, number(BANK))].into(),
        postal: None,
        postal_others: BTreeMap::new(),
        metadata: Vec::new(),
        debtor: None,
    };
    Found { institution: Some(institution), notice: Some(notice) }
}

fn changed(change: impl FnOnce(&mut Institution, &mut Notice)) -> Found {
    let mut found = found();
    change(found.institution.as_mut().unwrap(), found.notice.as_mut().unwrap());
    found
}

fn refused(found: &Found) -> Option<Refusal> {
    judge(found, now()).err()
}

#[test]
fn payable() {
    let found = found();
    let payable = judge(&found, now()).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    let summary = payable.summary();
    assert_eq!((summary.iuv.as_str(), summary.amount_cents, summary.all_postal), ("12000000000471179", 100, false));
    assert_eq!((summary.issued_on.as_str(), summary.due_date.as_str()), ("2026-01-01", ""));
    let transfers = payable.transfers(TransferType::Unspecified);
    assert_eq!(transfers[0].beneficiary, "80012340560");
    assert_eq!((transfers[1].beneficiary.as_str(), transfers[1].remittance.as_str()), ("80001234567", "TARI"));
}

#[rstest]
#[case(LifecyclePhase::Testing, None)]
#[case(LifecyclePhase::Live, None)]
#[case(LifecyclePhase::Suspended, None)]
#[case(LifecyclePhase::Leaving, None)]
#[case(LifecyclePhase::Closed, Some(Refusal::Institution))]
#[case(LifecyclePhase::Unspecified, Some(Refusal::Institution))]
fn phases(#[case] phase: LifecyclePhase, #[case] refusal: Option<Refusal>) {
    assert_eq!(refused(&changed(|institution, _| institution.phase = phase)), refusal);
}

#[rstest]
#[case(InstalmentState::Payable, None)]
#[case(InstalmentState::Draft, Some(Refusal::Unknown))]
#[case(InstalmentState::Paid, Some(Refusal::Paid))]
#[case(InstalmentState::ReportedWithoutReceipt, Some(Refusal::Paid))]
#[case(InstalmentState::Superseded, Some(Refusal::Cancelled))]
#[case(InstalmentState::Cancelled, Some(Refusal::Cancelled))]
fn states(#[case] state: InstalmentState, #[case] refusal: Option<Refusal>) {
    assert_eq!(refused(&changed(|_, notice| notice.state = state)), refusal);
}

/// The institution comes before the station, the station before the notice.
#[test]
fn order() {
    assert_eq!(refused(&Found::default()), Some(Refusal::Institution));
    let no_station = |notice| changed(|institution, found| (institution.associated, found.state) = (false, notice));
    assert_eq!(refused(&no_station(InstalmentState::Paid)), Some(Refusal::Station));
    assert_eq!(refused(&Found { notice: None, ..no_station(InstalmentState::Paid) }), Some(Refusal::Station));
    assert_eq!(refused(&Found { notice: None, ..found() }), Some(Refusal::Unknown));
}

#[test]
fn expiry_is_a_legal_date() {
    let due = |text: &str| changed(|_, notice| notice.due = Some(LegalDate::parse(text).unwrap()));
    assert_eq!(refused(&due("2026-11-24")), None);
    assert_eq!(refused(&due("2026-11-23")), Some(Refusal::Expired));
    // 23:30 UTC is the next day in Rome.
    let late = "2026-11-24T23:30:00Z".parse().unwrap();
    assert_eq!(judge(&due("2026-11-24"), late).err(), Some(Refusal::Expired));
    let patient = changed(|_, notice| {
        notice.due = Some(LegalDate::parse("2020-01-01").unwrap());
        notice.expiry = ExpiryPolicy::PayableAfterDueDate;
    });
    assert_eq!(refused(&patient), None);
}

#[test]
fn every_account_of_its_transfers_needs_a_number_and_no_other_does() {
    let unnumbered = |found: &Found| {
        let (institution, notice) = (found.institution.as_ref().unwrap(), found.notice.as_ref().unwrap());
        notice.unnumbered(institution).map(|(code, account)| format!("{code} {account}"))
    };
    let own = changed(|_, notice| notice.number = None);
    assert_eq!((refused(&own), unnumbered(&own)), (Some(Refusal::NoAccount), Some("80012340560 tesoreria".to_owned())));
    let other = changed(|_, notice| notice.others.clear());
    assert_eq!((refused(&other), unnumbered(&other)), (Some(Refusal::NoAccount), Some("80001234567 tefa".to_owned())));
    let only_others = changed(|_, notice| {
        notice.number = None;
        notice.transfers.remove(0);
    });
    assert_eq!((refused(&only_others), unnumbered(&only_others)), (None, None));
}

/// One institution may receive twice, to two accounts.
#[test]
fn each_transfer_goes_to_the_number_of_its_own_account() {
    let found = changed(|_, notice| {
        notice.transfers.push(transfer(3, Some(province("sanzioni"))));
        notice.others.insert(3, number(POSTAL));
    });
    let payable = judge(&found, now()).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    let ibans: Vec<_> =
        payable.transfers(TransferType::Unspecified).into_iter().map(|transfer| transfer.iban).collect();
    assert_eq!(ibans, [BANK, BANK, POSTAL]);
}

/// No kind of transfer is refused (pagopa.md 2.6): a slip goes to the postal account where there is one, and pagoPA's own touch points
/// are told of it.
#[rstest]
#[case::bank(BANK, None, [(BANK, None), (BANK, None), (BANK, None)])]
#[case::postal_alone(POSTAL, None, [(POSTAL, None), (POSTAL, None), (POSTAL, None)])]
#[case::postal_beside(BANK, Some(POSTAL), [(BANK, None), (POSTAL, None), (BANK, Some(POSTAL))])]
#[case::two_postal_ones(POSTAL, Some(OTHER_POSTAL), [(POSTAL, None), (POSTAL, None), (POSTAL, None)])]
fn no_kind_of_transfer_is_refused(
    #[case] iban: &str,
    #[case] beside: Option<&str>,
    #[case] answers: [(&str, Option<&str>); 3],
) {
    let found = changed(|_, notice| {
        notice.number = Some(number(iban));
        notice.postal = beside.map(str::to_owned);
        notice.others = [(2, number(iban))].into();
        notice.postal_others = beside.map(|beside| (2, beside.to_owned())).into_iter().collect();
    });
    let payable = judge(&found, now()).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    for (wanted, (iban, alternative)) in
        [TransferType::Unspecified, TransferType::Postal, TransferType::Pagopa].into_iter().zip(answers)
    {
        for transfer in payable.transfers(wanted) {
            let told = transfer.metadata.iter().find(|entry| entry.key == "IBANAPPOGGIO");
            assert_eq!(
                (transfer.iban.as_str(), told.map(|entry| entry.value.as_str())),
                (iban, alternative),
                "{wanted:?}"
            );
        }
    }
}

/// `allCCP` is of the accounts that the notice names, whatever stands beside them.
#[rstest]
#[case([BANK, BANK], false)]
#[case([POSTAL, BANK], false)]
#[case([BANK, POSTAL], false)]
#[case([POSTAL, POSTAL], true)]
fn all_postal_is_of_every_account(#[case] ibans: [&str; 2], #[case] all: bool) {
    let found = changed(|_, notice| {
        notice.number = Some(number(ibans[0]));
        notice.others = [(2, number(ibans[1]))].into();
        notice.postal = Some(POSTAL.to_owned());
        notice.postal_others = [(2, POSTAL.to_owned())].into();
    });
    let payable = judge(&found, now()).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    assert_eq!(payable.summary().all_postal, all);
}

#[test]
fn what_a_transfer_tells_is_answered_before_what_is_added() {
    let entry = |key: &str, value: &str| StoredEntry { key: key.to_owned(), value: value.to_owned() };
    let found = changed(|_, notice| {
        notice.postal = Some(POSTAL.to_owned());
        notice.metadata = vec![entry("pratica", "7")];
        notice.transfers = vec![StoredTransfer {
            metadata: vec![entry("TARI-TEFA-1", "A000|2026|3944")],
            remittance: Some("TARI quota comune".to_owned()),
            ..transfer(1, None)
        }];
    });
    let payable = judge(&found, now()).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    let answered = payable.transfers(TransferType::Pagopa).remove(0);
    let keys: Vec<_> = answered.metadata.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!((answered.remittance.as_str(), keys), ("TARI quota comune", vec!["TARI-TEFA-1", "IBANAPPOGGIO"]));
    assert_eq!(payable.metadata()[0].value, "7");
}

/// A stamp needs no number, and its account is nobody's.
#[test]
fn a_stamp_goes_to_no_account() {
    let found = changed(|institution, notice| {
        let to = StoredBeneficiary { code: institution.code, name: "Comune".to_owned(), account: String::new() };
        let digest = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=".to_owned();
        let stamp = Some(StoredStamp { digest, province: "MI".to_owned() });
        notice.transfers = vec![transfer(1, None), StoredTransfer { stamp, ..transfer(2, Some(to)) }];
        notice.others.clear();
        notice.number = Some(number(POSTAL));
    });
    let payable = judge(&found, now()).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    assert!(!payable.summary().all_postal, "a stamp is no postal account");
    let answered = payable.transfers(TransferType::Pagopa).remove(1);
    let stamp = answered.stamp.unwrap();
    assert_eq!((stamp.document_digest.len(), stamp.province.as_str(), answered.iban.as_str()), (32, "MI", ""));
    assert_eq!(answered.beneficiary, "80012340560");
    let (institution, notice) = (found.institution.as_ref().unwrap(), found.notice.as_ref().unwrap());
    assert!(notice.unnumbered(institution).is_none());
}
