//! Every refusal of ARCHITECTURE.md 4.7, 4.3, and the numbers that are answered.

use fiorino_domain::{
    date::LegalDate,
    notice::NoticeNumber,
    position::{ExpiryPolicy, InstalmentState},
};
use rstest::rstest;

use super::*;
use crate::positions::stored::StoredBeneficiary;

const POSTAL: &str = "IT26A0760103200001012345678";
const BANK: &str = "IT60X0542811101000000123456";

fn now() -> Timestamp {
    "2026-11-24T10:00:00Z".parse().unwrap()
}

fn code(text: &str) -> InstitutionCode {
    InstitutionCode::parse(text).unwrap()
}

fn number(iban: &str) -> Number {
    Number { iban: iban.to_owned(), postal: iban == POSTAL }
}

fn transfer(id: u8, to: Option<StoredBeneficiary>) -> StoredTransfer {
    let taxonomy = TaxonomyCode::parse("0101101IM").unwrap();
    StoredTransfer { id, cents: Cents::new(50).unwrap(), taxonomy, to, metadata: Vec::new() }
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
    let transfers = payable.transfers();
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
    let ibans: Vec<_> = payable.transfers().into_iter().map(|transfer| transfer.iban).collect();
    assert_eq!(ibans, [BANK, BANK, POSTAL]);
}

#[rstest]
#[case(&[BANK, BANK], false, false)]
#[case(&[POSTAL, BANK], false, true)]
#[case(&[BANK, POSTAL], false, false)]
#[case(&[POSTAL, POSTAL], true, true)]
fn postal_accounts(#[case] ibans: &[&str], #[case] all: bool, #[case] slip: bool) {
    let found = changed(|_, notice| {
        notice.number = Some(number(ibans[0]));
        notice.others = [(2, number(ibans[1]))].into();
    });
    let payable = judge(&found, now()).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    assert_eq!(payable.summary().all_postal, all);
    assert_eq!(payable.allows(TransferType::Postal), slip);
    assert!(payable.allows(TransferType::Unspecified));
    assert!(!payable.allows(TransferType::Pagopa), "no transfer has an alternative account");
}

#[rstest]
#[case(POSTAL, BANK, true)]
#[case(BANK, POSTAL, true)]
#[case(BANK, BANK, false)]
fn alternative_accounts(#[case] iban: &str, #[case] alternative: &str, #[case] allowed: bool) {
    let entry = StoredEntry { key: "IBANAPPOGGIO".to_owned(), value: alternative.to_owned() };
    let found = changed(|_, notice| {
        notice.number = Some(number(iban));
        notice.transfers = vec![StoredTransfer { metadata: vec![entry], ..transfer(1, None) }];
    });
    let payable = judge(&found, now()).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    assert_eq!(payable.allows(TransferType::Pagopa), allowed);
    assert_eq!(payable.transfers()[0].metadata[0].value, alternative, "the metadata is answered");
}
