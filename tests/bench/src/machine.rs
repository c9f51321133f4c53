//! What processes take: memory and processor time, from the kernel.

use std::time::Duration;

use anyhow::{Context as _, Result};
use fiorino_world::World;

/// Ticks of the kernel's processor time per second: fixed by Linux's interface to programs.
const TICKS_PER_SECOND: u64 = 100;

/// Name of the benchmark's own process in [`cpu`].
pub(crate) const GENERATOR: &str = "load generator";

/// Resident memory of a process in KiB, now and at most since the last [`forget_peak`].
///
/// # Errors
/// When the process is gone.
pub(crate) fn memory(pid: u32) -> Result<(u64, u64)> {
    let status = fs_err::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    };
    Ok((field("VmRSS:")?, field("VmHWM:")?))
}

/// The peak counts anew.
///
/// # Errors
/// When the process is gone.
pub(crate) fn forget_peak(pid: u32) -> Result<()> {
    Ok(fs_err::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

/// Processor time so far by process, PostgreSQL's together, and of this process.
///
/// # Errors
/// When the kernel tells nothing.
pub(crate) fn cpu(world: &World) -> Result<Vec<(String, Duration)>> {
    let mut all: Vec<_> = world
        .processes()
        .filter_map(|(name, process)| Some((name.to_owned(), of_process(process.pid()).ok()?)))
        .collect();
    all.push(("PostgreSQL".to_owned(), named("postgres")?));
    all.push(("Kafka".to_owned(), named("java")?));
    all.push((GENERATOR.to_owned(), of_process(std::process::id())?));
    Ok(all)
}

/// What each took between two readings, as a share of one core; who took less than 1 % is left out.
pub(crate) fn shares(before: &[(String, Duration)], after: &[(String, Duration)], took: Duration) -> String {
    let share = |name: &str, now: Duration| {
        let earlier = before.iter().find(|(other, _)| other == name).map_or(Duration::ZERO, |(_, time)| *time);
        now.saturating_sub(earlier).as_secs_f64() / took.as_secs_f64().max(0.001) * 100.0
    };
    let told = after.iter().map(|(name, now)| (name, share(name, *now))).filter(|(_, share)| *share >= 1.0);
    told.map(|(name, share)| format!("{name} {share:.0} %")).collect::<Vec<_>>().join(", ")
}

fn of_process(pid: u32) -> Result<Duration> {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may hold spaces; after its closing parenthesis user and system time are the 12th and 13th field.
    let fields: Vec<&str> = stat.rsplit_once(')').context("no name")?.1.split_whitespace().collect();
    let ticks = |at: usize| -> Result<u64> { Ok(fields.get(at).context("a short line")?.parse()?) };
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 1_000 / TICKS_PER_SECOND))
}

/// All processes of a program.
fn named(program: &str) -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for entry in fs_err::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let name = fs_err::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if name.trim() == program {
            sum += of_process(pid).unwrap_or_default();
        }
    }
    Ok(sum)
}
