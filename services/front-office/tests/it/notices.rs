//! A notice as it is now, whatever was written into the form, and what is told when it cannot be shown.

use std::time::Duration;

use fiorino_proto::notices::v1::{NoticeState, ShownNotice};
use fiorino_test_support::Stopwatch;
use tonic::Code;

use crate::support::{Answer, NUMBER, TOWN, World, lookup, notice};

#[tokio::test(flavor = "multi_thread")]
async fn the_debt_as_it_is_now() {
    let (world, portal) = World::with_portal().await;
    let page = portal.get(&lookup(NUMBER, TOWN)).await;
    let shown = [
        "TARI 2026 rata 1",
        "120,00\u{a0}€",
        "16 dicembre 2026",
        "Comune di Roccafiorina",
        "Ufficio tributi",
        "Da pagare",
        "3120 0000 0000 4711 79",
        "BTX42",
        "Situazione alle 10:12 del 25 novembre 2026",
        "Dove puoi pagarlo",
    ];
    page.assert_shows(200, &shown);
    assert!(!page.body.contains("in corso"), "{}", page.body);
    // Asked again, not remembered.
    world.tenant.script().tells(ShownNotice { amount_cents: 123_456, due_date: String::new(), ..notice() });
    portal.time.advance(Duration::from_mins(1));
    let page = portal.get(&lookup(NUMBER, TOWN)).await;
    page.assert_shows(200, &["1.234,56\u{a0}€", "Situazione alle 10:13"]);
    assert!(!page.body.contains("Scadenza</dt>"), "{}", page.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_state_says_what_to_do_and_only_what_can_be_paid_says_where() {
    let (world, portal) = World::with_portal().await;
    for (state, shown) in [
        (NoticeState::Paid, "Non devi fare altro"),
        (NoticeState::Cancelled, "ha annullato questo avviso"),
        (NoticeState::Superseded, "con un’altra soluzione"),
        (NoticeState::Expired, "La scadenza è passata"),
        (NoticeState::Unavailable, "riprova più tardi"),
    ] {
        world.tenant.script().tells(ShownNotice { state: state.into(), ..notice() });
        let page = portal.get(&lookup(NUMBER, TOWN)).await;
        page.assert_shows(200, &[shown]);
        assert!(!page.body.contains("Dove puoi pagarlo"), "{state:?}: {}", page.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_in_progress_is_told_with_its_end() {
    let (world, portal) = World::with_portal().await;
    world.tenant.script().tells(ShownNotice { attempt_until: "2026-11-25T09:42:00Z".into(), ..notice() });
    portal
        .get(&lookup(NUMBER, TOWN))
        .await
        .assert_shows(200, &["in corso fino alle 10:42<", "Per non pagare due volte"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_check_digits_are_a_warning() {
    let (world, portal) = World::with_portal().await;
    let wrong = "312000000000471178";
    let page = portal.get(&lookup(wrong, TOWN)).await;
    page.assert_shows(200, &["Sicuro che il codice sia giusto?", "È giusto, continua", wrong]);
    assert!(world.tenant.script().asked.is_empty(), "a doubt is nobody's business");
    world.tenant.script().notices.insert((TOWN.into(), wrong.into()), notice());
    // Who says that another number is right has not looked at this one.
    for other in ["", "si", "312000000000471177"] {
        let page = portal.get(&format!("{}&conferma={other}", lookup(wrong, TOWN))).await;
        page.assert_shows(200, &["Sicuro che il codice sia giusto?", &format!("name=\"conferma\" value=\"{wrong}\"")]);
    }
    assert!(world.tenant.script().asked.is_empty());
    let page = portal.get(&format!("{}&conferma={wrong}", lookup(wrong, TOWN))).await;
    page.assert_shows(200, &["120,00\u{a0}€"]);
    // And the page can be loaded anew without another question.
    let again = format!("{}&#38;conferma={wrong}", lookup(wrong, TOWN).replace('&', "&#38;"));
    assert!(page.body.contains(&again), "{}", page.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_number_and_an_unknown_institution_are_one_answer() {
    let (_world, portal) = World::with_portal().await;
    let (number, institution) = ("312000000000481287", "00488410010");
    let unknown_number = portal.get(&lookup(number, TOWN)).await;
    unknown_number.assert_shows(404, &["Nessun avviso con questi codici", "chiedi all’ente"]);
    let unknown_institution = portal.get(&lookup(NUMBER, institution)).await;
    assert_eq!(unknown_institution.status, 404);
    let plain = |text: &str| text.replace(number, "N").replace(NUMBER, "N").replace(institution, "I");
    let same = plain(&unknown_number.body).replace(&format!("value=\"{TOWN}\""), "value=\"I\"");
    assert_eq!(same, plain(&unknown_institution.body));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_at_its_field_and_nobody_is_asked() {
    let (world, portal) = World::with_portal().await;
    let page = portal.get("/avviso?codice=3120&ente=").await;
    page.assert_shows(
        400,
        &["ne hai scritte 4", "Scrivi il codice fiscale dell’ente", "aria-invalid=\"true\"", "value=\"3120\""],
    );
    portal.get("/avviso").await.assert_shows(200, &["Cerca un avviso", &format!("value=\"{TOWN}\"")]);
    // What is no query at all is as if nothing were written.
    portal.get("/avviso?codice=%ff%fe&codice=1").await.assert_shows(200, &["Cerca un avviso"]);
    assert!(world.tenant.script().asked.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_comes_back_as_text() {
    let (world, portal) = World::with_portal().await;
    let page = portal.get("/avviso?codice=%22%3E%3Cscript%3Ealert(1)%3C/script%3E&ente=%27%22%3E%3Cb%3E").await;
    assert_eq!(page.status, 400);
    assert!(!page.body.contains("<script") && !page.body.contains("<b>"), "{}", page.body);
    world.tenant.script().tells(ShownNotice { description: "<img src=x onerror=alert(1)>".into(), ..notice() });
    let page = portal.get(&lookup(NUMBER, TOWN)).await;
    assert!(!page.body.contains("<img"), "{}", page.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn tenant_away_is_told_with_when_and_where_else() {
    let (world, portal) = World::with_portal().await;
    for (answer, questions) in
        [(Answer::Fail(Code::Unavailable), 2), (Answer::Never, 2), (Answer::Fail(Code::Internal), 1)]
    {
        world.tenant.script().asked.clear();
        world.tenant.script().answer = answer;
        let started = Stopwatch::start();
        let page = portal.get(&lookup(NUMBER, TOWN)).await;
        assert!(started.within(Duration::from_secs(2)), "{answer:?} took {:?}", started.elapsed());
        page.assert_shows(503, &["Servizio non disponibile", "Riprova", "uffici postali"]);
        assert_eq!(page.header("retry-after"), "30");
        assert_eq!(world.tenant.script().asked.len(), questions, "{answer:?}");
    }
    world.tenant.script().answer = Answer::FailOnce(Code::Unavailable);
    portal.get(&lookup(NUMBER, TOWN)).await.assert_shows(200, &["120,00"]);
    // The rest of the site does not need it.
    world.tenant.script().answer = Answer::Fail(Code::Unavailable);
    portal.get("/come-pagare").await.assert_shows(200, &["Come pagare un avviso"]);
}
