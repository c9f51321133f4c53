//! A fake of tenant: what a test told it, over real gRPC and mTLS. A request that the proto does not allow is refused and remembered,
//! and fails the test at its end.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use fiorino_kit::{
    options::TlsOptions,
    rpc::{Allow, Limits, Server},
    tls::Identity,
};
use fiorino_proto::{
    config::v1::{
        Ack, ExpiryPolicy, InstitutionSpec, LifecyclePhase, Resource, ResourceKind, ServiceSpec, StreamRequest,
        StreamResponse,
        config_stream_server::{ConfigStream, ConfigStreamServer},
        stream_request::Message,
    },
    notices::v1::{
        ShowNoticeRequest, ShowNoticeResponse, ShownNotice,
        display_server::{Display, DisplayServer},
    },
};
use fiorino_test_support::certs::Mesh;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming};

use super::{HOST_OF_TOWN, NUMBER, TOWN, notice};

const CALLERS: &[&str] = &["front-office"];
const ALLOWED: &[Allow] = &[
    Allow { method: "/fiorino.config.v1.ConfigStream/Stream", callers: CALLERS },
    Allow { method: "/fiorino.notices.v1.Display/ShowNotice", callers: CALLERS },
];

/// What the fake does when it is asked for a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Answer {
    #[default]
    AtOnce,
    Never,
    Fail(Code),
    /// The first question fails, the next ones do not.
    FailOnce(Code),
}

#[derive(Debug, Default)]
pub(crate) struct Script {
    /// By uid.
    pub(crate) resources: BTreeMap<String, Resource>,
    /// By institution and number; every other is unknown.
    pub(crate) notices: BTreeMap<(String, String), ShownNotice>,
    pub(crate) answer: Answer,
    /// What it was asked, failed questions too.
    pub(crate) asked: Vec<ShowNoticeRequest>,
    pub(crate) acknowledged: Vec<Ack>,
    pub(crate) broken_rules: Vec<String>,
}

/// One replica of tenant.
pub(crate) struct Tenant {
    address: SocketAddr,
    identity: Identity,
    fake: Fake,
    running: Option<(CancellationToken, JoinHandle<()>)>,
}

#[derive(Clone)]
struct Fake {
    script: Arc<Mutex<Script>>,
    /// Sequence of the configuration: a change is streamed.
    seq: Arc<watch::Sender<i64>>,
    token: CancellationToken,
}

/// An institution with its host names.
pub(crate) fn institution(code: &str, name: &str, phase: LifecyclePhase, hostnames: &[&str]) -> Resource {
    institution_of(&InstitutionSpec {
        fiscal_code: code.into(),
        legal_name: name.into(),
        phase: phase.into(),
        ipa_code: "c_r777".into(),
        cbill_code: "BTX42".into(),
        portal_hostnames: hostnames.iter().map(|&name| name.to_owned()).collect(),
        ..InstitutionSpec::default()
    })
}

pub(crate) fn institution_of(spec: &InstitutionSpec) -> Resource {
    resource(ResourceKind::Institution, &spec.fiscal_code, &spec.fiscal_code, spec)
}

/// A service of an institution.
fn service(institution: &str, title: &str, expiry_policy: ExpiryPolicy) -> Resource {
    let spec = ServiceSpec {
        code: title.to_uppercase(),
        title_it: title.into(),
        active: true,
        expiry_policy: expiry_policy.into(),
        ..ServiceSpec::default()
    };
    resource(ResourceKind::Service, institution, &format!("{institution}/{title}"), &spec)
}

fn resource(kind: ResourceKind, institution: &str, uid: &str, spec: &impl prost::Message) -> Resource {
    Resource {
        kind: kind.into(),
        uid: uid.to_owned(),
        generation: 1,
        spec: spec.encode_to_vec().into(),
        institution: institution.into(),
        ..Resource::default()
    }
}

// === impl Script ===

impl Script {
    /// A town with four services and one notice.
    fn of_a_town() -> Self {
        let mut script = Self::default();
        script.add(institution(TOWN, "Comune di Roccafiorina", LifecyclePhase::Live, &[HOST_OF_TOWN]));
        for title in ["Tassa sui rifiuti (TARI)", "Mensa scolastica", "Diritti di segreteria"] {
            script.add(service(TOWN, title, ExpiryPolicy::PayableAfterDueDate));
        }
        script.add(service(TOWN, "Violazioni del codice della strada", ExpiryPolicy::NotPayableAfterDueDate));
        script.notices.insert((TOWN.into(), NUMBER.into()), notice());
        script
    }

    pub(crate) fn add(&mut self, resource: Resource) {
        self.resources.insert(resource.uid.clone(), resource);
    }
}

// === impl Tenant ===

impl Tenant {
    pub(super) async fn start(mesh: &Mesh) -> Self {
        let files = mesh.identity("tenant");
        let tls = TlsOptions { tls_cert: files.cert, tls_key: files.key, tls_ca: files.ca };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut tenant = Self {
            address: listener.local_addr().unwrap(),
            identity: Identity::load(&tls).unwrap(),
            fake: Fake {
                script: Arc::new(Mutex::new(Script::of_a_town())),
                seq: Arc::new(watch::Sender::new(1)),
                token: CancellationToken::new(),
            },
            running: None,
        };
        tenant.serve(listener);
        tenant
    }

    pub(super) fn endpoint(&self) -> String {
        format!("https://{}", self.address)
    }

    /// What the fake does, and what it saw.
    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.fake.script.lock().unwrap()
    }

    /// What it answers for the town's notice.
    pub(crate) fn tells(&self, notice: ShownNotice) {
        self.script().notices.insert((TOWN.into(), NUMBER.into()), notice);
    }

    /// Changes the configuration and streams it.
    pub(crate) fn configure(&self, change: impl FnOnce(&mut Script)) -> i64 {
        change(&mut self.script());
        self.fake.seq.send_modify(|seq| *seq += 1);
        *self.fake.seq.borrow()
    }

    /// The process is gone: connections break, new ones are refused.
    pub(crate) async fn stop(&mut self) {
        let (token, task) = self.running.take().unwrap();
        token.cancel();
        task.await.unwrap();
    }

    fn serve(&mut self, listener: TcpListener) {
        let token = CancellationToken::new();
        let fake = Fake { token: token.clone(), ..self.fake.clone() };
        let limits = Limits { drain: Duration::from_millis(50), ..Limits::default() };
        let server = Server::new(&self.identity, ALLOWED)
            .limits(limits)
            .add(ConfigStreamServer::new(fake.clone()))
            .add(DisplayServer::new(fake));
        let until = token.clone();
        let task = tokio::spawn(async move { server.serve(listener, until).await.unwrap() });
        self.running = Some((token, task));
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        if let Some((token, _)) = self.running.take() {
            token.cancel();
        }
        if !std::thread::panicking() {
            assert_eq!(self.script().broken_rules, Vec::<String>::new(), "requests that the proto does not allow");
        }
    }
}

// === impl Fake ===

impl Fake {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    fn rule(&self, holds: bool, rule: &str) -> Result<(), Status> {
        if holds {
            return Ok(());
        }
        self.script().broken_rules.push(rule.to_owned());
        Err(Status::invalid_argument(rule.to_owned()))
    }

    fn snapshot(&self, nonce: &str) -> StreamResponse {
        StreamResponse {
            nonce: nonce.to_owned(),
            store_id: "fake-store".to_owned(),
            snapshot_start: true,
            resources: self.script().resources.values().cloned().collect(),
            tombstones: Vec::new(),
            complete: true,
            up_to_seq: *self.seq.borrow(),
        }
    }
}

#[tonic::async_trait]
impl ConfigStream for Fake {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<StreamResponse, Status>> + Send>>;

    async fn stream(&self, request: Request<Streaming<StreamRequest>>) -> Result<Response<Self::StreamStream>, Status> {
        let mut requests = request.into_inner();
        let first = requests.message().await?.and_then(|request| request.message);
        let Some(Message::Hello(hello)) = first else { return Err(Status::invalid_argument("the first is a hello")) };
        self.rule(hello.service == "front-office" && !hello.boot_id.is_empty(), "a hello tells who it is")?;
        let (responses, stream) = mpsc::channel(4);
        let fake = self.clone();
        tokio::spawn(async move {
            let mut seq = fake.seq.subscribe();
            loop {
                seq.borrow_and_update();
                if responses.send(Ok(fake.snapshot(&hello.boot_id))).await.is_err() {
                    return;
                }
                loop {
                    tokio::select! {
                        () = fake.token.cancelled() => return,
                        changed = seq.changed() => if changed.is_ok() { break } else { return },
                        () = tokio::time::sleep(Duration::from_secs(5)) => break,
                        told = requests.next() => match told {
                            Some(Ok(StreamRequest { message: Some(Message::Ack(ack)) })) => {
                                fake.script().acknowledged.push(ack);
                            }
                            Some(Ok(_)) => {}
                            _ => return,
                        },
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

#[tonic::async_trait]
impl Display for Fake {
    async fn show_notice(&self, request: Request<ShowNoticeRequest>) -> Result<Response<ShowNoticeResponse>, Status> {
        let asked = request.into_inner();
        let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
        self.rule(digits(&asked.institution, 11), "institution has 11 digits")?;
        self.rule(digits(&asked.notice_number, 18), "notice_number has 18 digits")?;
        let answer = {
            let mut script = self.script();
            script.asked.push(asked.clone());
            let answer = script.answer;
            if let Answer::FailOnce(_) = answer {
                script.answer = Answer::AtOnce;
            }
            answer
        };
        match answer {
            Answer::AtOnce => {}
            Answer::Never => std::future::pending().await,
            Answer::Fail(code) | Answer::FailOnce(code) => return Err(Status::new(code, "as the script says")),
        }
        let notice = self.script().notices.get(&(asked.institution, asked.notice_number)).cloned();
        Ok(Response::new(ShowNoticeResponse { notice }))
    }
}
