//! What can be broken, how, and how it is mended.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result};
use fiorino_rig::Signal;
use fiorino_rig::proxy::Line;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use crate::stage::Stage;
use crate::visitor::PORTAL;

/// Processes that are killed and hung.
const PROCESSES: [&str; 6] = ["tenant", "node-connector-1", "node-connector-2", "reporting", PORTAL, "operator"];

/// The kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A process gets SIGKILL at any instant.
    Kill,
    /// A process ends at a named point, the next time it comes by.
    Abort,
    /// A process gets SIGSTOP, later SIGCONT.
    Hang,
    /// PostgreSQL ends without writing anything (immediate shutdown).
    CrashDatabase,
    /// Kafka gets SIGKILL.
    KillKafka,
    /// The Kubernetes API server gets SIGKILL.
    KillApiServer,
    /// PostgreSQL's volume has no space left.
    FillDisk,
    /// Connections between two parts break, and no new ones come about.
    Cut,
    /// Connections between two parts stay, and nothing passes.
    Silence,
    /// What passes between two parts comes later.
    Delay,
}

/// A fault, drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Of which kind.
    pub kind: Kind,
    what: What,
    /// How long it lasts, beside the time that mending takes.
    pub lasts: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Process(String),
    Point(&'static Point),
    Between(String, String, Line),
    Server,
}

/// A point of a process at which it can be told to end (`fiorino_kit::fault`).
#[derive(Debug, PartialEq, Eq)]
pub struct Point {
    /// Of this process.
    pub process: &'static str,
    /// As the source calls it.
    pub name: &'static str,
}

/// The point on the way of a manifest: nobody comes by while only payments are made.
pub const BUNDLE: Point = Point { process: "tenant", name: "bundle-committed" };

/// Every point on the way of a debt and of its receipt, in the order in which they come by.
pub const POINTS: [Point; 7] = [
    Point { process: "tenant", name: "positions-committed" },
    Point { process: "tenant", name: "activations-committed" },
    Point { process: "node-connector-1", name: "receipt-stored" },
    Point { process: "tenant", name: "receipts-applied" },
    Point { process: "node-connector-2", name: "receipts-answered" },
    Point { process: "tenant", name: "events-produced" },
    Point { process: "reporting", name: "payments-recorded" },
];

// === impl Kind ===

impl Kind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Kill,
        Self::Abort,
        Self::Hang,
        Self::CrashDatabase,
        Self::KillKafka,
        Self::KillApiServer,
        Self::FillDisk,
        Self::Cut,
        Self::Silence,
        Self::Delay,
    ];

    /// Whether a stage has what it breaks.
    pub fn possible(self, stage: &Stage) -> bool {
        match self {
            Self::CrashDatabase => stage.servers.postgres.is_some(),
            Self::KillKafka => stage.servers.kafka.is_some(),
            Self::KillApiServer => stage.servers.kubernetes.is_some(),
            Self::FillDisk => stage.servers.volume.is_some(),
            Self::Kill | Self::Abort | Self::Hang | Self::Cut | Self::Silence | Self::Delay => true,
        }
    }
}

// === impl Fault ===

impl Fault {
    /// Draws a fault of a kind.
    pub fn draw(kind: Kind, stage: &Stage, random: &mut StdRng) -> Self {
        let mut of = |range: std::ops::Range<u64>| Duration::from_millis(random.random_range(range));
        let (lasts, delay) = match kind {
            Kind::Kill => (of(0..1_000), Duration::ZERO),
            // It has to start, and to come by.
            Kind::Abort => (of(1_500..4_000), Duration::ZERO),
            Kind::Delay => (of(1_000..3_000), of(20..250)),
            Kind::Hang | Kind::Cut | Kind::Silence => (of(500..4_000), Duration::ZERO),
            Kind::CrashDatabase | Kind::KillKafka | Kind::KillApiServer | Kind::FillDisk => {
                (of(500..3_000), Duration::ZERO)
            }
        };
        let what = match kind {
            Kind::Kill | Kind::Hang => What::Process(PROCESSES.choose(random).unwrap().to_string()),
            Kind::Abort => What::Point(POINTS.choose(random).unwrap()),
            Kind::CrashDatabase | Kind::KillKafka | Kind::KillApiServer | Kind::FillDisk => What::Server,
            Kind::Cut | Kind::Silence | Kind::Delay => {
                let (from, to) = stage.lines().choose(random).unwrap().clone();
                let line = match kind {
                    Kind::Cut => Line::Cut,
                    Kind::Silence => Line::Silent,
                    _ => Line::Slow(delay),
                };
                What::Between(from, to, line)
            }
        };
        Self { kind, what, lasts }
    }

    /// Breaks it.
    ///
    /// # Errors
    /// When it cannot be broken.
    pub async fn inject(&self, stage: &mut Stage) -> Result<()> {
        if let Some(process) = self.silences() {
            stage.ledger.excuse(process);
        }
        let world = &mut stage.town.world;
        match (&self.what, self.kind) {
            (What::Process(name), Kind::Hang) => world.process(name)?.signal(Signal::STOP),
            (What::Process(name), _) => world.process(name)?.kill().map(drop),
            (What::Point(Point { process, name }), _) => world.respawn(process, &[("FIORINO_FAULT_POINT", name)]),
            (What::Between(from, to, line), _) => {
                stage.line(from, to)?.set(*line);
                Ok(())
            }
            (What::Server, Kind::CrashDatabase) => own(&mut stage.servers.postgres)?.crash().await,
            (What::Server, Kind::KillKafka) => own(&mut stage.servers.kafka)?.process_mut().kill().map(drop),
            (What::Server, Kind::KillApiServer) => own(&mut stage.servers.kubernetes)?.kill(),
            (What::Server, _) => own(&mut stage.servers.volume)?.fill(),
        }
    }

    /// Mends it, and waits until what was broken works.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn mend(&self, stage: &mut Stage) -> Result<()> {
        let world = &mut stage.town.world;
        match (&self.what, self.kind) {
            (What::Process(name), Kind::Hang) => world.process(name)?.signal(Signal::CONT)?,
            (What::Process(name), _) => world.restart(name).await?,
            (What::Point(Point { process, .. }), _) => world.restart(process).await?,
            (What::Between(from, to, _), _) => stage.line(from, to)?.set(Line::Open),
            (What::Server, Kind::CrashDatabase) => own(&mut stage.servers.postgres)?.restart().await?,
            (What::Server, Kind::KillKafka) => own(&mut stage.servers.kafka)?.restart().await?,
            (What::Server, Kind::KillApiServer) => own(&mut stage.servers.kubernetes)?.restart().await?,
            (What::Server, _) => own(&mut stage.servers.volume)?.free()?,
        }
        if let Some(process) = self.silences() {
            stage.ledger.excuse_no_more(process);
        }
        Ok(())
    }

    /// Space, then servers, come back before what needs them.
    pub fn comes_back(&self) -> u8 {
        match self.what {
            What::Server if self.kind == Kind::FillDisk => 0,
            What::Server => 1,
            What::Between(..) => 2,
            What::Process(_) | What::Point(_) => 3,
        }
    }

    /// Whether both break the same thing: then one of them is enough.
    pub fn collides(&self, other: &Self) -> bool {
        let process = |fault: &Self| match &fault.what {
            What::Process(name) => Some(name.clone()),
            What::Point(point) => Some(point.process.to_owned()),
            What::Between(..) | What::Server => None,
        };
        let same_process = process(self).is_some() && process(self) == process(other);
        let same_line = match (&self.what, &other.what) {
            (What::Between(from, to, _), What::Between(other_from, other_to, _)) => {
                (from, to) == (other_from, other_to)
            }
            _ => false,
        };
        same_process || same_line || self.what == What::Server && other.what == What::Server && self.kind == other.kind
    }

    /// The process that cannot answer who asks it meanwhile.
    fn silences(&self) -> Option<&str> {
        match &self.what {
            What::Process(name) => Some(name),
            What::Point(point) => Some(point.process),
            What::Between(from, to, _) if from == "node" => Some(to),
            What::Between(..) | What::Server => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.what, self.kind) {
            (What::Process(name), Kind::Hang) => write!(f, "hang {name}"),
            (What::Process(name), _) => write!(f, "kill {name}"),
            (What::Point(point), _) => write!(f, "end {} at {}", point.process, point.name),
            (What::Between(from, to, Line::Slow(by)), _) => write!(f, "delay {from} -> {to} by {} ms", by.as_millis()),
            (What::Between(from, to, Line::Silent), _) => write!(f, "silence {from} -> {to}"),
            (What::Between(from, to, _), _) => write!(f, "cut {from} -> {to}"),
            (What::Server, Kind::CrashDatabase) => f.write_str("crash PostgreSQL"),
            (What::Server, Kind::KillKafka) => f.write_str("kill Kafka"),
            (What::Server, Kind::KillApiServer) => f.write_str("kill the API server"),
            (What::Server, _) => f.write_str("fill PostgreSQL's disk"),
        }?;
        write!(f, " for {} ms", self.lasts.as_millis())
    }
}

/// The random numbers of a seed.
pub fn random(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

fn own<T>(server: &mut Option<T>) -> Result<&mut T> {
    server.as_mut().context("the stage has no such server of its own")
}
