//! Whether a commit is on one disk alone.

use std::{fs::Permissions, os::unix::fs::PermissionsExt as _, time::Duration};

use anyhow::ensure;
use fiorino_kit::{copies, options::DatabaseOptions, store};
use fiorino_test_support::{
    eventually, postgres_bin,
    servers::{Mode, Postgres},
};
use sqlx::Executor as _;

const SOON: Duration = Duration::from_secs(30);

/// A server of its own: the setting is the whole server's.
#[tokio::test]
async fn a_server_without_a_synchronous_standby_has_one_copy() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o711)).unwrap();
    let server = Postgres::start(&postgres_bin().unwrap(), dir.path().join("postgres"), Mode::Archived).await.unwrap();
    let options = DatabaseOptions::for_url(&server.url()).unwrap();
    let pool = store::connect(&options, "copies", 1).unwrap();
    assert!(copies::is_single(&pool).await.unwrap());
    pool.execute("alter system set synchronous_standby_names = '*'").await.unwrap();
    pool.execute("select pg_reload_conf()").await.unwrap();
    eventually(SOON, async || {
        ensure!(!copies::is_single(&pool).await?, "a standby is waited for");
        Ok(())
    })
    .await
    .unwrap();
    // Whoever does not wait for it does not have it.
    pool.execute("set synchronous_commit = local").await.unwrap();
    assert!(copies::is_single(&pool).await.unwrap());
}
