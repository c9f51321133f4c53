//! `cargo xtask servers`: everything but the processes that somebody else builds and starts (the Tiltfile).

use anyhow::{Context as _, Result};
use fiorino_world::{Options, World};

use crate::cli::{Context, Servers};
use crate::installation::plain;
use crate::parts::{Kafka, Mode, Postgres, RunDir, Zipkin};
use crate::say;
use crate::test::until_interrupted;
use crate::tools::{self, Purpose};

/// What is left to others: there is a script for each.
const OUTSIDE: [&str; 5] = ["tenant", "node-connector-1", "reporting", "front-office", "operator"];

/// Starts them and writes the scripts, until Ctrl-C.
pub(crate) async fn run(context: &Context, options: &Servers) -> Result<()> {
    until_interrupted(serve(context, options)).await
}

async fn serve(context: &Context, options: &Servers) -> Result<()> {
    fs_err::create_dir_all(&options.dir)?;
    let run_dir = std::path::absolute(&options.dir)?;
    let ready = run_dir.join("ready");
    fs_err::remove_file(&ready).unwrap_or_default();
    let tools = Box::pin(tools::ensure(&context.cache, &context.root, Purpose::Demo)).await?;
    let dir = RunDir::new()?;
    let mut zipkin = Zipkin::spawn(tools.zipkin.as_deref().context("no trace viewer")?, dir.path())?;
    let (postgres, kafka, ()) = tokio::try_join!(
        say::step("PostgreSQL", Postgres::start(&tools.postgres, dir.path().join("postgres"), Mode::Durable)),
        say::step("Kafka", Kafka::start(&tools.kafka, dir.path().join("kafka"), &[])),
        say::step("trace viewer", zipkin.ready()),
    )?;
    let kubeconfig = match &options.kubeconfig {
        Some(path) => path.clone(),
        None => std::env::home_dir().context("no home directory: pass --kubeconfig FILE")?.join(".kube/config"),
    };
    let binaries = context.target.join("debug");
    let world_options = Options {
        kubectl: tools.kubernetes.join("kubectl"),
        forward_traces: Some(zipkin.url.clone()),
        node_connectors: 1,
        outside: OUTSIDE.map(str::to_owned).to_vec(),
        ..plain(Options::unique(binaries, run_dir, postgres.url(), kafka.brokers.clone(), kubeconfig)?)
    };
    crate::cargo::build_helpers(context).await?;
    let world = say::step("simulator, databases, certificates", Box::pin(World::start(world_options))).await?;
    fs_err::write(&ready, "")?;
    let addresses = world.addresses();
    println!("  simulator   {}", addresses.simulator_url);
    println!("  traces      {}/zipkin/", zipkin.url);
    println!("  node        {}", addresses.node_urls.join(", "));
    println!("  portal      http://<host name of an institution>:{}", addresses.portal_port);
    println!("  scripts     {}/*.sh", options.dir.display());
    say::line("  Ctrl-C ends them");
    std::future::pending().await
}
