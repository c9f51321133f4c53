//! `cargo xtask bench`: figures, on the machine as it is. Nothing is asserted: a figure is compared by a person.

use std::time::Duration;

use anyhow::Result;
use fiorino_world::{Crowd, World};

use crate::cli::{Context, Onboarding};
use crate::demo::manifests;
use crate::installation::Installation;
use crate::test::until_interrupted;
use crate::tools::{self, Purpose};
use crate::{cargo, say};

const SUBSCRIPTION_KEY: &str = "0123456789abcdef0123456789abcdef";

/// From a manifest to an institution that every service has: one after the other, then many at once.
pub(crate) async fn onboarding(context: &Context, options: &Onboarding) -> Result<()> {
    until_interrupted(measure(context, options)).await
}

async fn measure(context: &Context, options: &Onboarding) -> Result<()> {
    let tools = Box::pin(tools::ensure(&context.cache, &context.root, Purpose::Demo)).await?;
    let binaries = match &options.binaries {
        Some(dir) => std::path::absolute(dir)?,
        None => cargo::build_optimised(context).await?,
    };
    let installation = Box::pin(Installation::start(&tools, &binaries)).await?;
    let measured = Box::pin(onboard(context, &installation, options)).await;
    installation.stop(measured.is_err()).await?;
    measured
}

async fn onboard(context: &Context, installation: &Installation, options: &Onboarding) -> Result<()> {
    let (world, examples) = (&installation.world, context.root.join("examples"));
    let overlay = installation.dir.path().join("platform");
    manifests::apply_platform(world, &examples, &overlay, SUBSCRIPTION_KEY).await?;
    let mut single = Vec::new();
    for number in 0..options.singly {
        single.push(appear(world, &format!("one-{number}"), 1, number.into()).await?);
    }
    single.sort();
    let (p50, p95) = (percentile(&single, 50), percentile(&single, 95));
    say::line(&format!("  apply -> Ready, {} one after the other: p50 {p50:.2?}, p95 {p95:.2?}", single.len()));
    let all = appear(world, "many", options.at_once, 1_000_000).await?;
    say::line(&format!("  apply -> Ready, {} at once: all within {all:.1?}", options.at_once));
    Ok(())
}

/// The time of kubectl, which brings the manifests and looks whether they are Ready, is in it.
async fn appear(world: &World, name: &str, size: u32, first_code: u64) -> Result<Duration> {
    let crowd = Crowd { name: name.to_owned(), size, first_code };
    let appeared = crowd.appear(world).await?;
    if size > 1 {
        say::line(&format!("  {size} manifests applied by kubectl: {:.1?}", appeared.applied));
    }
    Ok(appeared.ready)
}

/// Nearest rank; the figures are sorted.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(rank).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let figures: Vec<Duration> = (1..=20).map(Duration::from_secs).collect();
        assert_eq!(percentile(&figures, 50), Duration::from_secs(10));
        assert_eq!(percentile(&figures, 95), Duration::from_secs(19));
        assert_eq!(percentile(&figures[..1], 95), Duration::from_secs(1));
    }
}
