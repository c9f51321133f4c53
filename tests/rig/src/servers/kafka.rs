//! A private Kafka broker: one node, its own controller.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::READY_DEADLINE;
use crate::{Process, Signal, Spec, free_port};

/// What the broker's own class says when it serves.
const STARTED: &str = "Kafka Server started";
/// Enough for tests, and small beside everything else on a developer's machine.
const JVM: [&str; 8] = [
    "-Xms64m",
    "-Xmx320m",
    "-XX:MaxMetaspaceSize=96m",
    "-XX:ReservedCodeCacheSize=64m",
    "-XX:MaxDirectMemorySize=64m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xss512k",
];

/// A running broker.
#[derive(Debug)]
pub struct Kafka {
    process: Process,
    spec: Spec,
    log: PathBuf,
    /// `host:port`, without a way round.
    pub brokers: String,
}

/// A further address at which clients are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// Where the broker listens.
    pub port: u16,
    /// What it tells clients to connect to: a way that leads to `port`.
    pub advertised: u16,
}

// === impl Kafka ===

impl Kafka {
    /// Formats and starts a broker in `dir`; `jars` is the directory of its jars.
    ///
    /// # Errors
    /// What the broker complains about.
    pub async fn start(jars: &Path, dir: PathBuf, listeners: &[Listener]) -> Result<Self> {
        fs_err::create_dir_all(&dir)?;
        let (port, controller) = (free_port()?, free_port()?);
        let properties = dir.join("server.properties");
        fs_err::write(&properties, server_properties(&dir, port, controller, listeners))?;
        fs_err::write(dir.join("log4j2.properties"), LOGGING)?;
        let classpath = format!("{}/*", jars.display());
        // The sign keeps an id that begins with a dash from being taken for an option.
        let cluster = format!("--cluster-id={}", cluster_id()?);
        let format = Spec::new("java", dir.join("format.log"))
            .args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m", "-cp", &classpath])
            .args(["kafka.tools.StorageTool", "format", "--standalone", &cluster, "-c"])
            .arg(&properties);
        Process::spawn(&format)?.finish(READY_DEADLINE).await.context("failed to format Kafka's storage")?;
        let log = dir.join("kafka.log");
        let spec = Spec::new("java", &log)
            .args(JVM)
            .arg(format!("-Dlog4j2.configurationFile={}", dir.join("log4j2.properties").display()))
            .args(["-cp", &classpath, "kafka.Kafka"])
            .arg(&properties)
            .stop_with(Signal::TERM, Duration::from_secs(10));
        let mut kafka = Self { process: Process::spawn(&spec)?, spec, log, brokers: format!("127.0.0.1:{port}") };
        kafka.ready().await?;
        Ok(kafka)
    }

    /// The broker.
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// The broker, to be stopped.
    pub const fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Starts it again, on the same ports, and waits until it serves.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.stop()?;
        // What it says tells that it serves: what it said before must not.
        fs_err::rename(&self.log, self.log.with_extension("before.log"))?;
        self.process = Process::spawn(&self.spec)?;
        self.ready().await
    }

    async fn ready(&mut self) -> Result<()> {
        let log = &self.log;
        self.process
            .wait_ready(READY_DEADLINE, async || {
                ensure!(fs_err::read_to_string(log)?.contains(STARTED), "still starting");
                Ok(())
            })
            .await
    }
}

fn cluster_id() -> Result<String> {
    let mut id = [0_u8; 16];
    std::io::Read::read_exact(&mut fs_err::File::open("/dev/urandom")?, &mut id)?;
    Ok(URL_SAFE_NO_PAD.encode(id))
}

fn server_properties(dir: &Path, port: u16, controller: u16, listeners: &[Listener]) -> String {
    let dir = dir.display();
    let each = |entry: &dyn Fn(usize, &Listener) -> String| -> String {
        listeners.iter().enumerate().fold(String::new(), |text, (n, listener)| text + &entry(n, listener))
    };
    let served = each(&|n, listener| format!(",WAY{n}://127.0.0.1:{}", listener.port));
    let advertised = each(&|n, listener| format!(",WAY{n}://127.0.0.1:{}", listener.advertised));
    let protocols = each(&|n, _| format!(",WAY{n}:PLAINTEXT"));
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{served}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{advertised}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={dir}/data
{TUNING}"
    )
}

/// One node: every internal topic has one copy. Small: few threads, small segments and indexes, for hundreds of topics.
const TUNING: &str = "auto.create.topics.enable=false
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=400
initial.broker.registration.timeout.ms=30000
log.segment.bytes=16777216
log.index.size.max.bytes=1048576
log.cleaner.dedupe.buffer.size=16777216
log.cleaner.threads=1
num.network.threads=2
num.io.threads=2
background.threads=2
num.recovery.threads.per.data.dir=2
";

const LOGGING: &str = "rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c{1} %m%n
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_ids_are_22_characters_and_differ() {
        let (first, second) = (cluster_id().unwrap(), cluster_id().unwrap());
        assert_eq!(first.len(), 22);
        assert_ne!(first, second);
    }
}
