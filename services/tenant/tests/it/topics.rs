//! Topics are there as long as tenant is.

use std::time::Duration;

use clap::Parser as _;
use fiorino_kit::{admin::Readiness, clock::Clock, crypto, kafka, process};
use fiorino_proto::topics::PAYMENTS;
use fiorino_tenant::{MIGRATIONS, Options, Service};
use fiorino_test_support::{Parts, eventually};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};
use tokio_util::sync::CancellationToken;

use crate::fixture::{arguments, mesh};

/// Kafka deletes when it gets to it, and tenant looks each 15 s.
const SOON: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_goes_is_made_again() {
    crypto::install_ring();
    let database = Parts::get().migrated("tenant", &MIGRATIONS).await.unwrap();
    let mesh = mesh();
    let arguments = ["fiorino-tenant".to_owned()].into_iter().chain(arguments(&mesh, &database.url, 0));
    let options = Options::try_parse_from(arguments).unwrap();
    let topic = PAYMENTS.full_name(&options.kafka.kafka_topic_prefix);
    let brokers = &options.kafka.kafka_brokers;
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let token = CancellationToken::new();
    let process = process::Context { token: token.clone(), readiness: Readiness::new(&[]), clock: Clock::system() };
    let service = Service::start(options, &process).await.unwrap().unwrap();
    let running = tokio::spawn(service.run(token.clone()));
    let id = async || kafka::topic_id(admin.inner(), &topic, Duration::from_secs(5));
    let first = eventually(SOON, id).await.unwrap();
    admin.delete_topics(&[&topic], &AdminOptions::new()).await.unwrap();
    let second = eventually(SOON, async || match id().await {
        Ok(now) if now != first => Ok(now),
        other => Err(format!("{other:?}")),
    });
    assert_ne!(second.await.unwrap(), first);
    token.cancel();
    running.await.unwrap().unwrap();
    admin.delete_topics(&[&topic], &AdminOptions::new()).await.unwrap();
}
