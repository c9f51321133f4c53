//! The scripted tenant as the front-office calls it.

use std::collections::BTreeMap;

use fiorino_kit::rpc::{Allow, Server};
use fiorino_proto::{
    config::v1::{ExpiryPolicy, InstitutionSpec, LifecyclePhase, Resource, ResourceKind, ServiceSpec},
    notices::v1::{
        ShowNoticeRequest, ShowNoticeResponse, ShownNotice,
        display_server::{Display, DisplayServer},
    },
};
pub(crate) use fiorino_scripted_tenant::Answer;
use fiorino_scripted_tenant::{Shared, resource};
use fiorino_test_support::certs::Mesh;
use tonic::{Request, Response, Status};

use super::{HOST_OF_TOWN, NUMBER, TOWN, notice};

const CALLERS: &[&str] = &["front-office"];

/// One replica of tenant.
pub(crate) type Tenant = fiorino_scripted_tenant::Tenant<Script>;

#[derive(Debug, Default)]
pub(crate) struct Script {
    /// By institution and number; every other is unknown.
    pub(crate) notices: BTreeMap<(String, String), ShownNotice>,
    /// What it does when it is asked for a notice.
    pub(crate) answer: Answer,
    /// What it was asked, failed questions too.
    pub(crate) asked: Vec<ShowNoticeRequest>,
}

/// Answers what is no configuration stream.
struct Fake(Shared<Script>);

/// A tenant with a town of four services and one notice.
pub(super) async fn start(mesh: &Mesh) -> Tenant {
    let mut resources = vec![institution(TOWN, "Comune di Roccafiorina", LifecyclePhase::Live, &[HOST_OF_TOWN])];
    for title in ["Tassa sui rifiuti (TARI)", "Mensa scolastica", "Diritti di segreteria"] {
        resources.push(service(TOWN, title, ExpiryPolicy::PayableAfterDueDate));
    }
    resources.push(service(TOWN, "Violazioni del codice della strada", ExpiryPolicy::NotPayableAfterDueDate));
    let mut script = Script::default();
    script.tells(notice());
    Tenant::start(mesh, resources, script).await
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
    let code = &spec.fiscal_code;
    Resource { institution: code.clone(), ..resource(ResourceKind::Institution, code, spec) }
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
    let uid = format!("{institution}/{title}");
    Resource { institution: institution.into(), ..resource(ResourceKind::Service, &uid, &spec) }
}

// === impl Script ===

impl Script {
    /// What it answers for the town's notice.
    pub(crate) fn tells(&mut self, notice: ShownNotice) {
        self.notices.insert((TOWN.into(), NUMBER.into()), notice);
    }
}

impl fiorino_scripted_tenant::Script for Script {
    const CALLER: &'static str = "front-office";
    const ALLOWED: &'static [Allow] = &[
        Allow { method: "/fiorino.config.v1.ConfigStream/Stream", callers: CALLERS },
        Allow { method: "/fiorino.notices.v1.Display/ShowNotice", callers: CALLERS },
    ];

    fn serve(server: Server, shared: &Shared<Self>) -> Server {
        server.add(DisplayServer::new(Fake(shared.clone())))
    }
}

// === impl Fake ===

#[tonic::async_trait]
impl Display for Fake {
    async fn show_notice(&self, request: Request<ShowNoticeRequest>) -> Result<Response<ShowNoticeResponse>, Status> {
        let asked = request.into_inner();
        self.0.notice_rules(&asked.institution, &asked.notice_number)?;
        let answer = {
            let mut script = self.0.script();
            script.asked.push(asked.clone());
            script.answer.take()
        };
        answer.obey().await?;
        let notice = self.0.script().notices.get(&(asked.institution, asked.notice_number)).cloned();
        Ok(Response::new(ShowNoticeResponse { notice }))
    }
}
