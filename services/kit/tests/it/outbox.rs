//! The relay against real PostgreSQL and Kafka; faults that a shared broker cannot be asked for come from librdkafka's mock cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use clap::Parser;
use fiorino_kit::{
    clock::Clock,
    kafka::{self, Envelope, Quiet},
    options::{DatabaseOptions, KafkaOptions},
    outbox::{self, Message, Relay},
    store,
};
use fiorino_test_support::{Parts, Process, Spec, TestDatabase, eventually, within};
use rdkafka::{
    Message as _,
    consumer::{Consumer as _, StreamConsumer},
    mocking::MockCluster,
    producer::{DefaultProducerContext, Producer as _},
    types::{RDKafkaApiKey, RDKafkaRespErr},
};
use sqlx::PgPool;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const TOPIC: &str = "fiorino.payments.v1";
const EVENT_TYPE: &str = "dev.fiorino.payments.v1.PaymentRecorded";
const SOON: Duration = Duration::from_secs(30);
const KEYS: u64 = 40;

/// What was consumed: key, number in the key's order, envelope.
type Received = (String, u64, Envelope);

pub(crate) async fn database() -> TestDatabase {
    Parts::get()
        .database("kit_outbox_1", async |pool: PgPool| {
            sqlx::raw_sql(
                "create table lease (name text primary key, holder text not null, expires_at timestamptz not null);
                 create table outbox (
                     shard smallint not null, id bigint generated always as identity, topic text not null,
                     key text not null, event_id uuid not null, event_type text not null, payload bytea not null,
                     traceparent text, created_at timestamptz not null default now(), primary key (shard, id))",
            )
            .execute(&pool)
            .await
            .map(drop)
        })
        .await
        .unwrap()
}

pub(crate) async fn kafka_with_topic() -> KafkaOptions {
    crate::telemetry::start();
    let parts = Parts::get();
    let options =
        KafkaOptions { kafka_brokers: parts.kafka_brokers().to_owned(), kafka_topic_prefix: parts.topic_prefix() };
    let topics = [(TOPIC, 4, Duration::from_hours(1))];
    kafka::ensure_topics(&options, &topics).await.unwrap();
    // Again: what exists is left alone.
    kafka::ensure_topics(&options, &topics).await.unwrap();
    options
}

pub(crate) fn subscribe(options: &KafkaOptions) -> StreamConsumer<Quiet> {
    let consumer = kafka::consumer(options, &options.topic("test")).unwrap();
    consumer.subscribe(&[&options.topic(TOPIC)]).unwrap();
    consumer
}

pub(crate) fn relay(pool: &PgPool, options: &KafkaOptions, holder: &str) -> Relay {
    let producer = kafka::producer(options).unwrap();
    Relay::new(pool.clone(), producer, "fiorino/test", outbox::leases(pool.clone(), holder))
}

fn run(relay: Relay) -> (CancellationToken, JoinHandle<()>) {
    let token = CancellationToken::new();
    (token.clone(), tokio::spawn(relay.run(token)))
}

fn message(key: u64, number: u64) -> Message {
    Message::new(TOPIC, format!("key/{key}"), EVENT_TYPE, number.to_be_bytes().to_vec())
}

/// Commits messages in transactions of a few; the numbers of each key go up in the order of commits.
async fn write(pool: &PgPool, from: u64, to: u64) {
    for numbers in (from..to).collect::<Vec<_>>().chunks(7) {
        let messages: Vec<_> = numbers.iter().map(|number| message(number % KEYS, *number)).collect();
        let mut transaction = store::begin(pool).await.unwrap();
        outbox::insert(&mut transaction, &messages).await.unwrap();
        transaction.commit().await.unwrap();
    }
}

async fn waiting(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from outbox").fetch_one(pool).await.unwrap()
}

async fn until_empty(pool: &PgPool) {
    let empty = eventually(SOON, async || match waiting(pool).await {
        0 => Ok(()),
        rows => Err(format!("{rows} rows wait")),
    });
    empty.await.unwrap();
}

/// Consumes until `count` different messages were seen.
async fn receive(consumer: &StreamConsumer<Quiet>, count: usize) -> Vec<Received> {
    receive_more(consumer, Vec::new(), count).await
}

/// Goes on consuming until `count` different messages were seen in all.
async fn receive_more(consumer: &StreamConsumer<Quiet>, mut received: Vec<Received>, count: usize) -> Vec<Received> {
    let mut ids: BTreeSet<_> = received.iter().map(|(_, _, envelope)| envelope.id.clone()).collect();
    let all = within(SOON, async {
        while ids.len() < count {
            // Brokers that are away are told here too, and come back.
            let Ok(message) = consumer.recv().await else { continue };
            let envelope = Envelope::read(&message).unwrap();
            let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
            let number = u64::from_be_bytes(message.payload().unwrap().try_into().unwrap());
            ids.insert(envelope.id.clone());
            received.push((key, number, envelope));
        }
    });
    assert!(all.await.is_ok(), "{} of {count} arrived", ids.len());
    received
}

/// First arrivals of each key must be in the order of commits; repetitions may come at any time.
fn assert_order_per_key(received: &[Received]) {
    let mut last = BTreeMap::<&str, u64>::new();
    let mut seen = BTreeSet::new();
    for (key, number, _) in received {
        if seen.insert(number) {
            let before = last.insert(key, *number);
            assert!(before.is_none_or(|before| before < *number), "{key}: {number} came after {before:?}");
        }
    }
}

#[tokio::test]
async fn messages_leave_once_in_order_and_as_cloud_events() {
    let (database, options) = (database().await, kafka_with_topic().await);
    let consumer = subscribe(&options);
    let (token, relaying) = run(relay(&database.pool, &options, "a"));
    let mut rolled_back = store::begin(&database.pool).await.unwrap();
    outbox::insert(&mut rolled_back, &[message(1, 999_999)]).await.unwrap();
    rolled_back.rollback().await.unwrap();
    write(&database.pool, 0, 1_000).await;

    let received = receive(&consumer, 1_000).await;
    assert_eq!(received.len(), 1_000, "without a fault nothing is repeated");
    assert_order_per_key(&received);
    let (_, _, envelope) = &received[0];
    assert_eq!((envelope.event_type.as_str(), envelope.source.as_str()), (EVENT_TYPE, "fiorino/test"));
    assert!(envelope.time.parse::<jiff::Timestamp>().is_ok(), "{}", envelope.time);
    until_empty(&database.pool).await;

    token.cancel();
    relaying.await.unwrap();
    let leases: i64 = sqlx::query_scalar("select count(*) from lease").fetch_one(&database.pool).await.unwrap();
    assert_eq!(leases, 0, "a relay that ends in order releases its shards");
}

/// What [`relay_of_a_child_process`] is told, by the environment.
#[derive(Debug, Parser)]
struct Child {
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    kafka: KafkaOptions,
}

#[tokio::test]
#[ignore = "the process that a_relay_that_is_killed_loses_nothing starts and kills"]
async fn relay_of_a_child_process() {
    let child = Child::try_parse_from(["relay"]).unwrap();
    let pool = store::connect(&child.database, "child", 4).unwrap();
    relay(&pool, &child.kafka, &format!("child/{}", std::process::id())).run(CancellationToken::new()).await;
}

fn spawn_child(database: &TestDatabase, options: &KafkaOptions, log: &Path) -> Process {
    let spec = Spec::new(std::env::current_exe().unwrap(), log)
        .args(["--exact", "outbox::relay_of_a_child_process", "--ignored", "--nocapture"])
        .env("FIORINO_DATABASE_URL", &database.url)
        .env("FIORINO_KAFKA_BROKERS", &options.kafka_brokers)
        .env("FIORINO_KAFKA_TOPIC_PREFIX", &options.kafka_topic_prefix);
    Process::spawn(&spec).unwrap()
}

/// Until the process holds shards, and so is in the middle of relaying.
async fn until_it_relays(pool: &PgPool, child: &mut Process) {
    let holder = format!("child/{}", child.pid());
    let holds = child.wait_ready(SOON, async || {
        let shards: i64 = sqlx::query_scalar("select count(*) from lease where holder = $1 and name like 'outbox/%'")
            .bind(&holder)
            .fetch_one(pool)
            .await?;
        anyhow::ensure!(shards > 0, "{holder} holds nothing");
        Ok(())
    });
    holds.await.unwrap();
}

/// Commits without a pause until stopped; answers the number that comes next.
async fn write_until(pool: PgPool, mut next: u64, stop: CancellationToken) -> u64 {
    while !stop.is_cancelled() {
        write(&pool, next, next + 7).await;
        next += 7;
    }
    next
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_is_killed_loses_nothing() {
    const KILLS: usize = 4;
    let (database, options) = (database().await, kafka_with_topic().await);
    let (consumer, logs) = (subscribe(&options), tempfile::tempdir().unwrap());
    let (mut received, mut next) = (Vec::new(), 0);
    for kill in 0..KILLS {
        let mut child = spawn_child(&database, &options, &logs.path().join(format!("{kill}.log")));
        until_it_relays(&database.pool, &mut child).await;
        let stop = CancellationToken::new();
        let writer = tokio::spawn(write_until(database.pool.clone(), next, stop.clone()));
        // In the middle of the stream, and not always at the same place.
        received = receive_more(&consumer, received, usize::try_from(next).unwrap() + 150 + 37 * kill).await;
        child.kill().unwrap();
        stop.cancel();
        next = writer.await.unwrap();
        // What it left is taken over when its leases have run out.
        let (token, surviving) = run(relay(&database.pool, &options, &format!("survivor/{kill}")));
        until_empty(&database.pool).await;
        received = receive_more(&consumer, received, usize::try_from(next).unwrap()).await;
        token.cancel();
        surviving.await.unwrap();
    }
    assert_order_per_key(&received);
    let numbers: BTreeSet<_> = received.iter().map(|(_, number, _)| *number).collect();
    assert!(numbers.into_iter().eq(0..next));
}

#[tokio::test]
async fn two_relays_share_the_shards_and_send_nothing_twice() {
    let (database, options) = (database().await, kafka_with_topic().await);
    let consumer = subscribe(&options);
    let relays = [run(relay(&database.pool, &options, "a")), run(relay(&database.pool, &options, "b"))];
    let both = eventually(SOON, async || {
        let shards: Vec<i64> = sqlx::query_scalar(
            "select count(*) from lease where name like 'outbox/%' and expires_at > now() group by holder",
        )
        .fetch_all(&database.pool)
        .await
        .unwrap();
        if shards == [8, 8] { Ok(()) } else { Err(format!("{shards:?}")) }
    });
    both.await.unwrap();
    write(&database.pool, 0, 1_000).await;
    let received = receive(&consumer, 1_000).await;
    until_empty(&database.pool).await;
    assert_eq!(received.len(), 1_000, "without a fault nothing is repeated");
    assert_order_per_key(&received);
    for (token, relaying) in relays {
        token.cancel();
        relaying.await.unwrap();
    }
}

#[tokio::test]
async fn a_commit_that_wakes_does_not_wait_for_the_poll() {
    let (database, options) = (database().await, kafka_with_topic().await);
    let consumer = subscribe(&options);
    let relay = relay(&database.pool, &options, "a");
    let waker = relay.waker();
    let (token, relaying) = run(relay);
    write(&database.pool, 0, 1).await;
    receive(&consumer, 1).await;
    let clock = Clock::system();
    let mut fastest = Duration::MAX;
    for number in 1..20 {
        until_empty(&database.pool).await;
        let begin = clock.monotonic();
        write(&database.pool, number, number + 1).await;
        waker.wake();
        receive(&consumer, 1).await;
        fastest = fastest.min(clock.monotonic().saturating_sub(begin));
    }
    assert!(fastest < Duration::from_millis(90), "the fastest took {fastest:?}, the poll is 100 ms");
    token.cancel();
    relaying.await.unwrap();
}

/// Options of a mock cluster with the topic.
fn mock_options(cluster: &MockCluster<'_, DefaultProducerContext>) -> KafkaOptions {
    cluster.create_topic(TOPIC, 4, 1).unwrap();
    KafkaOptions { kafka_brokers: cluster.bootstrap_servers(), kafka_topic_prefix: String::new() }
}

#[tokio::test]
async fn while_kafka_is_away_everything_waits_and_then_leaves() {
    let database = database().await;
    let cluster = MockCluster::new(1).unwrap();
    let options = mock_options(&cluster);
    let consumer = subscribe(&options);
    cluster.broker_down(1).unwrap();
    let (token, relaying) = run(relay(&database.pool, &options, "a"));
    write(&database.pool, 0, 100).await;
    // The relay has the rows in its hands, and none is gone.
    let held = eventually(SOON, async || {
        let shards: i64 = sqlx::query_scalar("select count(*) from lease where name like 'outbox/%'")
            .fetch_one(&database.pool)
            .await
            .unwrap();
        if shards == 16 { Ok(()) } else { Err(format!("{shards} shards")) }
    });
    held.await.unwrap();
    assert_eq!(waiting(&database.pool).await, 100);
    // Shorter than Kafka is waited for: no transaction is held open meanwhile.
    let free = eventually(Duration::from_secs(2), async || {
        let open: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in %'",
        )
        .fetch_one(&database.pool)
        .await
        .unwrap();
        if open == 0 { Ok(()) } else { Err(format!("{open} transactions are open")) }
    });
    free.await.unwrap();
    cluster.broker_up(1).unwrap();
    let received = receive(&consumer, 100).await;
    assert_order_per_key(&received);
    until_empty(&database.pool).await;
    token.cancel();
    relaying.await.unwrap();
}

#[tokio::test]
async fn a_producer_that_failed_for_good_is_replaced() {
    let database = database().await;
    let cluster = MockCluster::new(1).unwrap();
    let options = mock_options(&cluster);
    let consumer = subscribe(&options);
    let producer = kafka::producer(&options).unwrap();
    let first = producer.current();
    let relay =
        Relay::new(database.pool.clone(), producer.clone(), "fiorino/test", outbox::leases(database.pool.clone(), "a"));
    // To the head of the line this error is fatal: librdkafka can no longer tell what was written.
    let fatal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    cluster.request_errors(RDKafkaApiKey::Produce, &[fatal]);
    write(&database.pool, 0, 100).await;
    let (token, relaying) = run(relay);
    let received = receive(&consumer, 100).await;
    until_empty(&database.pool).await;
    assert!(first.client().fatal_error().is_some(), "the fault was fatal");
    assert!(producer.current().client().fatal_error().is_none());
    assert_order_per_key(&received);
    token.cancel();
    relaying.await.unwrap();
}
#[tokio::test]
async fn a_payload_that_kafka_would_refuse_is_refused_before_the_commit() {
    let database = database().await;
    let large = Message::new(TOPIC, "k", EVENT_TYPE, vec![0; outbox::PAYLOAD_MAX + 1]);
    let mut transaction = store::begin(&database.pool).await.unwrap();
    let error = outbox::insert(&mut transaction, &[message(1, 1), large]).await.unwrap_err();
    assert!(error.to_string().contains("262145 bytes"), "{error}");
    outbox::insert(&mut transaction, &[]).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(waiting(&database.pool).await, 0);
}
