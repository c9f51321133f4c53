//! The test support against the real servers.

use std::time::Duration;

use fiorino_test_support::{Parts, eventually};
use sqlx::migrate::Migrator;
use sqlx::{Connection as _, PgConnection};

async fn exists(name: &str) -> anyhow::Result<bool> {
    let server = Parts::get().empty_database().await?;
    let found = sqlx::query_scalar("select exists (select from pg_database where datname = $1)").bind(name);
    Ok(found.fetch_one(&server.pool).await?)
}

#[tokio::test]
async fn a_template_is_made_once_and_cloned_by_many() {
    let key = format!("once_{}", fiorino_test_support::fiscal_code());
    let made = std::sync::atomic::AtomicU32::new(0);
    let clone = async || {
        let migrate = async |pool: sqlx::PgPool| {
            made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            sqlx::query("create table thing (name text primary key)").execute(&pool).await.map(drop)
        };
        let database = Parts::get().database(&key, migrate).await?;
        sqlx::query("insert into thing (name) values ('mine')").execute(&database.pool).await?;
        anyhow::Ok(database)
    };
    let (first, second, third) = tokio::try_join!(clone(), clone(), clone()).unwrap();
    assert_eq!(made.into_inner(), 1);
    assert!(first.name() != second.name() && second.name() != third.name());
}

#[tokio::test]
async fn a_failed_migration_leaves_no_template() {
    let key = format!("broken_{}", fiorino_test_support::fiscal_code());
    let broken = async |_| Err(anyhow::anyhow!("no such column"));
    let error = Parts::get().database(&key, broken).await.unwrap_err();
    assert!(format!("{error:#}").contains("no such column"), "{error:#}");
    assert!(!exists(&format!("template_{key}")).await.unwrap());
}

#[tokio::test]
async fn a_database_goes_with_its_test_even_when_it_is_in_use() {
    let database = Parts::get().migrated("none", &Migrator::DEFAULT).await.unwrap();
    let name = database.name().to_owned();
    let mut intruder = PgConnection::connect(&database.url).await.unwrap();
    assert!(exists(&name).await.unwrap());
    drop(database);
    assert!(!exists(&name).await.unwrap());
    assert!(intruder.ping().await.is_err());
}

#[tokio::test]
async fn the_api_server_answers_and_gives_namespaces() {
    let parts = Parts::get();
    let client = parts.kube_client().await.unwrap();
    let first = parts.create_namespace(&client).await.unwrap();
    let second = parts.create_namespace(&client).await.unwrap();
    assert_ne!(first, second);
    let version = client.apiserver_version().await.unwrap();
    assert_eq!(version.minor, "37");
}

#[tokio::test]
async fn kafka_listens() {
    let parts = Parts::get();
    let connect = async || tokio::net::TcpStream::connect(parts.kafka_brokers()).await.map(drop);
    eventually(Duration::from_secs(5), connect).await.unwrap();
}
