//! Answers fit into the messages that clients take: pages end by bytes, and no position becomes larger than an answer.

use fiorino_proto::positions::v1::{
    CreatePositionRequest, ListPositionsRequest, MapEntry, NewInstalment, NewOption, NewPosition, NewTransfer,
    UpdateInstalmentRequest, create_outcome::Outcome, positions_server::Positions as _,
};
use prost::Message as _;

use crate::{
    money::{CLIENT, Money, called, numbers, position},
    positions::{create_many, violation},
};

const TOO_LARGE: &str = "at most 3145728 are allowed; split";

fn entry(at: usize) -> MapEntry {
    MapEntry { key: format!("k{at}"), value: "€".repeat(140) }
}

/// As large as metadata make it: clients take messages of 4 MiB, however few rows are in them.
fn heavy(reference: &str, instalments: usize) -> NewPosition {
    let mut new = position(reference, &[&[1_600]]);
    let instalment = &new.options[0].instalments[0];
    let instalment = NewInstalment { metadata: (0..10).map(entry).collect(), ..instalment.clone() };
    let all = vec![instalment; instalments];
    let option = |some: &[NewInstalment]| NewOption { description: "in 100".into(), instalments: some.to_vec() };
    new.options = all.chunks(100).map(option).collect();
    new
}

/// A page ends where its positions would burst the message, and goes on with the next one.
#[tokio::test]
async fn pages_of_large_positions_end_earlier() {
    let money = Money::start().await;
    for at in 0..6 {
        money.create(heavy(&format!("large-{at}"), 100)).await;
    }
    let page = async |page_token: String| {
        let request =
            ListPositionsRequest { institution: money.institution().into(), page_token, ..Default::default() };
        money.replica.positions.list_positions(called(CLIENT, request)).await.unwrap().into_inner()
    };
    let mut references = Vec::new();
    let mut token = String::new();
    loop {
        let answer = page(std::mem::take(&mut token)).await;
        assert!(answer.encoded_len() <= 2 * 1024 * 1024, "{}", answer.encoded_len());
        token.clone_from(&answer.next_page_token);
        references.push(answer.positions.into_iter().map(|position| position.client_reference).collect::<Vec<_>>());
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(references, [["large-5", "large-4", "large-3", "large-2"].as_slice(), &["large-1", "large-0"]]);
}

/// What no client could read is not created, alone or in a batch, and nothing is written.
#[tokio::test]
async fn a_position_that_fits_into_no_answer_is_refused() {
    let money = Money::start().await;
    let largest = heavy("large", 800);
    assert!(largest.encoded_len() < 4 * 1024 * 1024, "a request may be that large");
    let request = CreatePositionRequest { institution: money.institution().into(), position: Some(largest.clone()) };
    let status = money.replica.positions.create_position(called(CLIENT, request)).await.unwrap_err();
    let refusal = violation(&status);
    assert!(refusal.starts_with("position: takes ") && refusal.contains(TOO_LARGE), "{refusal}");
    let outcomes = create_many(&money, vec![largest, heavy("small", 1)]).await;
    let [Outcome::Refused(refused), Outcome::Created(_)] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    assert_eq!(refused.field, "positions[0]");
    assert_eq!(money.count("debt_position").await, 1);
}

/// A change that would make it too large changes nothing.
#[tokio::test]
async fn a_position_does_not_grow_too_large() {
    let money = Money::start().await;
    let each = money.create(heavy("small", 100)).await.encoded_len() / 100;
    let created = money.create(heavy("large", 3 * 1024 * 1024 / each)).await;
    let transfer = NewTransfer { amount_cents: 320, metadata: (0..9).map(entry).collect(), ..NewTransfer::default() };
    let request = UpdateInstalmentRequest {
        institution: money.institution().into(),
        notice_number: numbers(&created).remove(0),
        version: created.options[0].instalments[0].version,
        transfers: vec![transfer; 5],
        ..UpdateInstalmentRequest::default()
    };
    let status = money.replica.positions.update_instalment(called(CLIENT, request)).await.unwrap_err();
    let refusal = violation(&status);
    assert!(refusal.starts_with("transfers: takes ") && refusal.contains(TOO_LARGE), "{refusal}");
    assert_eq!(money.again(&created).await, created);
}
