//! The process's parts, put together: also inside a test.

use std::{net::SocketAddr, time::Duration};

use fiorino_cases::{Cases, Gauge};
use fiorino_domain::case::CaseKind;
use fiorino_kit::{
    backoff::Backoff,
    copies, kafka,
    outbox::{self, Relay},
    process,
    rpc::{self, Server},
    store,
    tls::{self, Identity},
};
use fiorino_proto::{
    cases::v1::cases_server::CasesServer,
    config::v1::{
        config_apply_server::ConfigApplyServer, config_read_server::ConfigReadServer,
        config_readback_server::ConfigReadbackServer, config_stream_server::ConfigStreamServer,
    },
    notices::v1::{display_server::DisplayServer, notices_server::NoticesServer},
    payments::v1::payments_again_server::PaymentsAgainServer,
    positions::v1::positions_server::PositionsServer,
    receipts::v1::receipts_server::ReceiptsServer,
    restore::v1::{blocks_server::BlocksServer, restore_server::RestoreServer},
    topics,
};
use tokio::{net::TcpListener, time::MissedTickBehavior};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    MIGRATIONS,
    config::Options,
    configuration::{Apply, Read, Readback, Stream, Wake},
    context::Context,
    notices::{Display, Notices},
    positions::Positions,
    receipts::{PaymentsAgain, Receipts},
    restore::{Blocks, Gated, Monitor, Restore, Witness},
    rpc::ALLOWED,
};

/// What must hold before calls may come.
pub const CONDITIONS: &[&str] = &["schema", "listener"];

/// Largest message in either direction, bytes.
const MESSAGE_MAX: usize = 4 * 1024 * 1024;

/// How often it is made sure that the topics are there. One that is missing holds up its events in the outbox, and loses none.
const TOPICS_CHECK: Duration = Duration::from_secs(15);

/// The process, listening.
#[derive(Debug)]
pub struct Service {
    options: Options,
    context: Context,
    server: Server,
    listener: TcpListener,
    relay: Relay,
    wake: Wake,
    witness: Witness,
}

/// Why the process cannot start, or broke.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Certificates.
    #[error("failed to load the identity in the mesh")]
    Identity(#[from] tls::Error),
    /// The database's URL, or a migration that does not apply.
    #[error("failed to prepare the database")]
    Database(#[from] sqlx::Error),
    /// Kafka's options.
    #[error("failed to prepare Kafka")]
    Kafka(#[from] kafka::Error),
    /// The address is taken.
    #[error("failed to listen on {address}")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The server broke.
    #[error("failed to serve")]
    Serve(#[from] rpc::Error),
}

/// The work of the process, from its options to its end.
///
/// # Errors
/// [`Error`]: what waiting does not mend.
pub async fn run(options: Options, process: process::Context) -> Result<(), Error> {
    match Service::start(options, &process).await? {
        Some(service) => service.run(process.token).await,
        None => Ok(()), // told to end before the database came
    }
}

// === impl Service ===

impl Service {
    /// Loads the identity, brings the schema up to date (waiting for the database if it is away), and listens. `None` when the
    /// process was told to end meanwhile.
    ///
    /// # Errors
    /// What waiting does not mend: certificates, URLs, a broken migration, a taken port.
    pub async fn start(options: Options, process: &process::Context) -> Result<Option<Self>, Error> {
        let process::Context { token, readiness, clock } = process;
        let identity = Identity::load(&options.tls)?;
        let context = Context::new(&options, clock.clone())?;
        let producer = kafka::producer(&options.kafka)?;
        let witness = Witness::new(context.clone(), Duration::from_millis(options.witness_wait_ms));
        let prepared = async {
            migrate(&options).await?;
            settle(&witness).await;
            Ok::<(), Error>(())
        };
        if token.run_until_cancelled(prepared).await.transpose()?.is_none() {
            return Ok(None);
        }
        readiness.set("schema", true);
        let address = options.listen;
        let listener = TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
        let holder = format!("tenant-{}", Uuid::new_v4());
        let leases = outbox::leases(context.pools.relay.clone(), holder);
        let relay = Relay::new(context.pools.relay.clone(), producer, "fiorino/tenant", leases);
        let wake = Wake::default();
        let server = server(&identity, &context, &options, &relay, &wake, &witness, token);
        readiness.set("listener", true);
        Ok(Some(Self { options, context, server, listener, relay, wake, witness }))
    }

    /// Where gRPC is served.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `token` is cancelled, then drains: calls first, then the relay, then the connections.
    ///
    /// # Errors
    /// When the server breaks.
    pub async fn run(self, token: CancellationToken) -> Result<(), Error> {
        let Self { options, context, server, listener, relay, wake, witness } = self;
        // What the calls leave behind is relayed until they have ended.
        let background = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(relay.run(background.clone()));
        tasks.spawn(Monitor::new(witness).run(background.clone()));
        tasks.spawn(wake.listen(context.pools.stream.clone(), background.clone()));
        let (pool, clock) = (context.pools.batch.clone(), context.clock.clone());
        tasks.spawn(Gauge::new("fiorino.tenant", CaseKind::ALL, pool, clock).run(background.clone()));
        tasks.spawn(copies::watch(context.pools.config.clone(), background.clone()));
        tasks.spawn(topics(options, background.clone()));
        tasks.close();
        let served = server.serve(listener, token).await;
        background.cancel();
        tasks.wait().await;
        context.pools.close().await;
        served.map_err(Into::into)
    }
}

fn server(
    identity: &Identity,
    context: &Context,
    options: &Options,
    relay: &Relay,
    wake: &Wake,
    witness: &Witness,
    token: &CancellationToken,
) -> Server {
    let Context { environment, clock, pools, .. } = context;
    let environment = environment.as_str().to_owned();
    let notices = Notices::new(pools.verify.clone(), environment.clone(), clock.clone());
    let display = Display::new(pools.display.clone(), environment.clone(), clock.clone());
    let positions =
        Positions::witnessed(pools.batch.clone(), environment.clone(), clock.clone(), Some(witness.clone()));
    let again = PaymentsAgain::new(pools.batch.clone(), environment.clone(), relay.waker());
    let receipts = Receipts::new(pools.receipts.clone(), environment, clock.clone(), relay.waker());
    let cases = Cases::new(pools.batch.clone(), clock.clone());
    let apply = Apply::new(context.clone(), wake.clone(), options.expected_services.clone(), token.clone());
    let read = Read::new(context.clone(), options.expected_services.clone());
    let stream = Stream::new(context.clone(), wake.clone(), token.clone());
    let readback = Readback::new(context.clone(), wake.clone());
    let blocks = Blocks::new(witness.clone(), token.clone());
    let restore = Restore::new(witness.clone());
    Server::new(identity, ALLOWED)
        .reflection(fiorino_proto::DESCRIPTORS)
        .add(ConfigApplyServer::new(apply).max_decoding_message_size(MESSAGE_MAX))
        .add(ConfigReadServer::new(read).max_encoding_message_size(MESSAGE_MAX))
        .add(ConfigStreamServer::new(stream).max_decoding_message_size(MESSAGE_MAX))
        .add(ConfigReadbackServer::new(readback).max_decoding_message_size(MESSAGE_MAX))
        .add(NoticesServer::new(Gated::new(notices, witness.clone())).max_decoding_message_size(MESSAGE_MAX))
        .add(DisplayServer::new(Gated::new(display, witness.clone())).max_decoding_message_size(MESSAGE_MAX))
        .add(PositionsServer::new(positions).max_decoding_message_size(MESSAGE_MAX))
        .add(ReceiptsServer::new(receipts).max_decoding_message_size(MESSAGE_MAX))
        .add(BlocksServer::new(blocks).max_decoding_message_size(MESSAGE_MAX))
        .add(RestoreServer::new(restore).max_decoding_message_size(MESSAGE_MAX))
        .add(PaymentsAgainServer::new(again))
        .add(CasesServer::new(cases))
}

/// Waits for the database, but not for a migration that cannot be applied.
async fn migrate(options: &Options) -> Result<(), Error> {
    let mut retry = Backoff::BACKGROUND.retry();
    loop {
        match store::migrate_as_owner(&options.database, &MIGRATIONS).await {
            Ok(()) => return Ok(()),
            Err(error) if store::transient(&error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "database is away, waiting");
                retry.wait().await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Compares the store with the server that it lies on, before anybody may use it.
async fn settle(witness: &Witness) {
    let mut retry = Backoff::BACKGROUND.retry();
    while let Err(error) = witness.settle().await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "failed to look where the database lies, trying again"
        );
        retry.wait().await;
    }
}

/// Creates what is missing, at the start and whenever somebody took one away; Kafka may be away for as long as it likes.
async fn topics(options: Options, token: CancellationToken) {
    let topics: Vec<_> = topics::ALL.iter().map(|topic| (topic.name, topic.partitions, topic.retention)).collect();
    let mut checks = tokio::time::interval(TOPICS_CHECK);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut retry = Backoff::BACKGROUND.retry();
    while token.run_until_cancelled(checks.tick()).await.is_some() {
        let ensure = async {
            while let Err(error) = kafka::ensure_topics(&options.kafka, &topics).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "failed to ensure topics, trying again");
                retry.wait().await;
            }
            retry.reset();
        };
        token.run_until_cancelled(ensure).await;
    }
}
