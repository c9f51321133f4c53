//! The scripted tenant as the node-connector calls it.

mod blocks;
mod script;
mod serve;

use fiorino_kit::rpc::{Allow, Server};
use fiorino_proto::{
    config::v1::{LifecyclePhase, config_read_server::ConfigReadServer, config_readback_server::ConfigReadbackServer},
    notices::v1::notices_server::NoticesServer,
    receipts::v1::receipts_server::ReceiptsServer,
    restore::v1::blocks_server::BlocksServer,
};
pub(crate) use fiorino_scripted_tenant::Answer;
use fiorino_scripted_tenant::Shared;
use fiorino_test_support::certs::Mesh;

pub(crate) use self::script::{Script, activated, broker, institution, station};
use super::Names;

const CALLERS: &[&str] = &["node-connector"];

/// One replica of tenant.
pub(crate) type Tenant = fiorino_scripted_tenant::Tenant<Script>;

/// Answers what is no configuration stream.
#[derive(Clone)]
struct Fake(Shared<Script>);

/// A tenant with one broker, station and institution, which has one payable notice.
pub(crate) async fn start(mesh: &Mesh, names: &Names) -> Tenant {
    let Names { broker: code, station: station_id, institution: fiscal_code } = names;
    let resources = [
        broker(code, "", Vec::new()),
        station(station_id, code),
        institution(fiscal_code, station_id, LifecyclePhase::Live),
    ];
    Tenant::start(mesh, resources, Script::of(names)).await
}

// === impl Script ===

impl fiorino_scripted_tenant::Script for Script {
    const CALLER: &'static str = "node-connector";
    const ALLOWED: &'static [Allow] = &[
        Allow { method: "/fiorino.config.v1.ConfigStream/Stream", callers: CALLERS },
        Allow { method: "/fiorino.config.v1.ConfigRead/ResolveAddressee", callers: CALLERS },
        Allow { method: "/fiorino.config.v1.ConfigReadback/RecordReadback", callers: CALLERS },
        Allow { method: "/fiorino.notices.v1.Notices/VerifyMany", callers: CALLERS },
        Allow { method: "/fiorino.notices.v1.Notices/ActivateMany", callers: CALLERS },
        Allow { method: "/fiorino.receipts.v1.Receipts/ApplyReceipts", callers: CALLERS },
        Allow { method: "/fiorino.restore.v1.Blocks/Follow", callers: CALLERS },
    ];

    fn serve(server: Server, shared: &Shared<Self>) -> Server {
        let fake = Fake(shared.clone());
        server
            .add(ConfigReadServer::new(fake.clone()))
            .add(ConfigReadbackServer::new(fake.clone()))
            .add(NoticesServer::new(fake.clone()))
            .add(ReceiptsServer::new(fake.clone()))
            .add(BlocksServer::new(fake))
    }
}
