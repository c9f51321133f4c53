//! `cargo xtask chaos`: the long run of `tests/chaos`, on the servers that tests have.

use anyhow::Result;

use crate::cli::{Chaos, Context};
use crate::parts::{Mode, Parts, RunDir};
use crate::run::Run;
use crate::test::{environment, until_interrupted};
use crate::tools::{self, Purpose};
use crate::{cargo, say};

/// Builds, starts the servers, runs until the time is over, and ends with its verdict.
pub(crate) async fn run(context: &Context, options: &Chaos) -> Result<()> {
    until_interrupted(serve(context, options)).await
}

async fn serve(context: &Context, options: &Chaos) -> Result<()> {
    let tools = Box::pin(tools::ensure(&context.cache, &context.root, Purpose::Test)).await?;
    let program = cargo::build_chaos(context).await?.join("fiorino-chaos");
    let dir = RunDir::new()?;
    let mut parts = Parts::start(&tools, dir.path(), Mode::Fast).await?;
    let seed = options.seed.map(|seed| format!("--seed={seed}"));
    let mut chaos =
        Run::new("chaos", program).dir(&context.root).arg(format!("--minutes={}", options.minutes)).args(seed);
    for (name, value) in environment(context, &tools, &parts) {
        chaos = chaos.env(name, value);
    }
    let result = chaos.inherited().await;
    parts.stop();
    if result.is_err() {
        say::line(&format!("the servers' logs: {}", dir.keep().display()));
    }
    result
}
