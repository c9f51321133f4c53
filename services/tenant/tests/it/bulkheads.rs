//! What is stuck in one class of work takes nothing from another (ARCHITECTURE.md 5.3).

use std::time::Duration;

use fiorino_kit::store;
use fiorino_proto::{
    config::v1::ApplyBundleRequest,
    notices::v1::{NoticeRef, VerifyManyRequest, notices_client::NoticesClient},
    positions::v1::{
        CreatePositionRequest, CreatePositionsRequest, GetPositionRequest, get_position_request::By,
        positions_client::PositionsClient,
    },
    receipts::v1::{ApplyReceiptsRequest, receipts_client::ReceiptsClient},
};
use fiorino_test_support::{eventually, within};
use sqlx::{PgPool, Postgres, Transaction};
use tokio::task::JoinSet;
use tonic::{Code, Request};

use crate::{
    fixture::{PATIENCE, Replica, Tenant},
    manifest::{Manifest, STATION},
    money::position,
    stream::{Raw, hello},
};

/// Calls that a service takes on at once.
const CALLS: usize = 1_024;

/// Statements of the process wait longer than the test.
const PATIENT: &str = "--database-statement-timeout-ms=600000";

/// Whoever creates a position waits until this ends.
async fn stuck(pool: &PgPool) -> Transaction<'static, Postgres> {
    let mut held = store::begin(pool).await.unwrap();
    sqlx::query("lock table client_reference in access exclusive mode").execute(&mut *held).await.unwrap();
    held
}

/// Until so many sessions of this database wait for a lock.
async fn until_waiting(pool: &PgPool, sessions: i64) {
    let waiting = "select count(distinct l.pid) from pg_locks l join pg_stat_activity a using (pid)
                   where not l.granted and a.datname = current_database()";
    eventually(PATIENCE, async || {
        let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(pool).await?;
        anyhow::ensure!(waiting >= sessions, "{waiting} of {sessions} sessions wait");
        Ok(())
    })
    .await
    .unwrap_or_else(|error: anyhow::Error| panic!("{error:#}"));
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(PATIENCE);
    request
}

#[tokio::test]
async fn positions_that_hang_leave_verify_and_receipts_alone() {
    let tenant = Tenant::start().await;
    let manifest = Manifest::new();
    tenant.applied(&manifest).await;
    let replica = Replica::start_with(&tenant.database, &[PATIENT]).await;
    let held = stuck(tenant.pool()).await;
    let mut hanging = JoinSet::new();
    // A channel carries no more than a service takes on.
    let channels = [replica.channel("dev"), replica.channel("dev")];
    for call in 0..CALLS + 100 {
        let mut positions = PositionsClient::new(channels[call % 2].clone());
        let new = position(&call.to_string(), &[&[10_000]]);
        let request = CreatePositionRequest { institution: manifest.fiscal_code().into(), position: Some(new) };
        hanging.spawn(async move { positions.create_position(Request::new(request)).await.map(drop) });
    }
    let mut others = PositionsClient::new(replica.channel("dev"));
    let by = Some(By::NoticeNumber("312000000000471179".into()));
    let request = GetPositionRequest { institution: manifest.fiscal_code().into(), by };
    eventually(PATIENCE, async || match others.get_position(timed(request.clone())).await {
        Err(status) if status.code() == Code::ResourceExhausted => Ok(()),
        answer => Err(format!("{answer:?}")),
    })
    .await
    .unwrap();

    let notice = NoticeRef {
        institution: manifest.fiscal_code().into(),
        notice_number: "312000000000471179".into(),
        station_id: STATION.into(),
    };
    let connector = replica.channel("node-connector");
    let verify = VerifyManyRequest { notices: vec![notice] };
    let verified = NoticesClient::new(connector.clone()).verify_many(timed(verify)).await.unwrap();
    assert_eq!(verified.into_inner().replies.len(), 1);
    ReceiptsClient::new(connector).apply_receipts(timed(ApplyReceiptsRequest::default())).await.unwrap();
    replica.status(manifest.fiscal_code()).await.unwrap();
    let full = others.get_position(timed(request)).await.unwrap_err();
    assert_eq!(full.code(), Code::ResourceExhausted, "they hang still");
    hanging.abort_all();
    held.rollback().await.unwrap();
}

#[tokio::test]
async fn positions_that_hang_leave_events_alone() {
    let tenant = Tenant::start().await;
    let manifest = Manifest::new();
    tenant.applied(&manifest).await;
    let database = &tenant.database;
    tenant.replica.stop().await;
    let replica = Replica::start_with(database, &["--database-pool-max=1", PATIENT]).await;
    let held = stuck(&database.pool).await;
    let mut positions = PositionsClient::new(replica.channel("dev"));
    let request = CreatePositionsRequest {
        institution: manifest.fiscal_code().into(),
        positions: vec![position("hangs", &[&[10_000]])],
    };
    let hanging = tokio::spawn(async move { positions.create_positions(timed(request)).await.map(drop) });
    until_waiting(&database.pool, 1).await;

    sqlx::query(
        "insert into outbox (shard, topic, key, event_id, event_type, payload)
         values (1, $1, 'key', gen_random_uuid(), 'type', '')",
    )
    .bind(fiorino_proto::topics::PAYMENTS.name)
    .execute(&database.pool)
    .await
    .unwrap();
    eventually(PATIENCE, async || {
        match sqlx::query_scalar::<_, i64>("select count(*) from outbox").fetch_one(&database.pool).await? {
            0 => Ok(()),
            left => Err(anyhow::anyhow!("{left} events wait")),
        }
    })
    .await
    .unwrap();
    assert!(!hanging.is_finished(), "it hangs still");
    held.rollback().await.unwrap();
    hanging.await.unwrap().unwrap();
}

#[tokio::test]
async fn bundles_that_wait_for_the_head_leave_streams_and_reads_alone() {
    let tenant = Tenant::start().await;
    let manifest = Manifest::new();
    tenant.applied(&manifest).await;
    let fence = tenant.fence().await;
    let database = &tenant.database;
    tenant.replica.stop().await;
    let replica = Replica::start_with(database, &["--database-pool-max=2", PATIENT]).await;
    let mut held = store::begin(&database.pool).await.unwrap();
    sqlx::query("select from config_head for update").execute(&mut *held).await.unwrap();
    let mut waiting = JoinSet::new();
    for _ in 0..4 {
        let (mut apply, bundle) = (replica.apply(), Manifest::new().bundle());
        let request = ApplyBundleRequest { fence, ..bundle };
        waiting.spawn(async move { apply.apply_bundle(timed(request)).await.map(drop) });
    }
    until_waiting(&database.pool, 1).await;

    let mut stream = Raw::open(&replica, hello("a")).await;
    assert!(stream.complete().await.snapshot_start);
    replica.status(manifest.fiscal_code()).await.unwrap();
    held.rollback().await.unwrap();
    while let Some(applied) = waiting.join_next().await {
        applied.unwrap().unwrap();
    }
    let delta = within(Duration::from_secs(20), stream.complete()).await.unwrap();
    assert!(!delta.resources.is_empty());
}
