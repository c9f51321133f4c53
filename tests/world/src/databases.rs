//! A database per service, with an owner that migrates and a login that may only do what the runtime role was granted.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use crate::Options;
use crate::command::run;

/// Services that keep something.
pub const SERVICES_WITH_DATABASE: [&str; 4] = ["tenant", "node-connector", "reporting", "front-office"];

/// The URLs of one service's database.
#[derive(Debug, Clone)]
pub(crate) struct Urls {
    /// What the service logs in with.
    pub(crate) runtime: String,
    /// What it migrates with.
    pub(crate) owner: String,
    /// Superuser, for whoever looks inside.
    pub(crate) superuser: String,
}

/// Makes databases and roles.
pub(crate) async fn create(options: &Options) -> Result<BTreeMap<String, Urls>> {
    for service in SERVICES_WITH_DATABASE {
        let mut statements = String::new();
        let (name, group) = (name(options, service), format!("fiorino_{}_runtime", service.replace('-', "_")));
        // The group is shared by every world of a server, and several may make it at the same time.
        write!(
            statements,
            "do $$ begin create role {group} nologin;
             exception when duplicate_object or unique_violation then null; end $$;
             create role \"{name}_owner\" login;
             create role \"{name}\" login in role {group};
             create database \"{name}\" owner \"{name}_owner\";\n"
        )?;
        psql(options, service, &statements)
            .await
            .with_context(|| format!("failed to make the database of {service}"))?;
    }
    SERVICES_WITH_DATABASE.iter().map(|&service| Ok((service.to_owned(), urls(options, service)?))).collect()
}

/// Removes them.
pub(crate) async fn remove(options: &Options) -> Result<()> {
    for service in SERVICES_WITH_DATABASE {
        let (mut statements, name) = (String::new(), name(options, service));
        write!(
            statements,
            "drop database if exists \"{name}\" with (force);
             drop role if exists \"{name}\";
             drop role if exists \"{name}_owner\";\n"
        )?;
        psql(options, service, &statements)
            .await
            .with_context(|| format!("failed to remove the database of {service}"))?;
    }
    Ok(())
}

/// The server of a service's database, as superuser.
fn server<'a>(options: &'a Options, service: &str) -> &'a str {
    options.database_servers.get(service).unwrap_or(&options.database_url)
}

fn name(options: &Options, service: &str) -> String {
    format!("{}{}", options.database_prefix, service.replace('-', "_"))
}

fn urls(options: &Options, service: &str) -> Result<Urls> {
    let (scheme, rest) = server(options, service).split_once("://").context("the database URL has no scheme")?;
    let (authority, _) = rest.split_once('/').context("the database URL names no database")?;
    let (user, host) = authority.rsplit_once('@').context("the database URL names no user")?;
    let name = name(options, service);
    let url = |role: &str| format!("{scheme}://{role}@{host}/{name}");
    Ok(Urls { runtime: url(&name), owner: url(&format!("{name}_owner")), superuser: url(user) })
}

async fn psql(options: &Options, service: &str, statements: &str) -> Result<()> {
    let dbname = format!("--dbname={}", server(options, service));
    let args = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", &dbname];
    run(&options.postgres_bin.join("psql"), &args, statements).await.map(drop)
}
