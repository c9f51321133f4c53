//! The pages in a real browser: no violation of WCAG 2.1 AA that axe finds, every control reached by the keyboard, nothing to scroll
//! sideways at 320 pixels, and the whole way without JavaScript.

use std::{path::Path, time::Duration};

use fiorino_domain::notice::{AuxDigit, Base, NoticeNumber, SegregationCode};
use fiorino_proto::{
    config::v1::{InstitutionSpec, LifecyclePhase},
    notices::v1::{NoticeState, ShownNotice},
};
use fiorino_test_support::{eventually, within};
use serde_json::{Value, json};
use tokio::process::Command;
use tonic::Code;

use crate::support::{Answer, HOST_OF_TOWN, NUMBER, Portal, SOON, TOWN, World, institution_of, lookup, notice};

/// The browser has to start, and looks at each page several times.
const PATIENCE: Duration = Duration::from_mins(3);

fn number(base: u64) -> String {
    let code = SegregationCode::parse("12").unwrap();
    NoticeNumber::compose(AuxDigit::Three, code, Base::from_number(base).unwrap()).unwrap().to_string()
}

fn case(portal: &Portal, host: &str, name: &str, path: &str) -> Value {
    json!({"name": name, "url": format!("http://{host}:{}{path}", portal.address.port())})
}

/// What the browser found wrong, and nothing else.
async fn problems(input: &Value) -> Vec<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/browser/pages.mjs");
    let browser = fiorino_rig::chromium().expect("chromium is not installed: run the tests by `cargo xtask test`");
    let run = Command::new("node")
        .arg(script)
        .arg(fiorino_rig::web().unwrap())
        .arg(browser)
        .arg(input.to_string())
        .kill_on_drop(true)
        .output();
    let output = within(PATIENCE, run).await.expect("the browser hangs").unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{complained}");
    let report: Value =
        serde_json::from_str(said.trim()).unwrap_or_else(|error| panic!("{error}: {said} {complained}"));
    let looked_at = report["pages"].as_u64().unwrap();
    assert_eq!(looked_at, input["pages"].as_array().unwrap().len() as u64);
    serde_json::from_value(report["problems"].clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_accessible_by_keyboard_small_and_without_script() {
    let (world, portal) = World::with_portal().await;
    let mut pages = vec![
        case(&portal, HOST_OF_TOWN, "home", "/"),
        case(&portal, HOST_OF_TOWN, "form", "/avviso"),
        case(&portal, HOST_OF_TOWN, "wrong", &lookup("31200000000047", "8004178")),
        case(&portal, HOST_OF_TOWN, "doubtful", &lookup("312000000000471178", TOWN)),
        case(&portal, HOST_OF_TOWN, "unknown", &lookup(&number(99), TOWN)),
        case(&portal, HOST_OF_TOWN, "payable", &lookup(NUMBER, TOWN)),
        case(&portal, HOST_OF_TOWN, "how", "/come-pagare"),
        case(&portal, HOST_OF_TOWN, "about", "/informazioni"),
        case(&portal, HOST_OF_TOWN, "no-page", "/nessuna"),
        case(&portal, "nessuno.localhost", "no-host", "/"),
    ];
    let long = "Sanzione amministrativa pecuniaria per violazione del regolamento edilizio n. 1234567890/2026/RSU";
    let states = [
        ("attempt", ShownNotice { attempt_until: "2026-11-25T09:42:00Z".into(), ..notice() }),
        ("paid", ShownNotice { state: NoticeState::Paid.into(), ..notice() }),
        ("cancelled", ShownNotice { state: NoticeState::Cancelled.into(), ..notice() }),
        ("superseded", ShownNotice { state: NoticeState::Superseded.into(), ..notice() }),
        ("expired", ShownNotice { state: NoticeState::Expired.into(), ..notice() }),
        ("unavailable", ShownNotice { state: NoticeState::Unavailable.into(), ..notice() }),
        ("long", ShownNotice { amount_cents: 99_999_999_999, description: long.into(), ..notice() }),
    ];
    for (base, (name, notice)) in (1..).zip(states) {
        world.tenant.script().notices.insert((TOWN.into(), number(base)), notice);
        pages.push(case(&portal, HOST_OF_TOWN, name, &lookup(&number(base), TOWN)));
    }
    for (code, host, phase) in [
        ("00488410010", "chiuso.localhost", LifecyclePhase::Closed),
        ("15376371009", "prova.localhost", LifecyclePhase::Testing),
    ] {
        let resource = institution_of(&InstitutionSpec {
            fiscal_code: code.into(),
            legal_name: "Unione dei comuni montani della Valdarda superiore".into(),
            phase: phase.into(),
            portal_hostnames: vec![host.into()],
            contact_url: "https://unione.example/contatti".into(),
            accessibility_url: "https://form.agid.example/view/8a2f9c10".into(),
            ..InstitutionSpec::default()
        });
        world.tenant.configure([resource]);
        let shown = async || match portal.get_at(host, "/", &[]).await.status {
            200 => Ok(()),
            other => Err(other),
        };
        eventually(SOON, shown).await.unwrap();
        for (name, path) in [("home", "/"), ("form", "/avviso"), ("unknown", &lookup(&number(99), code))] {
            pages.push(case(&portal, host, &format!("{host}-{name}"), path));
        }
    }
    let way = json!({"home": format!("http://{HOST_OF_TOWN}:{}/", portal.address.port()), "number": NUMBER, "doubtful": "312000000000471178"});
    assert_eq!(problems(&json!({"pages": pages, "way": way})).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_shown_is_told_accessibly_too() {
    let (world, portal) = World::with_portal().await;
    let limited = world.portal(&["--lookups-per-minute=1"]).await;
    limited.ready().await;
    limited.get(&lookup(NUMBER, TOWN)).await;
    world.tenant.script().answer = Answer::Fail(Code::Unavailable);
    let pages = [
        case(&portal, HOST_OF_TOWN, "away", &lookup(NUMBER, TOWN)),
        case(&limited, HOST_OF_TOWN, "limited", &lookup(NUMBER, TOWN)),
    ];
    assert_eq!(problems(&json!({"pages": pages})).await, Vec::<String>::new());
}
