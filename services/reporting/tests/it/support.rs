//! A database, a topic and certificates of one test, and services on them.

use std::{net::SocketAddr, time::Duration};

use clap::Parser as _;
use fiorino_kit::{admin::Readiness, clock::Clock, crypto, kafka, process, rpc, tls::Identity};
use fiorino_proto::{
    payments::v1::{PaidTransfer, PaymentRecorded, payments_client::PaymentsClient},
    topics::{PAYMENTS, notice_key},
};
use fiorino_reporting::{CONDITIONS, MIGRATIONS, Options, Service, store::Topic};
use fiorino_test_support::{Parts, TestDatabase, certs::Mesh, eventually};
use prost::Message as _;
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewPartitions},
    client::DefaultClientContext,
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The topic of tests that write without Kafka.
pub(crate) const TOPIC: Topic<'static> = Topic { name: "payments", id: Uuid::from_u128(1) };

/// How long anything may take before a test gives up.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// What a test shares with its services.
pub(crate) struct World {
    pub(crate) database: TestDatabase,
    pub(crate) mesh: Mesh,
    pub(crate) institution: String,
    brokers: String,
    prefix: String,
}

/// A service inside the test.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) readiness: Readiness,
    token: CancellationToken,
    task: JoinHandle<Result<(), fiorino_reporting::ServiceError>>,
}

/// A message as a test puts it into the topic.
#[derive(Clone)]
pub(crate) struct Produced {
    pub(crate) key: String,
    /// `None` = as the key tells.
    pub(crate) partition: Option<i32>,
    pub(crate) payload: Vec<u8>,
    pub(crate) headers: Vec<(&'static str, String)>,
}

/// A payment of 120 euro.
pub(crate) fn payment(institution: &str, receipt_id: &str) -> PaymentRecorded {
    PaymentRecorded {
        event_id: Uuid::now_v7().to_string(),
        institution: institution.to_owned(),
        receipt_id: receipt_id.to_owned(),
        notice_number: "312000000000471179".to_owned(),
        iuv: "12000000000471179".to_owned(),
        issuer: institution.to_owned(),
        amount_cents: 12_000,
        paid_at: "2026-05-04T10:00:00Z".to_owned(),
        recorded_at: "2026-05-04T10:00:01Z".to_owned(),
        psp_id: "ABI00000".to_owned(),
        psp_name: "A bank".to_owned(),
        payment_method: "creditCard".to_owned(),
        position_id: Uuid::now_v7().to_string(),
        client_reference: "tari-2026-1".to_owned(),
        service_code: "TARI".to_owned(),
        description: "TARI 2026".to_owned(),
        transfers: vec![PaidTransfer {
            id: 1,
            amount_cents: 12_000,
            beneficiary: institution.to_owned(),
            iban: "IT60X0542811101000000123456".to_owned(),
            remittance: "TARI 2026".to_owned(),
            taxonomy_code: "9/0101101IM/".to_owned(),
        }],
        version: 1,
        application_date: "2026-05-04".to_owned(),
        transfer_date: "2026-05-05".to_owned(),
        stand_in: false,
    }
}

// === impl World ===

impl World {
    pub(crate) async fn new() -> Self {
        crypto::install_ring();
        let parts = Parts::get();
        let world = Self {
            database: parts.migrated("reporting", &MIGRATIONS).await.unwrap(),
            mesh: Mesh::new().unwrap(),
            institution: parts.fiscal_code(),
            brokers: parts.kafka_brokers().to_owned(),
            prefix: parts.topic_prefix(),
        };
        // Before any service does: one that ends while it asks for the topic would have it made after it was deleted.
        let kafka = world.options("test").kafka;
        kafka::ensure_topics(&kafka, &[(PAYMENTS.name, PAYMENTS.partitions, PAYMENTS.retention)]).await.unwrap();
        world
    }

    pub(crate) fn arguments(&self, replica: &str) -> Vec<String> {
        let identity = self.mesh.identity("reporting");
        vec![
            "fiorino-reporting".to_owned(),
            "--listen=127.0.0.1:0".to_owned(),
            // Nobody is there: what tenant would tell comes from the saved copy.
            "--tenant-endpoints=https://127.0.0.1:1".to_owned(),
            format!("--replica={replica}"),
            format!("--database-url={}", self.database.url),
            format!("--tls-cert={}", identity.cert.display()),
            format!("--tls-key={}", identity.key.display()),
            format!("--tls-ca={}", identity.ca.display()),
            format!("--kafka-brokers={}", self.brokers),
            format!("--kafka-topic-prefix={}", self.prefix),
        ]
    }

    pub(crate) fn options(&self, replica: &str) -> Options {
        Options::parse_from(self.arguments(replica))
    }

    pub(crate) async fn start(&self, replica: &str) -> Running {
        let (token, readiness) = (CancellationToken::new(), Readiness::new(CONDITIONS));
        let process = process::Context { token: token.clone(), readiness: readiness.clone(), clock: Clock::system() };
        let service = Service::start(self.options(replica), &process).await.unwrap().expect("not cancelled");
        let address = service.address().unwrap();
        Running { address, readiness, task: tokio::spawn(service.run(token.clone())), token }
    }

    /// A client with the certificate of `name`.
    pub(crate) fn client(&self, service: &Running, name: &str) -> PaymentsClient<rpc::Channel> {
        PaymentsClient::new(self.channel(service.address, name))
    }

    pub(crate) fn channel(&self, address: SocketAddr, name: &str) -> rpc::Channel {
        let files = self.mesh.identity(name);
        let options = fiorino_kit::options::TlsOptions { tls_cert: files.cert, tls_key: files.key, tls_ca: files.ca };
        let identity = Identity::load(&options).unwrap();
        rpc::connect(&[format!("https://{address}")], "reporting", &identity, name).unwrap()
    }

    /// Puts messages into the topic, in order, and waits until Kafka has them.
    pub(crate) async fn produce(&self, messages: impl IntoIterator<Item = Produced>) {
        let producer: FutureProducer = self.kafka().set("linger.ms", "0").create().unwrap();
        let topic = self.topic();
        for message in messages {
            let headers = message
                .headers
                .iter()
                .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
            let record = FutureRecord { partition: message.partition, ..FutureRecord::to(&topic) };
            let record = record.key(&message.key).payload(&message.payload).headers(headers);
            producer.send(record, DEADLINE).await.map_err(|(error, _)| error).unwrap();
        }
    }

    pub(crate) async fn produce_payments(&self, payments: impl IntoIterator<Item = PaymentRecorded>) {
        self.produce(payments.into_iter().map(Produced::from)).await;
    }

    /// As if the messages before this offset of a partition had expired.
    pub(crate) async fn forget_before(&self, partition: i32, offset: i64) {
        let admin: AdminClient<DefaultClientContext> = self.kafka().create().unwrap();
        let mut before = TopicPartitionList::new();
        before.add_partition_offset(&self.topic(), partition, Offset::Offset(offset)).unwrap();
        let deleted = admin.delete_records(&before, &AdminOptions::new()).await.unwrap();
        assert!(deleted.elements().iter().all(|element| element.error().is_ok()), "{deleted:?}");
    }

    /// Deletes the topic and makes it anew, as somebody does who loses or rebuilds Kafka.
    pub(crate) async fn replace_topic(&self) {
        let admin: AdminClient<DefaultClientContext> = self.kafka().create().unwrap();
        let kafka = self.options("test").kafka;
        let id = || kafka::topic_id(admin.inner(), &self.topic(), Duration::from_secs(5));
        let before = id().unwrap();
        let deleted = admin.delete_topics(&[&self.topic()], &AdminOptions::new()).await.unwrap();
        assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
        let made = eventually(DEADLINE, async || {
            kafka::ensure_topics(&kafka, &[(PAYMENTS.name, PAYMENTS.partitions, PAYMENTS.retention)]).await?;
            let now = id()?;
            anyhow::ensure!(now != before, "the old one is still there");
            Ok(())
        });
        made.await.unwrap();
    }

    /// (kind, detail) of the cases that wait, in their order.
    pub(crate) async fn cases(&self) -> Vec<(String, serde_json::Value)> {
        sqlx::query_as("select kind, detail from cases where state <> 3 order by opened_at, id")
            .fetch_all(&self.database.pool)
            .await
            .unwrap()
    }

    /// Gives the topic more partitions, and waits until a producer sees them.
    pub(crate) async fn grow_topic(&self, partitions: usize) {
        let admin: AdminClient<DefaultClientContext> = self.kafka().create().unwrap();
        let topic = self.topic();
        let growth = NewPartitions::new(&topic, partitions);
        let answers = admin.create_partitions(&[growth], &AdminOptions::new()).await.unwrap();
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        let seen = eventually(DEADLINE, async || {
            let metadata = admin.inner().fetch_metadata(Some(&topic), DEADLINE)?;
            let seen = metadata.topics()[0].partitions().len();
            anyhow::ensure!(seen == partitions, "{seen} partitions");
            Ok(())
        });
        seen.await.unwrap();
    }

    pub(crate) fn topic(&self) -> String {
        PAYMENTS.full_name(&self.prefix)
    }

    /// Receipt ids in the order of recording.
    pub(crate) async fn recorded(&self) -> Vec<String> {
        sqlx::query_scalar("select receipt_id from payment where institution = $1 order by sequence")
            .bind(&self.institution)
            .fetch_all(&self.database.pool)
            .await
            .unwrap()
    }

    /// Sum of the offsets: how many messages were taken in.
    pub(crate) async fn taken_in(&self) -> i64 {
        sqlx::query_scalar("select coalesce(sum(next_offset), 0)::int8 from consumer_offset")
            .fetch_one(&self.database.pool)
            .await
            .unwrap()
    }

    /// Waits until so many messages were taken in.
    pub(crate) async fn wait_for(&self, messages: i64) {
        let waited = eventually(DEADLINE, async || match self.taken_in().await {
            taken_in if taken_in == messages => Ok(()),
            taken_in => Err(format!("{taken_in} of {messages} messages were taken in")),
        });
        waited.await.unwrap();
    }

    fn kafka(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let (config, topic) = (self.kafka(), self.topic());
        // A runtime of its own: the test's is busy running this very drop.
        let deleting = std::thread::spawn(move || {
            let admin: AdminClient<DefaultClientContext> = config.create().ok()?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
            runtime.block_on(admin.delete_topics(&[&topic], &AdminOptions::new())).ok()
        });
        drop(deleting.join());
    }
}

// === impl Running ===

impl Running {
    /// Ends the service as a signal would, and waits until it has drained.
    pub(crate) async fn stop(self) {
        self.token.cancel();
        self.task.await.unwrap().unwrap();
    }
}

// === impl Produced ===

impl From<PaymentRecorded> for Produced {
    fn from(payment: PaymentRecorded) -> Self {
        Self {
            key: notice_key(&payment.institution, &payment.notice_number),
            partition: None,
            payload: payment.encode_to_vec(),
            headers: vec![
                ("ce_id", payment.event_id.clone()),
                ("ce_type", PAYMENTS.event_type.to_owned()),
                ("ce_source", "fiorino/tenant".to_owned()),
                ("ce_specversion", "1.0".to_owned()),
                ("ce_time", "2026-05-04T10:00:01Z".to_owned()),
            ],
        }
    }
}
