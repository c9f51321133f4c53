//! Whose site is shown: by host name, as tenant streams it, without tenant as it was saved.

use fiorino_config_client::COPY_DDL;
use fiorino_front_office::MIGRATIONS;
use fiorino_proto::config::v1::{InstitutionSpec, LifecyclePhase};
use fiorino_test_support::eventually;

use crate::support::{HOST_OF_TOWN, NUMBER, SOON, TOWN, World, institution, institution_of, lookup};

const OTHER: &str = "00488410010";

#[test]
fn the_saved_configuration_has_the_client_s_tables() {
    let statements: Vec<&str> = MIGRATIONS.iter().map(|migration| migration.sql.as_str()).collect();
    assert!(statements.iter().any(|sql| sql.contains(COPY_DDL)));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_host_name_shows_its_institution() {
    let (world, portal) = World::with_portal().await;
    portal.get("/").await.assert_shows(200, &["Comune di Roccafiorina", "Mensa scolastica", "80041780356", "c_r777"]);
    let other = portal.get_at("altro.localhost", "/", &[]).await;
    other.assert_shows(404, &["Sito non trovato"]);
    let resource = institution(OTHER, "Comune di Altrove", LifecyclePhase::Live, &["altro.localhost"]);
    let seq = world.tenant.configure([resource]);
    let shown = async || match portal.get_at("altro.localhost:8080", "/", &[]).await {
        reply if reply.status == 200 => Ok(reply),
        reply => Err(format!("{reply:?}")),
    };
    let reply = eventually(SOON, shown).await.unwrap();
    assert!(reply.body.contains("Comune di Altrove") && !reply.body.contains("Roccafiorina"), "{}", reply.body);
    // What it shows it has acknowledged.
    let acknowledged = async || match world.tenant.acknowledged() {
        Some(ack) if ack.acknowledged_seq == seq && ack.nacks.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    };
    eventually(SOON, acknowledged).await.unwrap();
    portal.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tenant_it_starts_from_what_it_saved() {
    let (mut world, portal) = World::with_portal().await;
    let saved = async || {
        let count: i64 = sqlx::query_scalar("select count(*) from config_copy").fetch_one(&world.database.pool).await?;
        anyhow::ensure!(count == 5, "{count} resources are saved");
        Ok(())
    };
    eventually(SOON, saved).await.unwrap();
    portal.stop().await;
    world.tenant.stop().await;
    let portal = world.portal(&[]).await;
    portal.ready().await;
    portal.get("/").await.assert_shows(200, &["Comune di Roccafiorina", "Mensa scolastica"]);
}

/// Nobody can say yet that a host is unknown.
#[tokio::test(flavor = "multi_thread")]
async fn before_it_knows_anything_it_says_so_and_is_not_ready() {
    let mut world = World::start().await;
    world.tenant.stop().await;
    let portal = world.portal(&[]).await;
    let reply = portal.get_at(HOST_OF_TOWN, "/", &[]).await;
    reply.assert_shows(503, &["Servizio non disponibile", "Riprova tra qualche minuto"]);
    assert_eq!(reply.header("retry-after"), "30");
    assert_eq!(portal.readiness.missing(), ["configuration"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_institution_asks_for_no_notice_and_one_in_testing_says_so() {
    let world = World::start().await;
    let portal = world.portal(&[]).await;
    portal.ready().await;
    for (phase, shown, absent) in [
        (LifecyclePhase::Closed, "non riscuote più", "name=\"codice\""),
        (LifecyclePhase::Testing, "Servizio in prova", "non riscuote più"),
        (LifecyclePhase::Suspended, "name=\"codice\"", "Servizio in prova"),
    ] {
        let resource = institution("80041780356", "Comune di Roccafiorina", phase, &[HOST_OF_TOWN]);
        world.tenant.configure([resource]);
        let probe = async || match portal.get("/").await.body {
            body if body.contains(shown) && !body.contains(absent) => Ok(()),
            body => Err(body),
        };
        eventually(SOON, probe).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_to_ask_and_the_declaration_of_accessibility_are_linked_where_they_are_told() {
    let (world, portal) = World::with_portal().await;
    let linked = [
        "<a href=\"https://comune.example/contatti?a=1&#38;b=2\">Contatti dell’ente</a>",
        "Dichiarazione di accessibilità</a>",
    ];
    let home = portal.get("/").await.body;
    assert!(linked.iter().all(|link| !home.contains(link)), "{home}");
    let told = InstitutionSpec {
        fiscal_code: TOWN.into(),
        legal_name: "Comune di Roccafiorina".into(),
        phase: LifecyclePhase::Live.into(),
        portal_hostnames: vec![HOST_OF_TOWN.into()],
        contact_url: "https://comune.example/contatti?a=1&b=2".into(),
        accessibility_url: "https://comune.example/accessibilita".into(),
        ..InstitutionSpec::default()
    };
    world.tenant.configure([institution_of(&told)]);
    for path in ["/", "/avviso", "/informazioni", "/nessuna"] {
        let shown = async || match portal.get(path).await.body {
            body if linked.iter().all(|link| body.contains(link)) => Ok(()),
            body => Err(body),
        };
        eventually(SOON, shown).await.unwrap();
    }
}

/// What its home says holds wherever a link or an old address leads.
#[tokio::test(flavor = "multi_thread")]
async fn the_form_of_a_closed_institution_says_so_and_finds_notices_of_others() {
    let (world, portal) = World::with_portal().await;
    let open = portal.get("/avviso").await;
    open.assert_shows(200, &[&format!("value=\"{TOWN}\"")]);
    assert!(!open.body.contains("Pagamenti chiusi"), "{}", open.body);
    let closed = institution(TOWN, "Comune di Roccafiorina", LifecyclePhase::Closed, &[HOST_OF_TOWN]);
    world.tenant.configure([closed]);
    {
        let mut script = world.tenant.script();
        let known = script.notices.remove(&(TOWN.into(), NUMBER.into())).unwrap();
        script.notices.insert((OTHER.into(), NUMBER.into()), known);
    }
    let told = async || match portal.get("/avviso").await {
        reply if reply.body.contains("Pagamenti chiusi") => Ok(reply),
        reply => Err(reply.body),
    };
    let form = eventually(SOON, told).await.unwrap();
    form.assert_shows(200, &["Qui puoi cercare gli avvisi di altri enti", "name=\"codice\""]);
    assert!(!form.body.contains(&format!("value=\"{TOWN}\"")), "{}", form.body);
    let unknown = portal.get(&lookup(NUMBER, TOWN)).await;
    unknown.assert_shows(404, &["Nessun avviso con questi codici", "Pagamenti chiusi", "non lo trovi più qui"]);
    assert!(!unknown.body.contains("riprova più tardi"), "{}", unknown.body);
    portal.get(&lookup(NUMBER, OTHER)).await.assert_shows(200, &["120,00\u{a0}€"]);
}
