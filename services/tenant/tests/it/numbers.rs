//! Notice numbers are given out once: over processes, restarts, floors and the numbers of other systems.

use std::collections::HashSet;

use fiorino_domain::notice::{AuxDigit, Base, NoticeNumber, SegregationCode};
use fiorino_proto::{
    config::v1::{Association, AssociationState},
    positions::v1::get_position_request::By,
};
use futures::future::join_all;
use tonic::Code;

use crate::{
    fixture::violations,
    manifest::{Manifest, association},
    money::{CLIENT, Money, SERVICE, numbers, position},
};

/// An institution whose numbers have so long a prefix that ten are left.
async fn ten_numbers() -> Money {
    let mut manifest = Manifest::new();
    manifest.spec.associations[0].nav_prefix = "123456789012".into();
    manifest.services[0].code = SERVICE.into();
    Money::with(manifest).await
}

async fn next(money: &Money) -> i64 {
    sqlx::query_scalar("select next from nav_sequence").fetch_one(money.pool()).await.unwrap()
}

#[tokio::test]
async fn processes_and_restarts_never_repeat_a_number() {
    let money = Money::start().await;
    let mut given = HashSet::new();
    for restart in 0..3 {
        let replicas = [money.another(), money.another()];
        let creations = (0..40).map(|at| {
            let replica = &replicas[at % 2];
            let institution = money.institution();
            let new = position(&format!("{restart}-{at}"), &[&[100, 100]]);
            async move { replica.create(institution, CLIENT, new).await.unwrap().position.unwrap() }
        });
        for created in join_all(creations).await {
            given.extend(numbers(&created));
        }
    }
    assert_eq!(given.len(), 240);
    assert!(next(&money).await >= 240);
    let mut ordered: Vec<_> = given.iter().map(|nav| nav[3..16].parse::<u64>().unwrap()).collect();
    ordered.sort_unstable();
    assert!(ordered.windows(2).all(|pair| pair[1] - pair[0] > 1), "neighbours can be guessed from one another");
}

#[tokio::test]
async fn a_raised_floor_holds_for_blocks_that_are_in_use() {
    let mut money = Money::start().await;
    money.create(position("before", &[&[100]])).await;
    money.reconfigure(|manifest| manifest.spec.nav_floor = 5_000_000).await;
    let after = money.create(position("after", &[&[100]])).await;
    assert!(next(&money).await > 5_000_000);
    let nav = NoticeNumber::parse(&numbers(&after)[0]).unwrap();
    let (key, prefix): (Vec<u8>, String) =
        sqlx::query_as("select key, prefix from nav_sequence").fetch_one(money.pool()).await.unwrap();
    let permutation = fiorino_domain::nav::NavPermutation::new(key.try_into().unwrap(), &prefix).unwrap();
    assert!(permutation.sequence(nav.base().unwrap()).unwrap() >= 5_000_000);
}

/// Another system used numbers under the same code: they are skipped, and none is given out twice.
#[tokio::test]
async fn taken_numbers_are_skipped() {
    let money = ten_numbers().await;
    let code = SegregationCode::parse("12").unwrap();
    let foreign = |last: u64| {
        let base = Base::parse(&format!("123456789012{last}")).unwrap();
        NoticeNumber::compose(AuxDigit::Three, code, base).unwrap().to_string()
    };
    let mut migrated = position("migrated", &[&[100; 7]]);
    for (last, instalment) in (0..).zip(&mut migrated.options[0].instalments) {
        instalment.notice_number = foreign(last);
    }
    money.create(migrated).await;
    let mut issued = HashSet::new();
    for at in 0..3 {
        issued.extend(numbers(&money.create(position(&format!("p{at}"), &[&[100]])).await));
    }
    assert_eq!(issued, (7..10).map(foreign).collect());
    let status = money.replica.create(money.institution(), CLIENT, position("one more", &[&[100]])).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    let told = violations(&status).remove(0);
    assert!(
        told.starts_with("institution: ") && told.contains("is used up; give the association another prefix or code"),
        "{told}"
    );
}

#[tokio::test]
async fn numbers_of_other_systems_come_once() {
    let money = Money::start().await;
    let with_number = |reference: &str, number: &str| {
        let mut new = position(reference, &[&[100, 100]]);
        new.options[0].instalments[1].notice_number = number.into();
        new
    };
    // Wrong check digits are kept: the debtor has the paper.
    let number = "312000000000471100";
    let created = money.create(with_number("migrated", number)).await;
    assert_eq!(numbers(&created)[1], number);
    assert_eq!(money.get(By::NoticeNumber(number.into())).await.unwrap(), created);
    let status = money.replica.create(money.institution(), CLIENT, with_number("again", number)).await.unwrap_err();
    let field = "position.options[0].instalments[1].notice_number";
    assert_eq!(status.code(), Code::AlreadyExists);
    assert_eq!(
        violations(&status),
        [format!(
            "{field}: belongs to another notice, or shares its IUV with one; correct it, or leave it empty to have one issued"
        )]
    );
    assert_eq!(
        money.get(By::ClientReference("again".into())).await.unwrap_err().code(),
        Code::NotFound,
        "nothing was written"
    );
    let mut twice = with_number("twice", "312000000000471200");
    twice.options[0].instalments[0].notice_number = "312000000000471200".into();
    let status = money.replica.create(money.institution(), CLIENT, twice).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    let status = money
        .replica
        .create(money.institution(), CLIENT, with_number("foreign", "313000000000471179"))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(violations(&status)[0].contains("add an association with it"), "{status:?}");
}

/// Numbers that differ in the aux digit alone are paid under one reference: receipts and flows could mean either.
#[tokio::test]
async fn no_two_notices_of_an_institution_share_an_iuv() {
    let mut manifest = Manifest::new();
    let state = AssociationState::AcceptingOnly.into();
    manifest.spec.associations.extend([1, 2].map(|aux_digit| Association { aux_digit, state, ..association("") }));
    manifest.services[0].code = SERVICE.into();
    let money = Money::with(manifest).await;
    let of = |reference: &str, foreign: &[&str]| {
        let mut new = position(reference, &[&vec![100; foreign.len()]]);
        for (instalment, number) in new.options[0].instalments.iter_mut().zip(foreign) {
            instalment.notice_number = (*number).into();
        }
        new
    };
    money.create(of("new", &["312000000000471179"])).await;
    money.create(of("legacy", &["112000000000471180", "212000000000471181"])).await;
    for shares in ["112000000000471179", "212000000000471179", "312000000000471180", "112000000000471181"] {
        let status = money.replica.create(money.institution(), CLIENT, of("shares", &[shares])).await.unwrap_err();
        assert_eq!(status.code(), Code::AlreadyExists, "{shares}");
    }
    let both = of("both", &["112000000000471190", "212000000000471190"]);
    let status = money.replica.create(money.institution(), CLIENT, both).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists, "in one position");
}

/// The same foreign number in two calls at once: the database decides, one is told that it came second.
#[tokio::test]
async fn the_database_decides_who_has_a_number() {
    let money = Money::start().await;
    let replicas = [money.another(), money.another()];
    for round in 0..8 {
        let number = format!("3120000000{round:08}");
        let attempts = (0..8).map(|at| {
            let mut new = position(&format!("{round}-{at}"), &[&[100]]);
            new.options[0].instalments[0].notice_number.clone_from(&number);
            replicas[at % 2].create(money.institution(), CLIENT, new)
        });
        let outcomes = join_all(attempts).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        let refusals = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
        refusals.for_each(|status| assert_eq!(status.code(), Code::AlreadyExists, "{status:?}"));
    }
    assert_eq!((money.count("notice").await, money.count("client_reference").await), (8, 8));
}
