//! Visitors of the portal, and what they write where nobody asked them to.

use anyhow::{Result, ensure};
use fiorino_otlp_sink::Span;
use fiorino_test_support::eventually;
use reqwest::{Client, Method};

use super::{
    PATIENCE, Town,
    messages::{self, Person},
    scrape::Scrape,
    sink::Sink,
};

/// From where he comes, as a proxy tells it.
pub(super) const ADDRESS: &str = "203.0.113.77";
/// Nobody's notice.
pub(super) const UNKNOWN: &str = "312777777777777777";
/// Nobody's site.
pub(super) const STRANGE_HOST: &str = "tartarughina-privata.example";

/// Header and value.
type Headers = [(&'static str, String)];

/// A payable town whose portal believes what a proxy on this host tells of visitors.
pub(super) async fn town_behind_a_proxy() -> Town {
    let trusting = vec!["--trusted-proxies=127.0.0.0/8".to_owned()];
    let town = Town::with(|mut options, _| {
        options.extra_args.insert("front-office".to_owned(), trusting);
        options
    })
    .await;
    town.onboard().await;
    town
}

/// Asks the town's site for a page.
pub(super) async fn visit(town: &Town, path: &str) -> Result<u16> {
    ask(town, Method::GET, path, &[("Host", town.names.hostname())]).await
}

async fn ask(town: &Town, method: Method, path: &str, headers: &Headers) -> Result<u16> {
    let url = format!("http://127.0.0.1:{}{path}", town.world.addresses().portal_port);
    let request = headers.iter().fold(Client::new().request(method, url), |it, (name, value)| it.header(*name, value));
    Ok(request.send().await?.status().as_u16())
}

/// The notice as somebody misreads it: its check digits are wrong.
pub(super) fn misread(notice: &str) -> String {
    let (rest, last) = notice.split_at(notice.len() - 1);
    format!("{rest}{}", if last == "0" { "1" } else { "0" })
}

/// A visitor looks up a notice in every way, also while tenant is away, and tells who he is wherever he can.
pub(super) async fn look_around(town: &mut Town, notice: &str, visitor: Person) -> Result<()> {
    let fiscal_code = town.names.fiscal_code.clone();
    let lookup = |codice: &str, more: &str| format!("/avviso?codice={codice}&ente={fiscal_code}{more}");
    let sure = |codice: &str| lookup(codice, &format!("&conferma={codice}"));
    let found = lookup(notice, "");
    let pages = [
        (found.clone(), 200),
        (sure(UNKNOWN), 404),
        (lookup(&misread(notice), ""), 200),
        (lookup(&misread(notice), &format!("&conferma={}", visitor.email)), 200),
        (sure(&misread(notice)), 404),
        (format!("/avviso?codice=PAGOPA%7C002%7C{notice}%7C{fiscal_code}%7C12000&ente={}", visitor.name), 200),
        (format!("/avviso?codice={}&ente={}", visitor.name, visitor.code), 400),
        (format!("/{}?{}", visitor.name, visitor.email), 404),
    ];
    let known = headers(town, visitor, &nonsense(visitor));
    for headers in [&known, &headers(town, visitor, &traced(visitor))] {
        for (path, status) in &pages {
            let answered = ask(town, Method::GET, path, headers).await?;
            ensure!(answered == *status, "{path}: {answered}");
        }
    }
    for method in [Method::POST, Method::from_bytes(visitor.code.as_bytes())?] {
        ensure!(ask(town, method, &found, &known).await? == 405, "nothing is taken in");
    }
    let strange = [&[("Host", STRANGE_HOST.to_owned())][..], &known[1..]].concat();
    ensure!(ask(town, Method::GET, &found, &strange).await? == 404, "it is somebody's site");

    town.world.process("tenant")?.stop()?;
    ensure!(ask(town, Method::GET, &found, &known).await? == 503, "tenant is away");
    town.world.restart("tenant").await?;
    is_back(town, notice, &found).await?;
    let mut patience = 100;
    while ask(town, Method::GET, &found, &known).await? != 429 {
        patience -= 1;
        ensure!(patience > 0, "nobody asks too often");
    }
    told(town).await
}

/// What comes next finds tenant as what came before did. Asked from another address: that of the proxy itself.
async fn is_back(town: &Town, notice: &str, found: &str) -> Result<()> {
    eventually(PATIENCE, async || {
        let answered = visit(town, found).await?;
        ensure!(answered == 200, "the portal does not find tenant: {answered}");
        let verified = messages::send(town, &town.names.station, messages::verify(&town.names, notice)).await?;
        ensure!(!verified.says("PAA_SYSTEM_ERROR"), "the node-connector does not find tenant: {verified:?}");
        Ok(())
    })
    .await
}

/// Every lookup has its span in the sink.
async fn told(town: &Town) -> Result<()> {
    let route = [("listener", "portal"), ("http_route", "/avviso")];
    let asked = Scrape::of(town, "front-office").await?.sum("http_server_request_duration_seconds_count", &route);
    ensure!(asked > 30.0, "{asked} lookups are counted");
    let sink = Sink::of(town);
    eventually(PATIENCE, async || {
        let spans = sink.spans().await?;
        let of_lookup = |span: &&Span| {
            span.service == "front-office" && span.attributes.get("http.route").is_some_and(|route| route == "/avviso")
        };
        let spans = spans.iter().filter(of_lookup).count();
        ensure!(f64::from(u32::try_from(spans)?) >= asked, "{spans} of {asked} spans");
        Ok(())
    })
    .await
}

/// A host of the town's, and what browsers, proxies and whoever writes his own requests may send beside it.
fn headers(town: &Town, visitor: Person, trace: &Headers) -> Vec<(&'static str, String)> {
    let told = [
        ("Host", town.names.hostname()),
        ("X-Forwarded-For", format!("{}, {ADDRESS}", visitor.email)),
        ("X-Real-IP", ADDRESS.to_owned()),
        ("Forwarded", format!("for={ADDRESS};host={STRANGE_HOST}")),
        ("X-Request-Id", visitor.code.to_owned()),
        ("User-Agent", visitor.name.to_owned()),
        ("Referer", format!("https://{STRANGE_HOST}/{}", visitor.email)),
        ("Cookie", format!("chi={}", visitor.email)),
        ("Authorization", format!("Bearer {}", visitor.email)),
        ("Accept-Language", visitor.city.to_owned()),
    ];
    [&told[..], trace].concat()
}

/// No trace at all.
fn nonsense(visitor: Person) -> [(&'static str, String); 2] {
    [("traceparent", format!("00-{}-{}-01", visitor.code, visitor.city)), ("tracestate", visitor.name.to_owned())]
}

/// A trace that goes on, with what no trace needs.
fn traced(visitor: Person) -> [(&'static str, String); 3] {
    [
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
        ("tracestate", format!("chi={}", visitor.email)),
        ("baggage", format!("chi={}", visitor.email)),
    ]
}
