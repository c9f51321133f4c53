//! Nothing personal leaves: a whole run on people who do not exist, and then their names are looked for wherever an SRE looks.

use anyhow::{Context as _, Result, ensure};
use fiorino_proto::{
    payments::v1::PaymentRecorded,
    positions::v1::{CreatePositionRequest, Debtor, NewInstalment, NewOption, NewPosition, PersonKind},
};
use fiorino_test_support::eventually;
use serde_json::{Value, json};
use tonic::Code;

use super::{
    PATIENCE, Town,
    canary::Canary,
    databases, kafka,
    messages::{self, Person, Receipt, TEXT_XML, envelope, send, send_with},
    scrape::Scrape,
    sink::Sink,
    visitors,
};

/// Who owes.
const DEBTOR: Person = Person {
    code: "QTTRNG71M52G842G",
    name: "Ermenegilda Quattrocchi-Zanotelli",
    email: "ermenegilda71@posta-privata.example",
    street: "Strada dei Cardellini Gialli",
    city: "Borgotrebbiola",
};
/// Who pays for her.
const PAYER: Person = Person {
    code: "SBRTLN64T41D969P",
    name: "Teodolinda Sbarra-Montefeltro",
    email: "teodolinda.sbarra@altra-posta.example",
    street: "Vicolo Fringuelli Neri",
    city: "Castelfringuello",
};
const DESCRIPTION: &str = "Retta del nido Coccinella per Ermenegilda";
const NOTE: &str = "carrello-di-Teodolinda";
/// The database of a service is made to refuse what holds this.
const POISON: &str = "Avvelenata per Ermenegilda";
const FOREIGN_IBAN: &str = "IT60X0542811101000000123456";
/// Its check digits are wrong.
const WRONG_IBAN: &str = "IT99K0555444333000000987654";

/// Everything that must not leave.
fn canaries(town: &Town, notices: &[String]) -> Vec<Canary> {
    let misread = visitors::misread(&notices[0]);
    let people = [DEBTOR, PAYER];
    let of_people = people.iter().flat_map(|it| {
        let words = [it.name, it.street].into_iter().flat_map(|text| text.split([' ', '-'])).filter(|it| it.len() > 7);
        [it.code, it.name, it.email, it.street, it.city].into_iter().chain(words)
    });
    let others = [DESCRIPTION, "Coccinella", NOTE, POISON, "Avvelenata", FOREIGN_IBAN, WRONG_IBAN, &town.names.iban];
    let others = others.into_iter().chain([visitors::ADDRESS, visitors::STRANGE_HOST, "tartarughina"]);
    // A notice's number and its IUV lead to the debt, at any PSP.
    let numbers = notices.iter().chain([&misread]).map(String::as_str).chain([visitors::UNKNOWN]);
    let numbers = numbers.flat_map(|notice| [notice, &notice[1..]]);
    of_people.chain(others).chain(numbers).map(Canary::new).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_personal_leaves_a_whole_run() {
    let mut town = visitors::town_behind_a_proxy().await;
    let notices = debts(&town).await;
    well(&town, &notices).await.unwrap();
    visitors::look_around(&mut town, &notices[0], PAYER).await.unwrap();
    badly(&town, &notices).await.unwrap();
    databases_that_refuse(&town, &notices).await.unwrap();
    wrong_manifests(&town).await.unwrap();

    let canaries = canaries(&town, &notices);
    let mut found = Vec::new();
    for (place, text) in everything(&town, &notices[4]).await.unwrap() {
        let text = text.to_lowercase();
        found.extend(canaries.iter().filter_map(|canary| canary.found(&text)).map(|what| format!("{place}: {what}")));
    }
    assert!(found.is_empty(), "{} leaks:\n{}", found.len(), found.join("\n"));
}

fn position(reference: &str, description: &str) -> NewPosition {
    let debtor = Debtor {
        kind: PersonKind::Natural.into(),
        fiscal_code: DEBTOR.code.to_owned(),
        full_name: DEBTOR.name.to_owned(),
        street_name: DEBTOR.street.to_owned(),
        civic_number: "7".to_owned(),
        postal_code: "29010".to_owned(),
        city: DEBTOR.city.to_owned(),
        province: "PC".to_owned(),
        country: "IT".to_owned(),
        email: DEBTOR.email.to_owned(),
    };
    let instalment = NewInstalment {
        amount_cents: 12_000,
        due_date: "2027-06-16".to_owned(),
        description: description.to_owned(),
        ..NewInstalment::default()
    };
    NewPosition {
        client_reference: reference.to_owned(),
        service_code: "TARI".to_owned(),
        description: description.to_owned(),
        debtor: Some(debtor),
        options: vec![NewOption { description: description.to_owned(), instalments: vec![instalment] }],
        ..NewPosition::default()
    }
}

async fn create(town: &Town, position: NewPosition) -> Result<String, tonic::Status> {
    let request = CreatePositionRequest { institution: town.names.fiscal_code.clone(), position: Some(position) };
    let created = town.positions().await.create_position(request).await?.into_inner().position.unwrap_or_default();
    Ok(created.options[0].instalments[0].notice_number.clone())
}

/// Her debts, and those that are refused.
async fn debts(town: &Town) -> Vec<String> {
    let mut notices = Vec::new();
    for number in 0..5 {
        notices.push(create(town, position(&format!("canary-{number}"), DESCRIPTION)).await.unwrap());
    }
    let spoil: [fn(&mut NewPosition); 5] = [
        |it| it.debtor.as_mut().unwrap().fiscal_code.push_str("X1"),
        |it| it.debtor.as_mut().unwrap().email = format!("{}, {}", DEBTOR.email, PAYER.email),
        |it| it.debtor.as_mut().unwrap().full_name = DEBTOR.name.repeat(9),
        |it| it.options[0].instalments[0].description = format!("{DESCRIPTION} {}", DEBTOR.code),
        |it| PAYER.name.clone_into(&mut it.service_code),
    ];
    for spoil in spoil {
        let mut wrong = position("canary-wrong", DESCRIPTION);
        spoil(&mut wrong);
        create(town, wrong).await.unwrap_err();
    }
    let other = create(town, position("canary-0", PAYER.name)).await.unwrap_err();
    assert_eq!(other.code(), Code::AlreadyExists);
    notices
}

/// What happens every day.
async fn well(town: &Town, notices: &[String]) -> Result<()> {
    let paid = json!({"fiscalCode": town.names.fiscal_code, "noticeNumber": notices[0], "paymentNote": NOTE});
    town.simulator("psp/pay", &paid).await?;
    let reported = town.reported(&notices[0]).await;
    ensure!(reported.description == DESCRIPTION, "the canaries went all the way");
    let receipt = receipt(town, "canary-receipt-1", &notices[1]);
    for message in [receipt.write(), receipt.write(), Receipt { description: PAYER.name.to_owned(), ..receipt }.write()]
    {
        ensure!(send(town, &town.names.station, message).await?.status == 200);
    }
    town.reported(&notices[1]).await;
    Ok(())
}

fn receipt(town: &Town, id: &str, notice: &str) -> Receipt {
    Receipt {
        description: DESCRIPTION.to_owned(),
        iban: FOREIGN_IBAN.to_owned(),
        note: NOTE.to_owned(),
        payer: Some(PAYER),
        ..Receipt::new(&town.names, id, notice, DEBTOR)
    }
}

/// Messages that are refused, broken, unreadable, odd, with her data where none belongs.
async fn badly(town: &Town, notices: &[String]) -> Result<()> {
    let names = &town.names;
    let whole = receipt(town, "canary-receipt-2", &notices[2]);
    let (written, v2) = (whole.write(), "paGetPaymentV2Request");
    let instead = |of: &str, text: &str| written.replace(of, text);
    let note = format!("<paymentNote>{NOTE} {}</paymentNote>", PAYER.email.repeat(9));
    let odd_names = fiorino_e2e::town::Names {
        fiscal_code: DEBTOR.name.to_owned(),
        station: PAYER.code.to_owned(),
        ..names.clone()
    };
    let messages = [
        messages::verify(names, "312999999999999999"),
        messages::verify(names, DEBTOR.code),
        messages::verify(&odd_names, &notices[2]),
        messages::get(v2, names, &notices[2], &note),
        messages::get("paGetPaymentReq", &odd_names, &notices[2], ""),
        envelope(v2, &(messages::header(names) + &messages::qr_code(DEBTOR.code, &notices[2]))),
        envelope(&format!("pay{}Request", "Ermenegilda"), &format!("<x>{}</x>", DEBTOR.email)),
        written[..written.len() - 100].to_owned(),
        written.replace("<soapenv:Header/>", &format!("<soapenv:Header/>{}", DEBTOR.name)),
        format!("<!DOCTYPE {} SYSTEM \"{}\">{written}", "Ermenegilda", DEBTOR.email),
        instead("<outcome>OK", &format!("<Teodolinda>{}</Teodolinda><outcome>OK", DEBTOR.email)),
        instead("<receiptId>canary-receipt-2</receiptId>", ""),
        instead("canary-receipt-2", &format!("di {}", PAYER.name)),
        instead("canary-receipt-2", PAYER.code),
        instead(&format!("<idPA>{}", names.fiscal_code), &format!("<idPA>{}", DEBTOR.name)),
        instead("<idBrokerPA>", &format!("<idBrokerPA>{}", PAYER.email)),
        instead("2026-06-16T10:15:30", DEBTOR.city).replace("canary-receipt-2", "canary-receipt-3"),
        instead(&notices[2], DEBTOR.email).replace("canary-receipt-2", "canary-receipt-4"),
        instead("120.00", DEBTOR.code).replace("canary-receipt-2", "canary-receipt-5"),
        DEBTOR.name.to_owned(),
    ];
    for message in messages {
        send(town, &names.station, message).await?;
    }
    send(town, DEBTOR.name, written.clone()).await?;
    send(town, PAYER.code, messages::verify(names, &notices[2])).await?;
    let json = ("Content-Type", "application/json");
    send_with(town, &names.station, &[json], json!({"name": DEBTOR.name}).to_string()).await?;
    let charset = format!("text/xml; charset={}", DEBTOR.code);
    send_with(town, &names.station, &[("Content-Type", &charset)], written.clone()).await?;
    for id in [DEBTOR.code, PAYER.email, "Ermenegilda"] {
        let headers = [TEXT_XML, ("X-Request-Id", id), ("User-Agent", PAYER.name)];
        for message in [messages::verify(names, &notices[2]), DEBTOR.name.to_owned()] {
            send_with(town, &names.station, &headers, message).await?;
        }
    }
    let payment = PaymentRecorded { paid_at: DEBTOR.name.to_owned(), ..PaymentRecorded::default() };
    for payload in [DESCRIPTION.as_bytes().to_vec(), prost::Message::encode_to_vec(&payment)] {
        kafka::produce(town, DEBTOR.name, &payload).await?;
    }
    town.reported(&notices[2]).await;
    Ok(())
}

/// PostgreSQL tells the whole row in the detail of what it refuses.
async fn databases_that_refuse(town: &Town, notices: &[String]) -> Result<()> {
    databases::refuse(town, "tenant", "notice", &format!("(description <> '{POISON}')")).await?;
    databases::refuse(town, "tenant", "receipt", &format!("(position('{POISON}' in content::text) = 0)")).await?;
    let refused_path = databases::refuse_receipts(town).await?;
    let refused = create(town, position("canary-poison", POISON)).await.err().context("the database refuses it")?;
    ensure!(refused.code() == Code::Internal, "{refused:?}");
    let poisoned = Receipt { description: POISON.to_owned(), ..receipt(town, "canary-receipt-6", &notices[3]) };
    ensure!(send(town, &town.names.station, poisoned.write()).await?.status == 200, "it is in the inbox");
    let not_stored = receipt(town, "canary-receipt-7", &notices[3]).write();
    ensure!(send(town, &refused_path, not_stored).await?.status == 503, "it is not");
    eventually(PATIENCE, async || {
        let deferred = Scrape::of(town, "node-connector-1").await?.sum("receipts_deferred", &[]);
        ensure!(deferred >= 1.0, "tenant has not refused the receipt yet");
        Ok(())
    })
    .await
}

/// Account numbers that are none, and the treasurer's name where a name belongs.
async fn wrong_manifests(town: &Town) -> Result<()> {
    let namespace = &town.names.namespace;
    let iban = json!({
        "apiVersion": "fiorino.dev/v1alpha1", "kind": "Iban",
        "metadata": {"name": "sbagliato", "namespace": namespace},
        "spec": {"holder": DEBTOR.name, "numbers": [{"validFrom": "2026-01-01", "iban": WRONG_IBAN}]},
    });
    town.apply(&iban.to_string()).await?;
    // Refused by the API server: whoever applied it is told, nobody else.
    let mut refused = iban.clone();
    refused["spec"]["numbers"][0]["iban"] = Value::from(DEBTOR.email);
    ensure!(town.apply(&refused.to_string()).await.is_err(), "no IBAN at all");
    eventually(PATIENCE, async || {
        let told = town.world.kubectl(&["get", "iban", "sbagliato", "-n", namespace, "-o", "json"], "").await?;
        let told: Value = serde_json::from_str(&told)?;
        let conditions = told["status"]["conditions"].to_string();
        ensure!(conditions.contains("\"status\":\"False\""), "{conditions}");
        Ok(())
    })
    .await
}

/// Whatever somebody who operates Fiorino can see without asking a database, with the place where it was.
async fn everything(town: &Town, last: &str) -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    for header in kafka::headers(town).await? {
        all.push(("Kafka header".to_owned(), format!("{}: {}", header.key, String::from_utf8_lossy(&header.value))));
    }
    for process in Scrape::processes(town) {
        all.push((format!("/metrics of {process}"), Scrape::of(town, &process).await?.text));
    }
    all.extend(cluster(town).await?);
    let sink = Sink::of(town);
    let (spans, metrics) = settled(town, &sink, last).await?;
    all.extend(spans.iter().map(|span| ("span".to_owned(), span.clone())));
    all.extend(metrics.iter().map(|metric| ("metric".to_owned(), metric.clone())));
    let services = Scrape::processes(town);
    for (name, process) in town.world.processes() {
        let log = String::from_utf8_lossy(&fs_err::read(process.log())?).into_owned();
        if services.iter().any(|service| service == name) {
            ensure!(!log.is_empty(), "{name} logs nothing");
            let other =
                log.lines().find(|line| !serde_json::from_str::<Value>(line).is_ok_and(|told| told.is_object()));
            ensure!(other.is_none(), "{name} prints what is no log line: {other:?}");
        }
        all.extend(log.lines().map(|line| (format!("log of {name}"), line.to_owned())));
    }
    let logged = |text: &str| all.iter().any(|(place, line)| place.starts_with("log of") && line.contains(text));
    let expected = ["answered the node", "unreadable message", "parked", "database failed", "could not be applied"];
    for told in expected.into_iter().chain(["tenant did not answer"]) {
        ensure!(logged(told), "the run never came to {told:?}");
    }
    Ok(all)
}

/// Events and statuses.
async fn cluster(town: &Town) -> Result<Vec<(String, String)>> {
    const KINDS: &str = "creditorinstitutions,ibans,brokers,stations,serviceprofiles";
    let mut all = Vec::new();
    let mut events = 0;
    for namespace in [town.platform(), &town.names.namespace] {
        let objects = town.world.kubectl(&["get", KINDS, "-n", namespace, "-o", "json"], "").await?;
        let objects: Value = serde_json::from_str(&objects)?;
        for object in objects["items"].as_array().context("no list")? {
            all.push((
                format!("status of {} {}", object["kind"], object["metadata"]["name"]),
                object["status"].to_string(),
            ));
        }
        let told = town.world.kubectl(&["get", "events", "-n", namespace, "-o", "json"], "").await?;
        let told: Value = serde_json::from_str(&told)?;
        for event in told["items"].as_array().context("no list")? {
            events += 1;
            all.push(("Event".to_owned(), event.to_string()));
        }
    }
    ensure!(events > 0, "no Event was written");
    Ok(all)
}

/// Spans and metrics as JSON, once those of a last payment, which goes through every service, have arrived.
async fn settled(town: &Town, sink: &Sink, last: &str) -> Result<(Vec<String>, Vec<String>)> {
    town.simulator("psp/pay", &town.notice(last)).await?;
    town.reported(last).await;
    let deliveries = town.simulator_list("deliveries").await;
    let trace_id = deliveries.last().context("no receipt")?["traceId"].clone();
    let mut calls = 0.0;
    for node in ["node-connector-1", "node-connector-2"] {
        calls += Scrape::of(town, node).await?.sum("pa_requests_total", &[]);
    }
    eventually(PATIENCE, async || {
        let (spans, metrics) = (sink.spans().await?, sink.metrics().await?);
        ensure!(
            spans.iter().any(|span| span.name == "record payments" && trace_id == *span.trace_id),
            "the last spans are on their way"
        );
        let counted =
            metrics.iter().filter(|point| point.name == "pa_requests").filter_map(|point| match point.value {
                fiorino_otlp_sink::Value::Number(count) => Some(count),
                fiorino_otlp_sink::Value::Histogram { .. } => None,
            });
        ensure!(counted.sum::<f64>() >= calls, "the last metrics are on their way");
        let spans = spans.iter().map(serde_json::to_string).collect::<serde_json::Result<_>>()?;
        let metrics = metrics.iter().map(serde_json::to_string).collect::<serde_json::Result<_>>()?;
        anyhow::Ok((spans, metrics))
    })
    .await
}
