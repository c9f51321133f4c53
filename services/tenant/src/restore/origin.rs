//! Where the store lies, and where it was: what says that it went back in time.

use fiorino_kit::store;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{FromRow, PgConnection, PgExecutor};
use tracing::Instrument as _;
use uuid::Uuid;

use super::points::Stated;
use crate::{
    configuration::{Head, check_fence},
    context::Context,
    error::{Error, Result},
};

/// The latest origin, as everybody must see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
#[expect(clippy::struct_excessive_bools, reason = "facts of one row, each asked by somebody else")]
pub(super) struct Origin {
    /// Another one with every move and every suspicion.
    pub(super) id: i64,
    /// The store may be a restored one, and nobody has ended that.
    pub(super) restored: bool,
    /// A node-connector has compared its numbers since the time that was asked for.
    pub(super) compared: bool,
    /// It lacks no receipt that a node-connector has.
    pub(super) serves: bool,
    /// PostgreSQL is the one that the store was last seen on.
    pub(super) here: bool,
}

/// The latest origin and the server, under the head's lock.
#[derive(Debug, Clone, FromRow)]
struct Found {
    id: i64,
    known_system: String,
    known_timeline: i64,
    system_identifier: String,
    timeline: i64,
    restored: bool,
}

/// What became of a store since it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    None,
    /// A standby was promoted, or the server recovered to a point in time: only those who know more can tell which.
    Moved,
    /// Another server.
    Restored(String),
}

// === impl Found ===

impl Found {
    async fn read(conn: &mut PgConnection) -> sqlx::Result<Self> {
        sqlx::query_as(
            "select o.id, o.system_identifier as known_system, o.timeline as known_timeline, s.system_identifier, s.timeline,
                 o.suspicion is not null and o.checked_at is null as restored
             from store_origin o cross join server_identity() s
             order by o.id desc limit 1",
        )
        .fetch_one(conn)
        .await
    }

    /// A timeline alone means no restore by itself: a promoted standby is to go on without a person. Where it lacks what was given out,
    /// a witness or a saved copy is ahead of it, and says so.
    fn change(&self) -> Change {
        if self.known_system != self.system_identifier {
            let (known, now) = (&self.known_system, &self.system_identifier);
            return Change::Restored(format!("PostgreSQL is another one: system identifier {now}, it was {known}"));
        }
        if self.known_timeline == self.timeline {
            return Change::None;
        }
        if self.restored {
            let (known, now) = (self.known_timeline, self.timeline);
            return Change::Restored(format!("timeline {now} after {known}, before a restore had ended"));
        }
        Change::Moved
    }
}

/// Compares the store with the server that it lies on, and remembers that it is alive.
///
/// # Errors
/// What the database says; also where PostgreSQL only reads.
pub(super) async fn settle(context: &Context) -> sqlx::Result<()> {
    let (_turn, mut tx, head) = Head::begin(context).await?;
    let found = Found::read(&mut tx).await?;
    match found.change() {
        Change::None => alive(&mut *tx).await?,
        Change::Moved => {
            raise_moved(&mut tx).await?;
            open(&mut tx, head, &found, None).await?;
            tracing::warn!(
                timeline = found.timeline,
                known_timeline = found.known_timeline,
                "PostgreSQL has another timeline: a standby was promoted, or it was restored to a point in time"
            );
        }
        Change::Restored(reason) => {
            open(&mut tx, head, &found, Some(&reason)).await?;
            told(&reason);
        }
    }
    tx.commit().await
}

/// Remembers that the store is alive, and since when it had not been. What is written with it is what a restored backup shows.
///
/// # Errors
/// What the database says.
pub(super) async fn alive(executor: impl PgExecutor<'_>) -> sqlx::Result<()> {
    sqlx::query(
        "update store_origin
         set paused_from = case when alive_at < now() - interval '30 seconds' then alive_at else paused_from end, alive_at = now()
         where id = (select max(id) from store_origin)",
    )
    .execute(executor)
    .await
    .map(drop)
}

/// Somebody knows what the store does not, which is remembered with it: no number is issued until a person has ended it.
///
/// # Errors
/// What the database says.
pub(super) async fn suspect(context: &Context, reason: &str, stated: Option<&Stated>) -> sqlx::Result<()> {
    let (_turn, mut tx, head) = Head::begin(context).await?;
    let found = Found::read(&mut tx).await?;
    if let Some(stated) = stated {
        stated.remember(&mut tx, context.environment.as_str()).await?;
    }
    if !found.restored {
        open(&mut tx, head, &found, Some(reason)).await?;
    }
    tx.commit().await?;
    if !found.restored {
        told(reason);
    }
    Ok(())
}

fn told(reason: &str) {
    tracing::error!(
        reason,
        "the database may be a restored one: no notice number is issued until `fiorino-tenant restore-check` has ended"
    );
}

/// A further origin, and another name for the store: who holds something of the one before asks for everything.
async fn open(conn: &mut PgConnection, head: Head, found: &Found, suspicion: Option<&str>) -> sqlx::Result<()> {
    sqlx::query(
        "insert into store_origin (system_identifier, timeline, former_store_id, former_config_seq, since, suspicion)
         select $2, $3, $4, $5, coalesce(case when $2 = system_identifier and $3 = timeline then paused_from end, alive_at), $6
         from store_origin where id = $1",
    )
    .bind(found.id)
    .bind(&found.system_identifier)
    .bind(found.timeline)
    .bind(head.store_id)
    .bind(head.config_seq)
    .bind(suspicion)
    .execute(&mut *conn)
    .instrument(store::span("record the origin of the store"))
    .await?;
    sqlx::query("update config_head set store_id = gen_random_uuid()").execute(conn).await.map(drop)
}

/// Whatever a standby did not get, its blocks begin far above. Remembers where they were, so that a witness of what is lost is known.
async fn raise_moved(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query(
        "update nav_sequence
         set moved_from = next, moved_to = next + step, next = next + step
         from (select s.institution_id, s.aux_digit, s.code, s.prefix,
                   least(2000000, ((10::numeric ^ (13 - length(s.prefix)))::bigint - s.next) / 10) as step
               from nav_sequence s) as wide
         where nav_sequence.institution_id = wide.institution_id and nav_sequence.aux_digit = wide.aux_digit
             and nav_sequence.code = wide.code and nav_sequence.prefix = wide.prefix and wide.step > 0",
    )
    .execute(conn)
    .await
    .map(drop)
}

/// The latest origin; whether somebody compared since `started`.
///
/// # Errors
/// What the database says.
pub(super) async fn look(executor: impl PgExecutor<'_>, started: Timestamp) -> sqlx::Result<Origin> {
    sqlx::query_as(
        "select o.id, o.suspicion is not null and o.checked_at is null as restored,
             coalesce(o.compared_at >= $1, false) as compared, store_lacks_nothing(o) as serves,
             o.system_identifier = s.system_identifier and o.timeline = s.timeline as here
         from store_origin o cross join server_identity() s
         order by o.id desc limit 1",
    )
    .bind(started.to_sqlx())
    .fetch_one(executor)
    .await
}

/// A replica says what configuration it holds from before: one that the store cannot have given it means that the store went back.
///
/// # Errors
/// What the database says.
pub(crate) async fn compare_copy(context: &Context, replica: &str, store_id: &str, known_seq: i64) -> sqlx::Result<()> {
    let Ok(store_id) = Uuid::parse_str(store_id) else { return Ok(()) };
    // Of a store that was restored before, and is whole again by now, nothing new is learnt.
    let known: Option<(i64, bool)> = sqlx::query_as(
        "select config_seq, false from config_head where store_id = $1
         union all
         (select former_config_seq, suspicion is not null from store_origin where former_store_id = $1 order by id desc limit 1)
         limit 1",
    )
    .bind(store_id)
    .fetch_optional(&context.pools.config)
    .await?;
    match known {
        Some((config_seq, false)) if known_seq > config_seq => {
            let reason =
                format!("{replica} holds the configuration up to {known_seq}, the store had it up to {config_seq}");
            suspect(context, &reason, None).await
        }
        Some(_) => Ok(()),
        None => {
            let reason = format!("{replica} holds the configuration of a store that is not known here");
            suspect(context, &reason, None).await
        }
    }
}

/// The operator has looked at every manifest since this store began.
///
/// # Errors
/// When it was deposed, or the store is another one by now.
pub(crate) async fn complete(
    context: &Context,
    fence: i64,
    platform: &str,
    store_id: &str,
    held_back: u32,
) -> Result<()> {
    let (_turn, mut tx, head) = Head::begin(context).await?;
    check_fence(&mut tx, platform, fence).await?;
    if head.store_id.to_string() != store_id {
        return Err(Error::precondition(
            "store_id",
            "the store is another one by now: look at every institution again",
        ));
    }
    sqlx::query(
        "update store_origin set configured_at = coalesce(configured_at, now()), held_back = $1
         where id = (select max(id) from store_origin) and suspicion is not null and checked_at is null",
    )
    .bind(i32::try_from(held_back).unwrap_or(i32::MAX))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::the_same("7", 1, false, Change::None)]
    #[case::a_restore_goes_on("7", 1, true, Change::None)]
    #[case::a_standby_was_promoted("7", 2, false, Change::Moved)]
    fn what_became_of_the_store(
        #[case] system: &str,
        #[case] timeline: i64,
        #[case] restored: bool,
        #[case] change: Change,
    ) {
        assert_eq!(found(system, timeline, restored).change(), change);
    }

    #[test]
    fn another_server_is_a_restore_and_so_is_a_move_before_one_had_ended() {
        for found in [found("8", 1, false), found("8", 2, true), found("7", 3, true)] {
            assert!(matches!(found.change(), Change::Restored(_)), "{found:?}");
        }
    }

    fn found(system: &str, timeline: i64, restored: bool) -> Found {
        Found {
            id: 1,
            known_system: "7".into(),
            known_timeline: 1,
            system_identifier: system.into(),
            timeline,
            restored,
        }
    }
}
