//! The statements behind leases. Each is a transaction of its own and uses the database's time.

use std::time::Duration;

use sqlx::PgPool;

#[derive(Debug)]
pub(super) struct Store {
    pool: PgPool,
    holder: String,
    names: Vec<String>,
    /// Prefix of the members' rows.
    members: String,
    ttl_ms: i64,
}

/// What a round begins with.
#[derive(Debug)]
pub(super) struct Renewed {
    /// Names whose leases were renewed.
    pub(super) held: Vec<String>,
    /// How many names this replica should have.
    pub(super) share: usize,
}

/// Rank of a member among those that live: the first `names % live` have one name more than the others.
fn share(names: usize, live: usize, rank: usize) -> usize {
    let live = live.max(1);
    names / live + usize::from(rank < names % live)
}

// === impl Store ===

impl Store {
    pub(super) fn new(pool: PgPool, holder: String, names: Vec<String>, ttl: Duration) -> Self {
        let members = format!("member/{}/", names.first().map_or("", String::as_str));
        let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        Self { pool, holder, names, members, ttl_ms }
    }

    pub(super) async fn renew(&self) -> sqlx::Result<Renewed> {
        let (held, live, rank): (Vec<String>, i64, i64) = sqlx::query_as(
            "with member as (
                 insert into lease (name, holder, expires_at)
                 values ($1 || $2, $2, now() + $3 * interval '1 ms')
                 on conflict (name) do update set expires_at = excluded.expires_at
             ), gone as (
                 delete from lease
                 where starts_with(name, $1) and holder <> $2 and expires_at < now() - 10 * $3 * interval '1 ms'
             ), renewed as (
                 update lease set expires_at = now() + $3 * interval '1 ms'
                 where holder = $2 and name = any($4)
                 returning name
             ), others as (
                 select holder from lease where starts_with(name, $1) and holder <> $2 and expires_at > now()
             )
             select array(select name from renewed),
                    (select count(*) from others) + 1,
                    (select count(*) from others where holder < $2)",
        )
        .bind(&self.members)
        .bind(&self.holder)
        .bind(self.ttl_ms)
        .bind(&self.names)
        .fetch_one(&self.pool)
        .await?;
        let count = |value: i64| usize::try_from(value).unwrap_or_default();
        Ok(Renewed { held, share: share(self.names.len(), count(live), count(rank)) })
    }

    /// Takes at most `wanted` names that nobody holds.
    pub(super) async fn take(&self, wanted: usize) -> sqlx::Result<Vec<String>> {
        sqlx::query_scalar(
            "with free as (
                 select wanted.name
                 from unnest($1::text[]) as wanted (name) left join lease on lease.name = wanted.name
                 where lease.name is null or lease.expires_at <= now()
                 order by random() limit $2
             )
             insert into lease (name, holder, expires_at)
             select name, $3, now() + $4 * interval '1 ms' from free order by name
             on conflict (name) do update set holder = excluded.holder, expires_at = excluded.expires_at
             where lease.expires_at <= now()
             returning name",
        )
        .bind(&self.names)
        .bind(i64::try_from(wanted).unwrap_or(i64::MAX))
        .bind(&self.holder)
        .bind(self.ttl_ms)
        .fetch_all(&self.pool)
        .await
    }

    pub(super) async fn release(&self, names: &[String]) -> sqlx::Result<()> {
        sqlx::query("delete from lease where holder = $1 and name = any($2)")
            .bind(&self.holder)
            .bind(names)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Every name and the membership.
    pub(super) async fn release_all(&self) -> sqlx::Result<()> {
        sqlx::query("delete from lease where holder = $1 and (name = any($2) or name = $3 || $1)")
            .bind(&self.holder)
            .bind(&self.names)
            .bind(&self.members)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn shares_are_fair_and_leave_nothing_out(names in 0_usize..200, live in 1_usize..50) {
            let shares: Vec<_> = (0..live).map(|rank| share(names, live, rank)).collect();
            prop_assert_eq!(shares.iter().sum::<usize>(), names);
            prop_assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
        }
    }
}
