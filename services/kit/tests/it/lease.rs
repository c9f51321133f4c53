//! Leases: fair spread, takeover, release, nobody twice.

use std::{collections::BTreeSet, time::Duration};

use fiorino_kit::{clock::Clock, lease::LeaseSet};
use fiorino_test_support::{Parts, TestDatabase, eventually, within};
use sqlx::PgPool;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const TTL: Duration = Duration::from_millis(900);
const SOON: Duration = Duration::from_secs(15);
const NAMES: usize = 16;

/// A replica that takes part until it is stopped or killed.
struct Replica {
    set: LeaseSet,
    token: CancellationToken,
    task: JoinHandle<()>,
}

async fn database() -> TestDatabase {
    Parts::get()
        .database("kit_lease_1", async |pool: PgPool| {
            sqlx::query(
                "create table lease (name text primary key, holder text not null, expires_at timestamptz not null)",
            )
            .execute(&pool)
            .await
            .map(drop)
        })
        .await
        .unwrap()
}

fn names() -> Vec<String> {
    (0..NAMES).map(|name| format!("shard/{name:02}")).collect()
}

fn start(pool: &PgPool, holder: &str) -> Replica {
    let set = LeaseSet::new(pool.clone(), holder, names(), TTL);
    let token = CancellationToken::new();
    let task = tokio::spawn({
        let (set, token) = (set.clone(), token.clone());
        async move { set.run(token).await }
    });
    Replica { set, token, task }
}

/// Until the replicas hold exactly `counts`, together everything, and no name twice.
async fn until_spread(replicas: &[&Replica], counts: &[usize]) {
    eventually(SOON, async || {
        let held: Vec<_> = replicas.iter().map(|replica| replica.set.held()).collect();
        let mut sizes: Vec<_> = held.iter().map(Vec::len).collect();
        sizes.sort_unstable();
        let all: BTreeSet<_> = held.iter().flatten().collect();
        if sizes == counts && all.len() == NAMES { Ok(()) } else { Err(format!("{held:?}")) }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn names_spread_fairly_as_replicas_come_and_go() {
    let database = database().await;
    let a = start(&database.pool, "a");
    until_spread(&[&a], &[16]).await;
    assert_eq!(a.set.held(), names());
    assert!(a.set.holds("shard/00") && !a.set.holds("shard/99"));
    let b = start(&database.pool, "b");
    until_spread(&[&a, &b], &[8, 8]).await;
    let c = start(&database.pool, "c");
    until_spread(&[&a, &b, &c], &[5, 5, 6]).await;

    b.token.cancel();
    b.task.await.unwrap();
    assert!(b.set.held().is_empty());
    until_spread(&[&a, &c], &[8, 8]).await;
}

#[tokio::test]
async fn release_hands_over_without_waiting_for_the_expiry() {
    let database = database().await;
    let ttl = Duration::from_mins(1);
    let first = LeaseSet::new(database.pool.clone(), "a", names(), ttl);
    let token = CancellationToken::new();
    let task = tokio::spawn({
        let (first, token) = (first.clone(), token.clone());
        async move { first.run(token).await }
    });
    let mut changed = first.changed();
    changed.wait_for(|held| held.len() == NAMES).await.unwrap();
    token.cancel();
    task.await.unwrap();
    assert!(changed.borrow_and_update().is_empty());
    let rows: i64 = sqlx::query_scalar("select count(*) from lease").fetch_one(&database.pool).await.unwrap();
    assert_eq!(rows, 0);

    let second = start(&database.pool, "b");
    until_spread(&[&second], &[16]).await;
}

#[tokio::test]
async fn the_names_of_a_dead_holder_are_taken_within_ttl_and_a_round() {
    let database = database().await;
    let (dying, living) = (start(&database.pool, "a"), start(&database.pool, "b"));
    until_spread(&[&dying, &living], &[8, 8]).await;
    // No release: as if the process were gone.
    dying.task.abort();
    let clock = Clock::system();
    let died = clock.monotonic();
    until_spread(&[&living], &[16]).await;
    let taken = clock.monotonic().saturating_sub(died);
    assert!(taken < TTL + TTL / 3 + Duration::from_secs(2), "took {taken:?}");
    assert!(dying.set.held().is_empty(), "the dead one's own clock says so too");
}

#[tokio::test]
async fn without_database_a_holder_gives_up_by_itself() {
    let database = database().await;
    let a = start(&database.pool, "a");
    let mut changed = a.set.changed();
    changed.wait_for(|held| held.len() == NAMES).await.unwrap();
    sqlx::query("alter table lease rename to hidden").execute(&database.pool).await.unwrap();
    within(SOON, changed.wait_for(|held| held.is_empty())).await.unwrap().unwrap();
    assert!(a.set.held().is_empty() && !a.set.holds("shard/00"));
    sqlx::query("alter table hidden rename to lease").execute(&database.pool).await.unwrap();
    within(SOON, changed.wait_for(|held| held.len() == NAMES)).await.unwrap().unwrap();
}

#[tokio::test]
async fn nobody_holds_what_somebody_else_holds() {
    let database = database().await;
    let mut replicas: Vec<_> = (0..4).map(|index| start(&database.pool, &format!("r{index}"))).collect();
    let stop = CancellationToken::new();
    let sets: Vec<_> = replicas.iter().map(|replica| replica.set.clone()).collect();
    let watcher = tokio::spawn({
        let stop = stop.clone();
        async move {
            let mut looks = 0;
            while !stop.is_cancelled() {
                for name in names() {
                    let holders = sets.iter().filter(|set| set.holds(&name)).count();
                    assert!(holders <= 1, "{holders} hold {name}");
                }
                looks += 1;
                tokio::task::yield_now().await;
            }
            looks
        }
    });
    let all = |replicas: &[Replica]| replicas.iter().map(|replica| replica.set.held().len()).sum::<usize>();
    for round in 0..4 {
        eventually(SOON, async || if all(&replicas) == NAMES { Ok(()) } else { Err(format!("{}", all(&replicas))) })
            .await
            .unwrap();
        // One leaves in order, the next dies, and each comes back under another name.
        let leaving = replicas.remove(0);
        if round % 2 == 0 {
            leaving.token.cancel();
        } else {
            leaving.task.abort();
        }
        replicas.push(start(&database.pool, &format!("again{round}")));
    }
    stop.cancel();
    assert!(watcher.await.unwrap() > 100);
}
