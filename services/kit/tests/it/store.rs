//! Pools: limits of a class, lazily connected.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fiorino_kit::{
    clock::Clock,
    error::chain,
    options::DatabaseOptions,
    store::{self, Class, Plans},
};
use fiorino_test_support::{Parts, TestDatabase, eventually};
use rstest::rstest;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

pub(crate) async fn database() -> TestDatabase {
    Parts::get().empty_database().await.unwrap()
}

fn class() -> Class {
    Class {
        name: "verify",
        max: 1,
        acquire_timeout: Duration::from_millis(150),
        statement_timeout: Duration::from_millis(200),
        plans: Plans::ForValues,
    }
}

/// Of one row the server believes that it is cheaper with its values, and plans the statement each time.
#[rstest]
#[case(Plans::ForValues, (0, 8))]
#[case(Plans::Once, (8, 0))]
#[tokio::test]
async fn a_class_says_when_its_statements_are_planned(#[case] plans: Plans, #[case] generic_and_custom: (i64, i64)) {
    let database = database().await;
    let options = DatabaseOptions::for_url(&database.url).unwrap();
    let pool = store::connect_class(&options, Class { plans, ..class() }).unwrap();
    sqlx::query("create table kept (key text primary key)").execute(&pool).await.unwrap();
    let rows = "select asked.key from unnest($1::text[]) as asked (key) join kept using (key)";
    for _ in 0..8 {
        sqlx::query(rows).bind(["one"]).fetch_all(&pool).await.unwrap();
    }
    let plans = "select generic_plans, custom_plans from pg_prepared_statements where statement = $1";
    let planned: (i64, i64) = sqlx::query_as(plans).bind(rows).fetch_one(&pool).await.unwrap();
    assert_eq!(planned, generic_and_custom);
}

#[tokio::test]
async fn a_class_has_its_own_timeouts() {
    crate::telemetry::start();
    let database = database().await;
    let pool = store::connect_class(&DatabaseOptions::for_url(&database.url).unwrap(), class()).unwrap();
    let name: String = sqlx::query_scalar("select current_setting('application_name')").fetch_one(&pool).await.unwrap();
    assert_eq!(name, "verify");

    let error = sqlx::query("select pg_sleep(5)").execute(&pool).await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().code().unwrap(), "57014", "the server cancels it");
    assert!(store::transient(&error));

    let held = store::begin(&pool).await.unwrap();
    let error = sqlx::query("select 1").execute(&pool).await.unwrap_err();
    assert!(matches!(error, sqlx::Error::PoolTimedOut) && store::transient(&error));
    let metrics = crate::telemetry::metrics();
    for gauge in [
        "db_client_connection_count{db_client_connection_pool_name=\"verify\",db_client_connection_state=\"used\"} 1",
        "db_client_connection_max{db_client_connection_pool_name=\"verify\"} 1",
    ] {
        assert!(metrics.contains(gauge), "{gauge} is missing in {metrics}");
    }
    held.rollback().await.unwrap();
    sqlx::query("select 1").execute(&pool).await.unwrap();
}

#[tokio::test]
async fn a_database_that_is_away_is_an_error_of_the_statement_not_of_the_start() {
    let clock = Clock::system();
    let pool =
        store::connect(&DatabaseOptions::for_url("postgres://nobody@127.0.0.1:1/none").unwrap(), "config", 2).unwrap();
    let begin = clock.monotonic();
    let error = sqlx::query("select 1").execute(&pool).await.unwrap_err();
    assert!(store::transient(&error), "{error}");
    assert!(clock.monotonic().saturating_sub(begin) < Duration::from_secs(5));
}

#[tokio::test]
async fn the_broken_constraint_is_told() {
    let database = database().await;
    sqlx::query("create table t (id int, constraint t_id_is_small check (id < 10))")
        .execute(&database.pool)
        .await
        .unwrap();
    let error = sqlx::query("insert into t (id) values (11)").execute(&database.pool).await.unwrap_err();
    assert_eq!(store::constraint(&error), Some("t_id_is_small"));
    assert!(!store::transient(&error));
    let other = sqlx::query("select id from absent").execute(&database.pool).await.unwrap_err();
    assert_eq!(store::constraint(&other), None);
}

/// As after a failover: the server that is reached only reads. And a transaction that was left idle.
#[tokio::test]
async fn a_database_that_only_reads_is_away() {
    let database = database().await;
    sqlx::query("create table t (id int)").execute(&database.pool).await.unwrap();
    let mut transaction = store::begin(&database.pool).await.unwrap();
    sqlx::query("set transaction read only").execute(&mut *transaction).await.unwrap();
    let error = sqlx::query("insert into t (id) values (1)").execute(&mut *transaction).await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().code().unwrap(), "25006");
    assert!(store::transient(&error) && store::away(&error));

    let raise = "do $$ begin raise exception 'idle' using errcode = '25P03'; end $$";
    let error = sqlx::query(raise).execute(&database.pool).await.unwrap_err();
    assert!(store::transient(&error) && !store::away(&error));
    let error = sqlx::query("select 1 / 0").execute(&database.pool).await.unwrap_err();
    assert!(!store::transient(&error) && !store::away(&error));
}

#[tokio::test]
async fn what_the_database_refuses_is_told_without_its_values() {
    let database = database().await;
    sqlx::query("create table t (name text constraint t_name_is_short check (length(name) < 3))")
        .execute(&database.pool)
        .await
        .unwrap();
    let insert = sqlx::query("insert into t (name) values ('Maria Rossi')").execute(&database.pool);
    let error = insert.await.unwrap_err();
    let whole = format!("{:?}", error.as_database_error().unwrap());
    assert!(whole.contains("Maria Rossi"), "the driver knows the row: {whole}");
    assert_eq!(chain(&error), "the database answered 23514, constraint t_name_is_short");
    let error = sqlx::query("select 'Maria Rossi'::text::int").execute(&database.pool).await.unwrap_err();
    assert!(error.to_string().contains("Maria Rossi"));
    assert_eq!(chain(&error), "the database answered 22P02");
    let error = sqlx::query("select id from absent").execute(&database.pool).await.unwrap_err();
    assert_eq!(chain(&error), "the database answered 42P01, relation \"absent\" does not exist");
}

#[tokio::test]
async fn a_dropped_transaction_changes_nothing() {
    let database = database().await;
    sqlx::query("create table t (id int)").execute(&database.pool).await.unwrap();
    let mut transaction = store::begin(&database.pool).await.unwrap();
    sqlx::query("insert into t (id) values (1)").execute(&mut *transaction).await.unwrap();
    drop(transaction);
    let count: i64 = sqlx::query_scalar("select count(*) from t").fetch_one(&database.pool).await.unwrap();
    assert_eq!(count, 0);
}

/// A way to the database on which everything can be made to vanish without a word, as when it failed over to another address.
struct Way {
    port: u16,
    silenced: CancellationToken,
}

async fn way_to(host: &str, port: u16) -> Way {
    let (listener, database) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), (host.to_owned(), port));
    let (port, silenced) = (listener.local_addr().unwrap().port(), CancellationToken::new());
    let silence = silenced.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (database, silence) = (database.clone(), silence.clone());
            tokio::spawn(async move {
                let mut server = TcpStream::connect(database).await.unwrap();
                // Connections of before the silence stay open and mute; later ones work.
                let mute = if silence.is_cancelled() { CancellationToken::new() } else { silence };
                if mute.run_until_cancelled(copy_bidirectional(&mut client, &mut server)).await.is_none() {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    Way { port, silenced }
}

#[tokio::test]
async fn a_connection_that_fell_silent_leaves_the_pool() {
    let database = database().await;
    let options = DatabaseOptions::for_url(&database.url).unwrap();
    let server = options.database_url.connect_options().unwrap();
    let way = way_to(server.get_host(), server.get_port()).await;
    let direct = format!("{}:{}", server.get_host(), server.get_port());
    let url = database.url.replace(&direct, &format!("127.0.0.1:{}", way.port));
    assert_ne!(url, database.url);
    let pool = store::connect_class(&DatabaseOptions::for_url(&url).unwrap(), class()).unwrap();
    sqlx::query("select 1").execute(&pool).await.unwrap();

    way.silenced.cancel();
    let given_up = tokio::time::timeout(Duration::from_millis(100), sqlx::query("select 1").execute(&pool)).await;
    assert!(given_up.is_err(), "the only connection is mute");
    let healed = eventually(Duration::from_secs(10), async || sqlx::query("select 1").execute(&pool).await);
    healed.await.unwrap();
}

#[tokio::test]
async fn a_connection_that_its_guard_refuses_is_not_used() {
    let database = database().await;
    let options = DatabaseOptions::for_url(&database.url).unwrap();
    let open = Arc::new(AtomicBool::new(false));
    let opened = Arc::clone(&open);
    let pool = store::connect_guarded(&options, class(), move |_| {
        let open = opened.load(Ordering::Relaxed);
        Box::pin(async move { if open { Ok(()) } else { Err(sqlx::Error::Protocol("not yet".to_owned())) } })
    })
    .unwrap();
    let refused = sqlx::query("select 1").execute(&pool).await.unwrap_err();
    assert!(store::away(&refused), "{refused}");
    open.store(true, Ordering::Relaxed);
    eventually(Duration::from_secs(10), async || sqlx::query("select 1").execute(&pool).await.map(drop)).await.unwrap();
}
