//! A database that goes back in time issues no number twice, and calls nobody a stranger whom it has forgotten (ARCHITECTURE.md 4.2).

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex},
};

use fiorino_proto::{
    config::v1::{Addressee, CompleteRequest, ResolveAddresseeRequest},
    notices::v1::{NoticeRef, VerifyManyRequest, notices_client::NoticesClient},
    positions::v1::{CreatePositionsRequest, create_outcome::Outcome, positions_client::PositionsClient},
    restore::v1::{
        Block, BlockList, FinishRequest, FollowRequest, GetStateRequest, GetStateResponse, Opening, SentAgain, Store,
        blocks_client::BlocksClient, follow_request::Message as Said, follow_response::Message as Heard,
        restore_client::RestoreClient,
    },
};
use fiorino_test_support::{TestDatabase, eventually, fiscal_code, within};
use sqlx::PgPool;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::{
    fixture::{PATIENCE, PLATFORM, Replica, Tenant},
    manifest::{BROKER, Manifest, STATION},
    money::position,
};

/// Longer than any test: who waits for a witness gets one.
const PATIENT: &str = "--witness-wait-ms=60000";

/// What a node-connector's database keeps; it outlives tenant's.
pub(crate) type Kept = Arc<Mutex<BTreeMap<(String, u32, String, String), Block>>>;

/// A node-connector that keeps what it hears.
pub(crate) struct Keeper {
    pub(crate) store: Store,
    task: JoinHandle<()>,
}

impl Keeper {
    pub(crate) async fn follow(replica: &Replica, kept: &Kept) -> Self {
        Self::follow_from(replica, kept, "").await
    }

    pub(crate) async fn follow_from(replica: &Replica, kept: &Kept, lost_from: &str) -> Self {
        let (requests, outbound) = mpsc::channel(16);
        let opening = Opening {
            replica: "node-connector-1".into(),
            kept: kept.lock().unwrap().values().cloned().collect(),
            complete: true,
            lost_from: lost_from.into(),
        };
        requests.send(FollowRequest { message: Some(Said::Opening(opening)) }).await.unwrap();
        let mut client = BlocksClient::new(replica.channel("node-connector"));
        let mut responses = client.follow(ReceiverStream::new(outbound)).await.unwrap().into_inner();
        let first = within(PATIENCE, responses.message()).await.unwrap().unwrap().unwrap();
        let Some(Heard::Store(store)) = first.message else { panic!("{first:?}") };
        let sent = SentAgain { store_id: store.store_id.clone(), remaining: 0 };
        requests.send(FollowRequest { message: Some(Said::SentAgain(sent)) }).await.unwrap();
        let kept = Arc::clone(kept);
        let task = tokio::spawn(async move {
            while let Ok(Some(heard)) = responses.message().await {
                let Some(Heard::Blocks(BlockList { blocks })) = heard.message else { continue };
                let blocks = blocks.into_iter().map(|block| keep(&kept, block)).collect();
                let message = Some(Said::Kept(BlockList { blocks }));
                if requests.send(FollowRequest { message }).await.is_err() {
                    return;
                }
            }
        });
        Self { store, task }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn keep(kept: &Kept, block: Block) -> Block {
    let mut kept = kept.lock().unwrap();
    let name = (block.institution.clone(), block.aux_digit, block.code.clone(), block.prefix.clone());
    let entry = kept.entry(name).or_insert_with(|| block.clone());
    if block.end > entry.end {
        *entry = block;
    }
    entry.clone()
}

/// Creates positions of one instalment each; their numbers, or why there are none.
pub(crate) async fn create(
    replica: &Replica,
    manifest: &Manifest,
    name: &str,
    count: usize,
) -> Result<Vec<String>, (Code, String)> {
    let positions = (0..count).map(|at| {
        let mut new = position(&format!("{name}-{at}"), &[&[100]]);
        new.service_code = "MENSA".into();
        new
    });
    let request = CreatePositionsRequest { institution: manifest.fiscal_code().into(), positions: positions.collect() };
    let mut request = tonic::Request::new(request);
    request.set_timeout(PATIENCE);
    let created = PositionsClient::new(replica.channel("dev")).create_positions(request).await;
    let outcomes = created.map_err(|status| (status.code(), status.message().to_owned()))?.into_inner().outcomes;
    let mut numbers = Vec::new();
    for outcome in outcomes {
        match outcome.outcome.unwrap() {
            Outcome::Created(created) => numbers.extend(created.notice_numbers),
            Outcome::Refused(refused) => return Err((Code::from_i32(refused.code), refused.message)),
        }
    }
    assert_eq!(numbers.len(), count);
    Ok(numbers)
}

async fn addressee(replica: &Replica, institution: &str) -> Addressee {
    let request = ResolveAddresseeRequest {
        broker_fiscal_code: BROKER.into(),
        station_id: STATION.into(),
        institution: institution.into(),
    };
    replica.read().resolve_addressee(request).await.unwrap().into_inner().addressee()
}

/// Whether a notice can be asked for at all.
pub(crate) async fn verified(replica: &Replica) -> Result<(), Code> {
    let mut request = tonic::Request::new(VerifyManyRequest { notices: vec![NoticeRef::default()] });
    request.set_timeout(PATIENCE);
    let verified = NoticesClient::new(replica.channel("node-connector")).verify_many(request).await;
    verified.map(drop).map_err(|status| status.code())
}

pub(crate) async fn state(replica: &Replica) -> GetStateResponse {
    let mut restore = RestoreClient::new(replica.channel("restore"));
    restore.get_state(GetStateRequest {}).await.unwrap().into_inner()
}

/// What the operator says after a whole pass.
pub(crate) async fn complete(tenant: &Tenant, store_id: &str) -> Result<(), tonic::Status> {
    let request = CompleteRequest {
        fence: tenant.fence().await,
        platform: PLATFORM.into(),
        store_id: store_id.into(),
        held_back: 0,
    };
    tenant.replica.apply().complete(request).await.map(drop)
}

async fn finish(replica: &Replica, store_id: &str) -> Result<u64, tonic::Status> {
    let mut restore = RestoreClient::new(replica.channel("restore"));
    let finished = restore.finish(FinishRequest { store_id: store_id.into(), without_receipts: false }).await?;
    Ok(finished.into_inner().raised.iter().map(|raised| raised.to).max().unwrap_or(0))
}

pub(crate) async fn unwitnessed(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select coalesce(sum(next - witnessed), 0)::int8 from nav_sequence")
        .fetch_one(pool)
        .await
        .unwrap()
}

pub(crate) async fn restarted(database: TestDatabase, flags: &[&str]) -> Tenant {
    let replica = Replica::start_with(&database, flags).await;
    Tenant { database, replica }
}

pub(crate) async fn start(flags: &[&str]) -> (Tenant, Manifest) {
    let Tenant { database, replica } = Tenant::start().await;
    replica.stop().await;
    let tenant = restarted(database, flags).await;
    let manifest = Manifest::new();
    tenant.applied(&manifest).await;
    (tenant, manifest)
}

#[tokio::test]
async fn the_end_of_a_block_is_kept_before_its_numbers_are_used() {
    let (tenant, manifest) = start(&[PATIENT]).await;
    let kept = Kept::default();
    let _keeper = Keeper::follow(&tenant.replica, &kept).await;
    let mut issued = HashSet::new();
    for call in 0..25 {
        let numbers = create(&tenant.replica, &manifest, &call.to_string(), 100).await.unwrap();
        let next: i64 =
            sqlx::query_scalar("select min(ending) from (select max(witnessed) as ending from nav_sequence) w")
                .fetch_one(tenant.pool())
                .await
                .unwrap();
        issued.extend(numbers);
        assert!(next >= i64::try_from(issued.len()).unwrap(), "{next} are kept, {} are given out", issued.len());
    }
    assert_eq!(issued.len(), 2_500);
    assert!(kept.lock().unwrap().values().next().unwrap().end >= 2_500);
}

#[tokio::test]
async fn the_next_block_is_reserved_while_the_last_fifth_is_given_out() {
    let (tenant, manifest) = start(&[PATIENT]).await;
    let kept = Kept::default();
    let _keeper = Keeper::follow(&tenant.replica, &kept).await;
    let next =
        async || sqlx::query_scalar::<_, i64>("select next from nav_sequence").fetch_one(tenant.pool()).await.unwrap();
    create(&tenant.replica, &manifest, "most", 799).await.unwrap();
    assert_eq!(next().await, 1_000);
    create(&tenant.replica, &manifest, "fifth", 2).await.unwrap();
    eventually(PATIENCE, async || match (next().await, unwitnessed(tenant.pool()).await) {
        (2_000, 0) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn without_a_witness_numbers_are_used_after_a_while_and_marked_until_somebody_keeps_them() {
    let (tenant, manifest) = start(&["--witness-wait-ms=300"]).await;
    create(&tenant.replica, &manifest, "alone", 1).await.unwrap();
    assert_eq!(unwitnessed(tenant.pool()).await, 1_000);
    let kept = Kept::default();
    let _keeper = Keeper::follow(&tenant.replica, &kept).await;
    eventually(PATIENCE, async || match unwitnessed(tenant.pool()).await {
        0 => Ok(()),
        left => Err(left.to_string()),
    })
    .await
    .unwrap();
}

/// A store that went back: everything that was given out, by the institution of before and by one that came after the backup.
struct WentBack {
    tenant: Tenant,
    manifest: Manifest,
    onboarded: Manifest,
    given: HashSet<String>,
    kept: Kept,
}

/// The copy of the database is of the same server and timeline: the witness alone knows.
async fn went_back() -> WentBack {
    let (before, manifest) = start(&[PATIENT]).await;
    let kept = Kept::default();
    let keeper = Keeper::follow(&before.replica, &kept).await;
    let mut given: HashSet<String> =
        create(&before.replica, &manifest, "before", 3).await.unwrap().into_iter().collect();
    drop(keeper);
    let Tenant { database, replica } = before;
    replica.stop().await;
    let backup = database.copy().await.unwrap();

    let lost = restarted(database, &[PATIENT]).await;
    let keeper = Keeper::follow(&lost.replica, &kept).await;
    let onboarded = Manifest::new();
    lost.applied(&onboarded).await;
    for (manifest, name, calls) in [(&manifest, "lost", 25), (&onboarded, "onboarded", 15)] {
        give(&lost.replica, manifest, name, calls, &mut given).await;
    }
    drop(keeper);
    let Tenant { database: _gone, replica } = lost;
    replica.stop().await;
    let tenant = restarted(backup, &[PATIENT]).await;
    WentBack { tenant, manifest, onboarded, given, kept }
}

/// Creates hundreds of positions, none of whose numbers was given before.
async fn give(replica: &Replica, manifest: &Manifest, name: &str, calls: usize, given: &mut HashSet<String>) {
    for call in 0..calls {
        let numbers = create(replica, manifest, &format!("{name}-{call}"), 100).await.unwrap();
        assert!(numbers.into_iter().all(|number| given.insert(number)), "a number came twice");
    }
}

/// The whole of it.
#[tokio::test]
async fn a_store_that_went_back_issues_nothing_until_a_person_has_ended_it_and_then_nothing_twice() {
    let WentBack { tenant, manifest, onboarded, mut given, kept } = went_back().await;
    let keeper = Keeper::follow(&tenant.replica, &kept).await;
    assert!(!keeper.store.send_again_since.is_empty(), "receipts may be missing");
    let told = state(&tenant.replica).await;
    assert!(told.restored && told.reason.starts_with("node-connector-1 knows numbers of 2 sequences"), "{told:?}");
    let (code, message) = create(&tenant.replica, &manifest, "early", 1).await.unwrap_err();
    assert_eq!(code, Code::Unavailable);
    assert!(message.contains("restore-check"), "{message}");
    let stranger = fiscal_code();
    for institution in [onboarded.fiscal_code(), &stranger] {
        assert_eq!(addressee(&tenant.replica, institution).await, Addressee::NotYetKnown);
    }
    assert_eq!(addressee(&tenant.replica, manifest.fiscal_code()).await, Addressee::Ours);

    let refused = finish(&tenant.replica, &told.store_id).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    let another = uuid::Uuid::new_v4().to_string();
    assert_eq!(complete(&tenant, &another).await.unwrap_err().code(), Code::FailedPrecondition);
    tenant.applied(&onboarded).await;
    complete(&tenant, &told.store_id).await.unwrap();
    eventually(PATIENCE, async || match state(&tenant.replica).await {
        state if state.configured && state.sent_again => Ok(()),
        state => Err(format!("{state:?}")),
    })
    .await
    .unwrap();
    assert!(finish(&tenant.replica, &told.store_id).await.unwrap() > 2_000_000);
    assert_eq!(finish(&tenant.replica, &told.store_id).await.unwrap(), 0, "it is over");

    drop(keeper);
    let _keeper = Keeper::follow(&tenant.replica, &kept).await;
    for (manifest, name) in [(&manifest, "again"), (&onboarded, "onboarded-again")] {
        give(&tenant.replica, manifest, name, 30, &mut given).await;
    }
    assert_eq!(addressee(&tenant.replica, &stranger).await, Addressee::InstitutionNeverOurs);
    assert!(!state(&tenant.replica).await.restored, "what the witness knows is known by now");
}
