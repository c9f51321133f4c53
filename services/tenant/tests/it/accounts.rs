//! Numbers of accounts: no manifest alone changes which one is paid to, and no notice is issued that nobody could pay.

use fiorino_proto::{
    config::v1::{AccountNumber, Attestation},
    positions::v1::PublishPositionRequest,
};
use fiorino_tenant::positions::Positions;
use tonic::Code;

use crate::{
    fixture::violations,
    manifest::{IBAN, IBAN_LATER, Manifest, PROVINCE, account},
    money::{CLIENT, Money, SERVICE, called, numbers, position},
};

/// The bank's: of another town.
const OTHER: &str = "IT80D0306909606100000067890";

/// A municipality whose account `tesoreria` has these numbers, and a notice that can be paid.
async fn town(told: &[(&str, &str)]) -> (Money, String) {
    let mut manifest = Manifest::new();
    manifest.services[0].code = SERVICE.into();
    manifest.accounts[0] = account("tesoreria", told);
    let money = Money::with(manifest).await;
    let number = numbers(&money.create(position("a", &[&[10_000]])).await).remove(0);
    (money, number)
}

fn number(valid_from: &str, iban: &str) -> AccountNumber {
    AccountNumber { valid_from: valid_from.into(), iban: iban.into(), ..AccountNumber::default() }
}

fn attested(valid_from: &str, iban: &str) -> AccountNumber {
    let attestation =
        Attestation { by: "Ragioneria".into(), date: "2026-10-20".into(), document: "prot. 12/2026".into() };
    AccountNumber { attestation: Some(attestation), ..number(valid_from, iban) }
}

/// What payments to the account go to today.
async fn in_use(money: &Money, name: &str) -> Option<String> {
    sqlx::query_scalar("select f.iban from account a cross join lateral number_in_use(a.institution_id, a.name, $2) f where a.name = $1")
        .bind(name)
        .bind(jiff_sqlx::Date::from(money.clock().today()))
        .fetch_optional(money.pool())
        .await
        .unwrap()
}

/// The one reason for which the account of a manifest is refused.
async fn reason(money: &Money, manifest: &Manifest, name: &str) -> String {
    let refused = money.refused(manifest).await;
    let uid = manifest.account_uid(name);
    let reasons: Vec<_> = refused.iter().filter(|(of, _)| *of == uid).map(|(_, message)| message.clone()).collect();
    assert_eq!(reasons.len(), 1, "{refused:?}");
    reasons.into_iter().next().unwrap()
}

/// The old account is added for the record: what is open is paid on to the new one.
#[tokio::test]
async fn an_earlier_entry_never_comes_into_use() {
    let (mut money, notice) = town(&[("2026-01-01", IBAN)]).await;
    money.activate(&notice).await;
    money.manifest.generation += 1;
    money.manifest.accounts[0].numbers.insert(0, number("2024-01-01", OTHER));
    let told = reason(&money, &money.manifest, "tesoreria").await;
    assert!(told.contains("2024-01-01 is earlier than the account's earliest, of 2026-01-01"), "{told}");
    assert_eq!(in_use(&money, "tesoreria").await.as_deref(), Some(IBAN));
    // Nor with an object that was made anew.
    let anew = Manifest { cluster: "c2".into(), ..money.manifest.clone() };
    assert!(reason(&money, &anew, "tesoreria").await.contains("is earlier than"));
    assert_eq!(in_use(&money, "tesoreria").await.as_deref(), Some(IBAN));
}

#[tokio::test]
async fn withdrawing_a_number_brings_none_into_use_that_pagopa_never_showed() {
    let (mut money, notice) = town(&[("2026-01-01", IBAN)]).await;
    money.activate(&notice).await;
    money.read_back(&[(&money.manifest, IBAN, "2026-01-01")]).await;
    money.manifest.generation += 1;
    money.manifest.accounts[0].numbers = vec![number("2024-01-01", OTHER), number("2026-01-01", IBAN)];
    money.manifest.accounts[0].numbers[1].withdrawn = true;
    assert!(reason(&money, &money.manifest, "tesoreria").await.contains("is earlier than"));
    money.manifest.accounts[0].numbers[0].valid_from = "2026-02-01".into();
    let told = reason(&money, &money.manifest, "tesoreria").await;
    assert!(told.contains("without the number valid from 2026-01-01 Iban tesoreria has none"), "{told}");
    assert_eq!(in_use(&money, "tesoreria").await.as_deref(), Some(IBAN));
    // The way it goes: both stand there, pagoPA shows the new one, then the old one is withdrawn.
    money.reconfigure(|manifest| manifest.accounts[0].numbers[1].withdrawn = false).await;
    money.read_back(&[(&money.manifest, IBAN, "2026-01-01"), (&money.manifest, OTHER, "2026-02-01")]).await;
    money.reconfigure(|manifest| manifest.accounts[0].numbers[1].withdrawn = true).await;
    assert_eq!(in_use(&money, "tesoreria").await.as_deref(), Some(OTHER));
}

/// An older revision of the repository is applied after the object was deleted.
#[tokio::test]
async fn a_withdrawal_outlives_the_object() {
    let (mut money, _) = town(&[("2026-01-01", IBAN), ("2026-06-01", OTHER)]).await;
    let shown = [(&money.manifest, IBAN, "2026-01-01"), (&money.manifest, OTHER, "2026-06-01")];
    money.read_back(&shown).await;
    assert_eq!(in_use(&money, "tesoreria").await.as_deref(), Some(OTHER));
    let before = money.manifest.clone();
    money.reconfigure(|manifest| manifest.accounts[0].numbers[1].withdrawn = true).await;
    assert_eq!(in_use(&money, "tesoreria").await.as_deref(), Some(IBAN));
    let deleted = Manifest { accounts: vec![], services: vec![], generation: 9, ..money.manifest.clone() };
    money.applied(&deleted).await;
    let anew = Manifest { cluster: "c2".into(), ..before };
    let told = reason(&money, &anew, "tesoreria").await;
    assert!(told.contains("valid from 2026-06-01 was withdrawn, and this is never taken back"), "{told}");
    assert_eq!(in_use(&money, "tesoreria").await.as_deref(), Some(IBAN));
    // A revision from before the second number leaves nothing open, as that one is withdrawn.
    let mut first_alone = anew.clone();
    first_alone.accounts[0].numbers.truncate(1);
    money.applied(&first_alone).await;
    assert_eq!(in_use(&money, "tesoreria").await.as_deref(), Some(IBAN));
    assert!(reason(&money, &Manifest { generation: 2, ..anew }, "tesoreria").await.contains("never taken back"));
}

/// What a manifest does not name is not what it withdrew: it counts again when it is named again.
#[tokio::test]
async fn a_number_that_is_left_out_before_its_day_may_come_back() {
    let (mut money, _) = town(&[("2026-01-01", IBAN), ("2026-12-01", OTHER)]).await;
    money.reconfigure(|manifest| manifest.accounts[0].numbers.truncate(1)).await;
    money.read_back(&[(&money.manifest, OTHER, "2026-11-01")]).await;
    money.time.set("2026-12-01T10:00:00Z".parse().unwrap());
    assert_eq!(in_use(&money, "tesoreria").await.as_deref(), Some(IBAN));
    money.reconfigure(|manifest| manifest.accounts[0].holder = "Tesoreria comunale".into()).await;
    money.reconfigure(|manifest| manifest.accounts[0].numbers.push(number("2026-12-01", OTHER))).await;
    assert_eq!(in_use(&money, "tesoreria").await.as_deref(), Some(OTHER));
    // Now pagoPA has shown it: it stays.
    money.manifest.generation += 1;
    money.manifest.accounts[0].numbers.truncate(1);
    let told = reason(&money, &money.manifest, "tesoreria").await;
    assert!(told.contains("valid from 2026-12-01 is missing"), "{told}");
    assert_eq!(in_use(&money, "tesoreria").await.as_deref(), Some(OTHER));
}

/// A wrong number is corrected as everybody would, until the first answer that names it.
#[tokio::test]
async fn a_number_is_corrected_until_somebody_is_answered_with_it() {
    let (mut money, notice) = town(&[("2026-01-01", OTHER)]).await;
    money.verify(&notice).await.unwrap();
    money.reconfigure(|manifest| manifest.accounts[0].numbers[0].iban = IBAN.into()).await;
    assert_eq!(in_use(&money, "tesoreria").await.as_deref(), Some(IBAN));
    let fixed = async || -> Vec<bool> {
        sqlx::query_scalar("select used from account_number where account = 'tesoreria'")
            .fetch_all(money.pool())
            .await
            .unwrap()
    };
    assert_eq!(fixed().await, [false]);
    money.activate(&notice).await;
    money.activate(&notice).await;
    assert_eq!(fixed().await, [true]);
    let mut edited = money.manifest.clone();
    edited.generation += 1;
    edited.accounts[0].numbers[0].iban = IBAN_LATER.into();
    let told = reason(&money, &edited, "tesoreria").await;
    assert!(told.contains("valid from 2026-01-01 is another one than before, which was paid to"), "{told}");
    let anew = Manifest { cluster: "c2".into(), ..edited };
    assert!(reason(&money, &anew, "tesoreria").await.contains("is another one than before"));
    assert_eq!(in_use(&money, "tesoreria").await.as_deref(), Some(IBAN));
}

/// An activation and a correction never both succeed unseen: whichever comes first, what was answered is what stands there.
#[tokio::test]
async fn an_answer_and_a_correction_never_both_succeed() {
    for round in 0..8 {
        let (money, notice) = town(&[("2026-01-01", OTHER)]).await;
        let mut corrected = money.manifest.clone();
        corrected.generation += 1;
        corrected.accounts[0].numbers[0].iban = IBAN.into();
        let activation = fiorino_proto::notices::v1::Activation {
            notice: Some(money.notice(&notice)),
            ..fiorino_proto::notices::v1::Activation::default()
        };
        let request = fiorino_proto::notices::v1::ActivateManyRequest { activations: vec![activation] };
        let (refused, answered) = futures::future::join(money.refused(&corrected), async {
            use fiorino_proto::notices::v1::notices_server::Notices as _;
            money.replica.notices.activate_many(called("node-connector", request)).await
        })
        .await;
        let stands = in_use(&money, "tesoreria").await.unwrap();
        let recorded: Vec<String> = sqlx::query_scalar("select transfers -> 0 ->> 'iban' from activation")
            .fetch_all(money.pool())
            .await
            .unwrap();
        match answered {
            Ok(_) => assert_eq!(recorded, std::slice::from_ref(&stands), "round {round}"),
            Err(status) => assert_eq!((status.code(), recorded.len()), (Code::Unavailable, 0), "round {round}"),
        }
        assert_eq!(refused.is_empty(), stands == IBAN, "round {round}: {refused:?}");
    }
}

#[tokio::test]
async fn the_last_number_in_force_is_not_withdrawn() {
    let (mut money, notice) = town(&[("2026-01-01", IBAN)]).await;
    money.manifest.generation += 1;
    money.manifest.accounts[0].numbers[0].withdrawn = true;
    let told = reason(&money, &money.manifest, "tesoreria").await;
    assert!(told.contains("every number of Iban tesoreria is withdrawn: add an entry"), "{told}");
    money.manifest.accounts[0].numbers.push(number("2026-11-01", OTHER));
    let told = reason(&money, &money.manifest, "tesoreria").await;
    assert!(told.contains("keep it until another one is in use"), "{told}");
    money.verify(&notice).await.unwrap();
}

/// An institution without a station, which no reading shows: somebody vouches for its new treasurer.
#[tokio::test]
async fn an_attested_number_counts_from_its_day_where_pagopa_is_not_read() {
    let mut money = Money::start().await;
    money
        .reconfigure_province(|province| {
            province.required_features = vec!["attestation".into()];
            province.accounts[0].numbers.push(attested("2026-12-01", OTHER));
        })
        .await;
    assert_eq!(in_use(&money, "tefa").await.as_deref(), Some(PROVINCE));
    money.time.set("2026-12-01T10:00:00Z".parse().unwrap());
    assert_eq!(in_use(&money, "tefa").await.as_deref(), Some(OTHER));
    // What was said stays said.
    let edited = Manifest {
        generation: 9,
        accounts: vec![account("tefa", &[("2026-01-01", PROVINCE), ("2026-12-01", IBAN)])],
        ..money.province.clone()
    };
    assert!(reason(&money, &edited, "tefa").await.contains("is another one than before"));
    let kept: (String, jiff_sqlx::Date, String) = sqlx::query_as(
        "select attested_by, attested_on, attested_document from account_number where attested_on is not null",
    )
    .fetch_one(money.pool())
    .await
    .unwrap();
    assert_eq!(
        (kept.0.as_str(), kept.1.to_jiff().to_string().as_str(), kept.2.as_str()),
        ("Ragioneria", "2026-10-20", "prot. 12/2026")
    );
}

/// Where pagoPA's registry is read nobody vouches: that would be a way around the second pair of eyes.
#[tokio::test]
async fn nobody_vouches_for_a_number_that_pagopa_would_show() {
    let (mut money, _) = town(&[("2026-01-01", IBAN)]).await;
    money.manifest.generation += 1;
    money.manifest.required_features = vec!["attestation".into()];
    money.manifest.accounts[0].numbers.push(attested("2026-11-24", OTHER));
    money.read_back(&[]).await;
    let told = reason(&money, &money.manifest, "tesoreria").await;
    assert!(told.contains("remove the attestation"), "{told}");
    assert_eq!(in_use(&money, "tesoreria").await.as_deref(), Some(IBAN));
}

/// No notice is issued that nobody could pay, and the reason is the account's, not the service's.
#[tokio::test]
async fn no_notice_is_issued_that_nobody_could_pay() {
    let mut money = Money::start().await;
    let mut draft = position("draft", &[&[10_000]]);
    draft.draft = true;
    let draft = money.create(draft).await;
    let refused = async |money: &Money, reference: &str| {
        let status =
            money.replica.create(money.institution(), CLIENT, position(reference, &[&[100]])).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
        violations(&status).join("\n")
    };
    // As a version has left it that allowed it.
    let withdrawn = "update account_number set withdrawn = $2 where account = $1";
    let set = async |money: &Money, name: &str, is: bool| {
        sqlx::query(withdrawn).bind(name).bind(is).execute(money.pool()).await.unwrap();
    };
    set(&money, "tefa", true).await;
    let told = refused(&money, "b").await;
    let expected = format!("Iban tefa of the institution {} has no number", money.province.fiscal_code());
    assert!(told.contains("service_code: ") && told.contains(&expected), "{told}");
    set(&money, "tefa", false).await;
    set(&money, "tesoreria", true).await;
    // What is planned with is read again when the configuration has moved.
    sqlx::query("update institution set config_seq = config_seq + 1").execute(money.pool()).await.unwrap();
    let told = refused(&money, "b").await;
    assert!(told.contains("every number of Iban tesoreria is withdrawn; add an entry"), "{told}");
    let told = violations(&publish(&money.replica.positions, &money, &draft.position_id).await.unwrap_err()).join("\n");
    assert!(told.contains("cannot be published") && told.contains("Iban tesoreria is withdrawn"), "{told}");
    set(&money, "tesoreria", false).await;
    publish(&money.replica.positions, &money, &draft.position_id).await.unwrap();
    // The Iban was deleted: existing notices are paid on, and new ones say what is missing.
    money.manifest.generation += 1;
    let uid = money.manifest.service_uid(SERVICE);
    let without = Manifest { accounts: vec![], services: vec![], keep: vec![uid], ..money.manifest.clone() };
    money.applied(&without).await;
    let told = refused(&money, "c").await;
    assert!(
        told.contains("its account, Iban tesoreria, is gone; apply it again") && !told.contains("active"),
        "{told}"
    );
}

async fn publish(positions: &Positions, money: &Money, position_id: &str) -> Result<(), tonic::Status> {
    use fiorino_proto::positions::v1::positions_server::Positions as _;
    let request = PublishPositionRequest { institution: money.institution().into(), position_id: position_id.into() };
    positions.publish_position(called(CLIENT, request)).await.map(drop)
}
