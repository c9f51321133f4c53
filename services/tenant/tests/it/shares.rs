//! Parts of a debt to the cent, metadata, stamps, and postal numbers beside those of banks: as they are created, shown, changed, and
//! answered to the node.

use fiorino_proto::{
    config::v1::AccountNumber,
    notices::v1::{
        ActivateManyRequest, ActivatedNotice, Activation, Refusal, TransferType, activate_reply,
        notices_server::Notices as _,
    },
    positions::v1::{
        CreatePositionsRequest, MapEntry, NewPosition, NewTransfer, Position, Stamp, UpdateInstalmentRequest,
        create_outcome::Outcome, get_position_request::By, positions_server::Positions as _,
    },
};
use rstest::rstest;
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::{
    fixture::violations,
    manifest::{IBAN, Manifest, PROVINCE, account},
    money::{CLIENT, Money, SERVICE, called, numbers, position},
};

const POSTAL: &str = "IT26A0760103200001012345678";
const DIGEST: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

/// A town whose service shares nothing, and a province that published `tefa`.
async fn start() -> Money {
    let mut manifest = Manifest::new();
    manifest.services[0].code = SERVICE.into();
    manifest.services[0].taxonomy_code = "9/0101101IM/".into();
    let mut money = Money::with(manifest).await;
    money.reconfigure_province(|province| province.accounts[0].published = true).await;
    money
}

fn own(amount_cents: i64) -> NewTransfer {
    NewTransfer { amount_cents, ..NewTransfer::default() }
}

fn tefa(money: &Money, amount_cents: i64) -> NewTransfer {
    NewTransfer {
        beneficiary: money.province.fiscal_code().into(),
        account: "tefa".into(),
        taxonomy_code: "0201102IM".into(),
        ..own(amount_cents)
    }
}

fn stamp() -> NewTransfer {
    let stamp = Stamp { document_digest: DIGEST.into(), province: "RM".into() };
    NewTransfer { stamp: Some(stamp), ..own(1_600) }
}

fn entry(key: &str, value: &str) -> MapEntry {
    MapEntry { key: key.into(), value: value.into() }
}

fn given(reference: &str, amount: i64, transfers: Vec<NewTransfer>) -> NewPosition {
    let mut new = position(reference, &[&[amount]]);
    new.options[0].instalments[0].transfers = transfers;
    new
}

fn refusal(status: &Status) -> String {
    let found = violations(status);
    assert_eq!(found.len(), 1, "{status:?}");
    found.into_iter().next().unwrap()
}

/// (amount, beneficiary, account) of the first instalment's transfers.
fn parts(position: &Position) -> Vec<(i64, &str, &str)> {
    let transfers = position.options[0].instalments[0].transfers.iter();
    transfers.map(|it| (it.amount_cents, it.beneficiary.as_str(), it.account.as_str())).collect()
}

async fn activated(money: &Money, number: &str, wanted: TransferType) -> ActivatedNotice {
    match money.replica.activate(money.notice(number), wanted).await {
        activate_reply::Reply::Activated(activated) => activated,
        activate_reply::Reply::Refusal(refusal) => panic!("{:?}", Refusal::try_from(refusal)),
    }
}

async fn update(money: &Money, change: UpdateInstalmentRequest) -> Result<Position, Status> {
    let request = UpdateInstalmentRequest { institution: money.institution().into(), ..change };
    let response = money.replica.positions.update_instalment(called("maria", request)).await?;
    Ok(response.into_inner().position.unwrap())
}

fn change(position: &Position, amount_cents: Option<i64>, transfers: Vec<NewTransfer>) -> UpdateInstalmentRequest {
    let instalment = &position.options[0].instalments[0];
    UpdateInstalmentRequest {
        notice_number: instalment.notice_number.clone(),
        version: instalment.version,
        amount_cents,
        transfers,
        ..UpdateInstalmentRequest::default()
    }
}

/// What no basis point says: TEFA is 5 % of the tax, on top of it. pagopa.md Appendix A is the last.
#[rstest]
#[case(35_000, 33_333, 1_667)]
#[case(105_000, 100_000, 5_000)]
#[case(600_000, 400_000, 200_000)]
#[case(12_000, 10_000, 2_000)]
#[tokio::test]
async fn parts_reach_the_node_to_the_cent(#[case] amount: i64, #[case] tari: i64, #[case] province: i64) {
    let money = start().await;
    let created = money.create(given("a", amount, vec![own(tari), tefa(&money, province)])).await;
    let (issuer, other) = (money.institution(), money.province.fiscal_code());
    let expected = [(tari, issuer, "tesoreria"), (province, other, "tefa")];
    assert_eq!(parts(&created), expected);
    assert_eq!(money.again(&created).await, created, "as it was created, so it is read");
    let number = numbers(&created).remove(0);
    assert_eq!(money.verify(&number).await.unwrap().amount_cents, amount);
    let answered = activated(&money, &number, TransferType::Unspecified).await;
    let shown: Vec<_> = (answered.transfers.iter())
        .map(|it| (it.id, it.amount_cents, it.beneficiary.as_str(), it.iban.as_str(), it.taxonomy_code.as_str()))
        .collect();
    assert_eq!(shown, [(1, tari, issuer, IBAN, "9/0101101IM/"), (2, province, other, PROVINCE, "9/0201102IM/")]);
}

/// Metadata of position, instalment and transfer, and texts: stored with the notice, shown, answered.
#[tokio::test]
async fn metadata_and_texts_are_kept_shown_and_answered() {
    let money = start().await;
    let mut tari = own(10_000);
    tari.metadata = vec![entry("TARI-TEFA-1", "A000|2026|3944")];
    let mut province = tefa(&money, 2_000);
    province.metadata = vec![entry("TARI-TEFA-2", "A000|2026|TEFA")];
    province.remittance = "TEFA 2026".into();
    let mut new = given("a", 12_000, vec![tari, province]);
    new.metadata = vec![entry("ufficio", "tributi")];
    new.options[0].instalments[0].metadata = vec![entry("pratica", "7/2026")];
    let created = money.create(new).await;
    let instalment = &created.options[0].instalments[0];
    let both = [entry("ufficio", "tributi"), entry("pratica", "7/2026")];
    assert_eq!(instalment.metadata, both);
    assert_eq!(instalment.transfers[1].metadata, [entry("TARI-TEFA-2", "A000|2026|TEFA")]);
    let texts = |transfers: &[fiorino_proto::positions::v1::Transfer]| -> Vec<String> {
        transfers.iter().map(|it| it.remittance.clone()).collect()
    };
    assert_eq!(texts(&instalment.transfers), ["TARI 2026", "TEFA 2026"]);
    let number = instalment.notice_number.clone();
    assert_eq!(money.get(By::NoticeNumber(number.clone())).await.unwrap(), created);
    let answered = activated(&money, &number, TransferType::Unspecified).await;
    let pairs = |entries: &[fiorino_proto::notices::v1::MapEntry]| -> Vec<(String, String)> {
        entries.iter().map(|it| (it.key.clone(), it.value.clone())).collect()
    };
    assert_eq!(pairs(&answered.metadata), both.map(|it| (it.key, it.value)));
    assert_eq!(pairs(&answered.transfers[0].metadata), [("TARI-TEFA-1".into(), "A000|2026|3944".into())]);
    assert_eq!(answered.transfers[1].remittance, "TEFA 2026");
    // Another description is that of the transfers that have none of their own.
    money.advance(31);
    let described =
        UpdateInstalmentRequest { description: Some("TARI, saldo".into()), ..change(&created, None, vec![]) };
    let changed = update(&money, described).await.unwrap();
    assert_eq!(texts(&changed.options[0].instalments[0].transfers), ["TARI, saldo", "TEFA 2026"]);
}

#[tokio::test]
async fn a_stamp_is_a_transfer_without_an_account() {
    let mut money = start().await;
    let created = money.create(given("a", 2_600, vec![own(1_000), stamp()])).await;
    let shown = &created.options[0].instalments[0].transfers[1];
    assert_eq!((shown.beneficiary.as_str(), shown.account.as_str()), (money.institution(), ""));
    assert_eq!(shown.stamp, stamp().stamp);
    assert_eq!(money.again(&created).await, created);
    let number = numbers(&created).remove(0);
    assert!(!money.verify(&number).await.unwrap().all_postal);
    let answered = activated(&money, &number, TransferType::Pagopa).await.transfers.remove(1);
    assert_eq!((answered.iban.as_str(), answered.beneficiary.as_str()), ("", money.institution()));
    assert_eq!(answered.stamp.map(|stamp| (stamp.document_digest.len(), stamp.province)), Some((32, "RM".to_owned())));
    assert_eq!(money.cases().await, [], "a stamp lacks no account");
    // The first version of the primitives has no place for it.
    money.reconfigure(|manifest| manifest.station.primitive_version = 1).await;
    let status = money.replica.create(money.institution(), CLIENT, given("b", 1_600, vec![stamp()])).await.unwrap_err();
    let told = refusal(&status);
    assert!(
        told.starts_with("position.options[0].instalments[0].transfers[0].stamp: a stamp is bought with"),
        "{told}"
    );
}

/// In a batch each has its own outcome; what is refused has left nothing.
#[tokio::test]
async fn what_cannot_be_paid_to_is_refused_by_field_rule_and_remedy() {
    let mut money = start().await;
    money
        .reconfigure_province(|province| {
            province.accounts.push(account("interno", &[("2026-01-01", POSTAL)]));
            province.accounts.push(account("futuro", &[("2027-01-01", POSTAL)]));
            province.accounts[2].published = true;
        })
        .await;
    let named =
        |code: &str, name: &str| NewTransfer { beneficiary: code.into(), account: name.into(), ..tefa(&money, 10) };
    let code = money.province.fiscal_code();
    let asked = [
        (vec![own(5), own(4)], "transfers: add up to 9 cents, the amount of the instalment is 10 cents; correct one of them".to_owned()),
        (vec![named("80001234567", "tefa")], "transfers[0].beneficiary: no institution here has the fiscal code 80001234567; correct it, or have a CreditorInstitution applied with it (role BeneficiaryOnly)".to_owned()),
        (vec![named(code, "altro")], format!("transfers[0].account: institution {code} has no account altro; name another, or have an Iban of that name applied")),
        (vec![named(code, "interno")], format!("transfers[0].account: institution {code} has not published its account interno; ask it to set spec.published: true")),
        (vec![named(code, "futuro")], format!("transfers[0].account: account futuro of institution {code} has no number that can be paid to today; name another, or have one added")),
        (vec![NewTransfer { account: "nessuno".into(), ..own(10) }], format!("transfers[0].account: institution {} has no account nessuno; name another, or have an Iban of that name applied", money.institution())),
        (vec![tefa(&money, 10)], String::new()),
    ];
    let positions = asked.iter().enumerate().map(|(at, (transfers, _))| given(&at.to_string(), 10, transfers.clone()));
    let request = CreatePositionsRequest { institution: money.institution().into(), positions: positions.collect() };
    let response = money.replica.positions.create_positions(called(CLIENT, request)).await.unwrap().into_inner();
    for (at, (outcome, (_, told))) in response.outcomes.into_iter().zip(&asked).enumerate() {
        match outcome.outcome.unwrap() {
            Outcome::Created(_) => assert!(told.is_empty(), "{at}"),
            Outcome::Refused(refused) => {
                let place = format!("positions[{at}].options[0].instalments[0].");
                assert_eq!(format!("{}: {}", refused.field, refused.message), format!("{place}{told}"));
                assert_eq!(refused.code, i32::from(Code::InvalidArgument));
            }
        }
    }
    assert_eq!((money.count("debt_position").await, money.count("client_reference").await), (1, 1));
}

/// The request of before this existed has the hash that it had; what is new is part of it.
#[tokio::test]
async fn the_key_of_a_repetition_holds_the_parts() {
    let money = start().await;
    let new = given("a", 12_000, vec![own(10_000), tefa(&money, 2_000)]);
    let created = money.create(new.clone()).await;
    let again = money.replica.create(money.institution(), CLIENT, new.clone()).await.unwrap();
    assert!(again.replayed && again.position.as_ref() == Some(&created));
    let mut others: Vec<NewPosition> = vec![new.clone(); 4];
    others[0].options[0].instalments[0].transfers = vec![own(9_999), tefa(&money, 2_001)];
    others[1].options[0].instalments[0].transfers.clear();
    others[2].metadata = vec![entry("k", "v")];
    others[3].options[0].instalments[0].transfers[1].metadata = vec![entry("k", "v")];
    for other in others {
        let status = money.replica.create(money.institution(), CLIENT, other).await.unwrap_err();
        assert_eq!(status.code(), Code::AlreadyExists, "{status:?}");
    }
}

/// A debt whose parts were given needs them anew with another amount; nothing divides them by itself.
#[tokio::test]
async fn given_parts_are_changed_by_giving_them_anew() {
    let money = start().await;
    let created = money.create(given("a", 12_000, vec![own(10_000), tefa(&money, 2_000)])).await;
    let (issuer, province) = (money.institution(), money.province.fiscal_code());
    let status = update(&money, change(&created, Some(24_000), vec![])).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let told = "transfers: were given, and add up to 12000 cents; send transfers that add up to 24000 cents with it";
    assert_eq!(refusal(&status), told);
    let status =
        update(&money, change(&created, Some(24_000), vec![own(20_000), tefa(&money, 3_000)])).await.unwrap_err();
    let told = "transfers: add up to 23000 cents, the amount of the instalment is 24000 cents; correct one of them";
    assert_eq!(refusal(&status), told);
    let named = NewTransfer { remittance: "di RSSMRA80A01H501U".into(), ..own(12_000) };
    let status = update(&money, change(&created, None, vec![named])).await.unwrap_err();
    assert!(refusal(&status).starts_with("transfers[0].remittance: must not hold the debtor's fiscal code"));
    assert_eq!(money.again(&created).await, created, "nothing was half done");
    let changed = update(&money, change(&created, Some(24_000), vec![own(20_000), tefa(&money, 4_000)])).await.unwrap();
    assert_eq!(parts(&changed), [(20_000, issuer, "tesoreria"), (4_000, province, "tefa")]);
    // The same amount again, and other texts, leave them as they are.
    let same = update(&money, change(&changed, Some(24_000), vec![])).await.unwrap();
    assert_eq!(parts(&same), parts(&changed));
    // Other parts of the same amount.
    let other = update(&money, change(&same, None, vec![tefa(&money, 24_000)])).await.unwrap();
    assert_eq!(parts(&other), [(24_000, province, "tefa")]);
    let number = numbers(&other).remove(0);
    assert_eq!(activated(&money, &number, TransferType::Unspecified).await.transfers[0].iban, PROVINCE);
}

/// An amount is divided by the shares of when the debt was made, whatever the service says today.
#[tokio::test]
async fn an_amount_is_divided_as_the_debt_was_made() {
    let mut money = Money::start().await;
    let created = money.create(position("a", &[&[10_000]])).await;
    let (issuer, province) = (money.institution().to_owned(), money.province.fiscal_code().to_owned());
    money.reconfigure(|manifest| manifest.services[0].beneficiaries.clear()).await;
    let changed = update(&money, change(&created, Some(35_001), vec![])).await.unwrap();
    assert_eq!(parts(&changed), [(33_251, issuer.as_str(), "tesoreria"), (1_750, province.as_str(), "tefa")]);
    let now = money.create(position("b", &[&[10_000]])).await;
    assert_eq!(parts(&now), [(10_000, issuer.as_str(), "tesoreria")], "new debts go by what the service says");
    let changed = update(&money, change(&changed, Some(1), vec![])).await.unwrap();
    assert_eq!(parts(&changed), [(1, issuer.as_str(), "tesoreria")]);
    let changed = update(&money, change(&changed, Some(10_000), vec![])).await.unwrap();
    assert_eq!(parts(&changed)[1], (500, province.as_str(), "tefa"), "a share of nothing is not forgotten");
}

/// Of a debt that an older version made it is not known how it was divided.
#[tokio::test]
async fn a_debt_of_before_is_divided_among_the_same_or_not_at_all() {
    let mut money = Money::start().await;
    let created = money.create(position("a", &[&[10_000]])).await;
    sqlx::query("update notice set division = null").execute(money.pool()).await.unwrap();
    let changed = update(&money, change(&created, Some(20_000), vec![])).await.unwrap();
    assert_eq!(parts(&changed).iter().map(|part| part.0).collect::<Vec<_>>(), [19_000, 1_000]);
    sqlx::query("update notice set division = null").execute(money.pool()).await.unwrap();
    money.reconfigure(|manifest| manifest.services[0].beneficiaries.clear()).await;
    let status = update(&money, change(&changed, Some(10_000), vec![])).await.unwrap_err();
    let told = "transfers: the shares of service TARI are others than those of this instalment; send transfers that add up to 10000 cents with it";
    assert_eq!(refusal(&status), told);
}

/// The row of `activation`: (amount asked, transfers).
async fn recorded(money: &Money) -> (Option<i64>, Value) {
    sqlx::query_as("select requested_cents, transfers from activation order by id desc limit 1")
        .fetch_one(money.pool())
        .await
        .unwrap()
}

/// No kind of transfer is refused. A slip goes to the postal account beside that of the service; pagoPA's own touch points are told of
/// it; its numbers change by the rule of every account.
#[tokio::test]
async fn a_postal_account_stands_beside_the_banks() {
    let mut money = start().await;
    let number = numbers(&money.create(given("a", 12_000, vec![own(10_000), tefa(&money, 2_000)])).await).remove(0);
    let told = async |money: &Money, wanted| -> Vec<(String, Option<String>)> {
        let notice = activated(money, &number, wanted).await;
        assert!(!notice.notice.unwrap().all_postal);
        let alternative = |transfer: &fiorino_proto::notices::v1::Transfer| {
            transfer.metadata.iter().find(|entry| entry.key == "IBANAPPOGGIO").map(|entry| entry.value.clone())
        };
        notice.transfers.iter().map(|transfer| (transfer.iban.clone(), alternative(transfer))).collect()
    };
    let plain = [(IBAN.to_owned(), None), (PROVINCE.to_owned(), None)];
    for wanted in [TransferType::Unspecified, TransferType::Postal, TransferType::Pagopa] {
        assert_eq!(told(&money, wanted).await, plain, "{wanted:?}: there is no postal account");
    }
    money
        .reconfigure(|manifest| {
            manifest.accounts.push(account("posta", &[("2026-12-01", POSTAL)]));
            manifest.accounts[1].numbers[0].postal = true;
            manifest.accounts[0].postal_account = "posta".into();
        })
        .await;
    assert_eq!(told(&money, TransferType::Postal).await, plain, "its number is not valid yet");
    money.time.set("2026-12-01T10:00:00Z".parse().unwrap());
    let slip = [(POSTAL.to_owned(), None), (PROVINCE.to_owned(), None)];
    let app = [(IBAN.to_owned(), Some(POSTAL.to_owned())), (PROVINCE.to_owned(), None)];
    assert_eq!(told(&money, TransferType::Unspecified).await, plain);
    assert_eq!(told(&money, TransferType::Postal).await, slip);
    let (issuer, province) = (money.institution(), money.province.fiscal_code());
    let of_province = json!({ "id": 2, "cents": 2_000, "beneficiary": province, "iban": PROVINCE });
    let of_issuer = json!({ "id": 1, "cents": 10_000, "beneficiary": issuer, "iban": POSTAL });
    assert_eq!(recorded(&money).await, (None, json!([of_issuer, of_province])));
    assert_eq!(told(&money, TransferType::Pagopa).await, app);
    let of_issuer = json!({ "id": 1, "cents": 10_000, "beneficiary": issuer, "iban": IBAN, "alternative": POSTAL });
    assert_eq!(recorded(&money).await, (None, json!([of_issuer, of_province])), "either may be in the receipt");
    // The same for who shares.
    money
        .reconfigure_province(|province| {
            province.accounts.push(account("posta", &[("2026-01-01", "IT06A0760103200009876543210")]));
            province.accounts[1].numbers[0].postal = true;
            province.accounts[0].postal_account = "posta".into();
        })
        .await;
    assert_eq!(told(&money, TransferType::Postal).await[1].0, "IT06A0760103200009876543210");
    // A later number waits for pagoPA, and a bank's number is no postal one.
    money
        .reconfigure(|manifest| {
            let bank =
                AccountNumber { valid_from: "2026-12-02".into(), iban: PROVINCE.into(), ..AccountNumber::default() };
            manifest.accounts[1].numbers.push(bank);
        })
        .await;
    money.time.set("2026-12-02T10:00:00Z".parse().unwrap());
    assert_eq!(told(&money, TransferType::Postal).await[0].0, POSTAL, "pagoPA does not show the later one");
    sqlx::query("update account_number set registered_from = valid_from").execute(money.pool()).await.unwrap();
    assert_eq!(told(&money, TransferType::Postal).await[0].0, IBAN);
    money.reconfigure(|manifest| manifest.accounts[0].postal_account.clear()).await;
    assert_eq!(told(&money, TransferType::Pagopa).await[0], (IBAN.to_owned(), None));
}

/// 0.00 is a request like any other, and not the same as none.
#[rstest]
#[case(None)]
#[case(Some(0))]
#[case(Some(9_000))]
#[tokio::test]
async fn the_amount_that_was_asked_is_recorded(#[case] requested_cents: Option<i64>) {
    let money = start().await;
    let number = numbers(&money.create(position("a", &[&[10_000]])).await).remove(0);
    let activation = Activation { notice: Some(money.notice(&number)), requested_cents, ..Activation::default() };
    let request = ActivateManyRequest { activations: vec![activation] };
    money.replica.notices.activate_many(called("node-connector", request)).await.unwrap();
    assert_eq!(recorded(&money).await.0, requested_cents);
}
