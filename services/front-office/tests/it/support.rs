//! A front-office in this process, with everything around it.

mod tenant;

use std::{net::SocketAddr, time::Duration};

use clap::Parser as _;
use fiorino_front_office::{MIGRATIONS, Options, Service, service::CONDITIONS};
use fiorino_kit::{
    admin::Readiness,
    clock::{Clock, ManualClock},
    crypto,
    http::Bounds,
};
use fiorino_proto::notices::v1::{NoticeState, ShownNotice};
use fiorino_test_support::{Parts, TestDatabase, certs::Mesh, eventually};
use reqwest::header::{HOST, HeaderMap};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) use self::tenant::{Answer, Tenant, institution, institution_of};

/// How long anything may take that should happen soon.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// 10:12 in Rome.
pub(crate) const NOW: &str = "2026-11-25T09:12:00Z";

/// The institution whose site most tests look at.
pub(crate) const TOWN: &str = "80041780356";
pub(crate) const HOST_OF_TOWN: &str = "roccafiorina.localhost";
pub(crate) const NUMBER: &str = "312000000000471179";

/// What a test shares with its service.
pub(crate) struct World {
    pub(crate) database: TestDatabase,
    pub(crate) mesh: Mesh,
    pub(crate) tenant: Tenant,
}

/// A running front-office; stops with it.
pub(crate) struct Portal {
    pub(crate) address: SocketAddr,
    pub(crate) readiness: Readiness,
    pub(crate) time: ManualClock,
    http: reqwest::Client,
    token: CancellationToken,
    task: JoinHandle<()>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// A notice of 120 euro.
pub(crate) fn notice() -> ShownNotice {
    ShownNotice {
        institution_name: "Comune di Roccafiorina".into(),
        office_name: "Ufficio tributi".into(),
        description: "TARI 2026 rata 1".into(),
        amount_cents: 12_000,
        due_date: "2026-12-16".into(),
        state: NoticeState::Payable.into(),
        attempt_until: String::new(),
    }
}

/// The address of a notice.
pub(crate) fn lookup(number: &str, institution: &str) -> String {
    format!("/avviso?codice={number}&ente={institution}")
}

// === impl World ===

impl World {
    /// Everything but the front-office.
    pub(crate) async fn start() -> Self {
        crypto::install_ring();
        let mesh = Mesh::new().unwrap();
        let database = Parts::get().migrated("front-office", &MIGRATIONS).await.unwrap();
        let tenant = tenant::start(&mesh).await;
        Self { database, mesh, tenant }
    }

    /// A world and a front-office that is ready.
    pub(crate) async fn with_portal() -> (Self, Portal) {
        let world = Self::start().await;
        let portal = world.portal(&[]).await;
        portal.ready().await;
        (world, portal)
    }

    pub(crate) fn arguments(&self) -> Vec<String> {
        let identity = self.mesh.identity("front-office");
        // With the rights of its runtime role.
        let runtime = format!("{}?options=-c%20role%3Dfiorino_front_office_runtime", self.database.url);
        vec![
            "fiorino-front-office".to_owned(),
            "--listen=127.0.0.1:0".to_owned(),
            format!("--tenant-endpoints={}", self.tenant.endpoint()),
            format!("--database-url={runtime}"),
            format!("--tls-cert={}", identity.cert.display()),
            format!("--tls-key={}", identity.key.display()),
            format!("--tls-ca={}", identity.ca.display()),
        ]
    }

    /// A front-office with more flags; it may not be ready yet.
    pub(crate) async fn portal(&self, more: &[&str]) -> Portal {
        self.portal_within(Bounds::default(), more).await
    }

    /// The same with other bounds of connections.
    pub(crate) async fn portal_within(&self, bounds: Bounds, more: &[&str]) -> Portal {
        // Tests ask more often than people.
        let often = ["--lookups-per-minute=1000".to_owned()];
        let often = often.into_iter().filter(|_| more.iter().all(|flag| !flag.starts_with("--lookups")));
        let arguments = self.arguments().into_iter().chain(often).chain(more.iter().map(|&flag| flag.to_owned()));
        let readiness = Readiness::new(CONDITIONS);
        let (clock, time) = Clock::manual(NOW.parse().unwrap());
        let options = Options::try_parse_from(arguments).unwrap();
        let service = Service::start(options, bounds, clock, readiness.clone()).await.unwrap();
        let (address, token) = (service.address(), CancellationToken::new());
        let task = tokio::spawn(service.run(token.clone()));
        let http = reqwest::Client::builder().timeout(SOON).build().unwrap();
        Portal { address, readiness, time, http, token, task }
    }
}

// === impl Portal ===

impl Portal {
    pub(crate) async fn ready(&self) {
        let probe = async || match self.readiness.missing() {
            missing if missing.is_empty() => Ok(()),
            missing => Err(format!("not ready: {missing:?}")),
        };
        eventually(SOON, probe).await.unwrap();
    }

    /// A page of the town's site.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.get_at(HOST_OF_TOWN, path, &[]).await
    }

    pub(crate) async fn get_at(&self, host: &str, path: &str, headers: &[(&'static str, &str)]) -> Reply {
        let mut request = self.http.get(self.url(path)).header(HOST, host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Reply::of(request.send().await.unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str) -> Reply {
        Reply::of(self.http.post(self.url(path)).header(HOST, HOST_OF_TOWN).send().await.unwrap()).await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// As a rollout does.
    pub(crate) async fn stop(mut self) {
        self.token.cancel();
        (&mut self.task).await.unwrap();
    }
}

impl Drop for Portal {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Reply ===

impl Reply {
    async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, body: response.text().await.unwrap() }
    }

    #[track_caller]
    pub(crate) fn assert_shows(&self, status: u16, texts: &[&str]) {
        assert_eq!(self.status, status, "{}", self.body);
        for text in texts {
            assert!(self.body.contains(text), "{text} is missing in {}", self.body);
        }
    }

    /// Each of these headers once, with this value and no other.
    #[track_caller]
    pub(crate) fn assert_says(&self, headers: &[(&str, &str)]) {
        for (name, value) in headers {
            assert_eq!(self.headers.get_all(*name).iter().collect::<Vec<_>>(), [value], "{name}");
        }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}
