//! Topics are there as long as tenant is.

use std::time::Duration;

use clap::Parser as _;
use fiorino_kit::{admin::Readiness, clock::Clock, crypto, kafka, process};
use fiorino_proto::topics::PAYMENTS;
use fiorino_tenant::{MIGRATIONS, Options, Service};
use fiorino_test_support::{Parts, TestDatabase, eventually};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};
use tokio_util::sync::CancellationToken;

use crate::fixture::{arguments, mesh};

/// Kafka deletes when it gets to it, tenant looks each 15 s, and a message that found no topic is given up after 10 s.
const SOON: Duration = Duration::from_mins(2);

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
    event(&database).await;
    left(&database).await;
    admin.delete_topics(&[&topic], &AdminOptions::new()).await.unwrap();
    let second = eventually(SOON, async || match id().await {
        Ok(now) if now != first => Ok(now),
        other => Err(format!("{other:?}")),
    });
    // What happens meanwhile waits, and leaves for the new one.
    event(&database).await;
    assert_ne!(second.await.unwrap(), first);
    left(&database).await;
    token.cancel();
    running.await.unwrap().unwrap();
    admin.delete_topics(&[&topic], &AdminOptions::new()).await.unwrap();
}

/// An event on its way out.
async fn event(database: &TestDatabase) {
    sqlx::query(
        "insert into outbox (shard, topic, key, event_id, event_type, payload) values (1, $1, 'k', gen_random_uuid(), $2, 'p')",
    )
    .bind(PAYMENTS.name)
    .bind(PAYMENTS.event_type)
    .execute(&database.pool)
    .await
    .unwrap();
}

/// Waits until Kafka has every event.
async fn left(database: &TestDatabase) {
    eventually(SOON, async || {
        let waiting: i64 = sqlx::query_scalar("select count(*) from outbox").fetch_one(&database.pool).await?;
        anyhow::ensure!(waiting == 0, "{waiting} wait");
        Ok(())
    })
    .await
    .unwrap();
}
