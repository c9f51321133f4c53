//! What the person sees: one line per step with its time, and what is going on meanwhile.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use anyhow::Result;
use fiorino_rig::Stopwatch;
use tokio::time::interval;

/// A terminal is told at once; a log file gets a sign of life now and then.
const TERMINAL_TICK: Duration = Duration::from_millis(150);
const LOG_TICK: Duration = Duration::from_secs(15);
const LINE_WIDTH: usize = 100;

static RUNNING: Mutex<Vec<Running>> = Mutex::new(Vec::new());

struct Running {
    name: String,
    started: Stopwatch,
    detail: String,
}

/// Runs `work` as a step called `name` and prints how long it took.
pub(crate) async fn step<T>(name: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    timed(name, work).await.map(|(value, _)| value)
}

/// The same, and answers with the time.
pub(crate) async fn timed<T>(name: &str, work: impl Future<Output = Result<T>>) -> Result<(T, Duration)> {
    start_ticking();
    let started = Stopwatch::start();
    running().push(Running { name: name.to_owned(), started, detail: String::new() });
    let result = work.await;
    running().retain(|step| step.name != name);
    let took = started.elapsed();
    line(&format!("{} {:>8.1} s  {name}", if result.is_ok() { "  ok" } else { "FAIL" }, took.as_secs_f64()));
    result.map(|value| (value, took)).map_err(|error| error.context(format!("step \"{name}\"")))
}

/// The latest thing that happened inside a running step.
pub(crate) fn detail(name: &str, text: &str) {
    if let Some(step) = running().iter_mut().find(|step| step.name == name) {
        text.trim().clone_into(&mut step.detail);
    }
}

/// A line of its own.
pub(crate) fn line(text: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[2K");
    }
    eprintln!("{text}");
}

/// An error with its causes.
pub(crate) fn failure(error: &anyhow::Error) {
    line(&format!("error: {error}"));
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
}

fn running() -> MutexGuard<'static, Vec<Running>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start_ticking() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let terminal = std::io::stderr().is_terminal();
        tokio::spawn(async move {
            let mut ticks = interval(if terminal { TERMINAL_TICK } else { LOG_TICK });
            loop {
                ticks.tick().await;
                if terminal { redraw() } else { sign_of_life() }
            }
        });
    });
}

fn redraw() {
    let steps = running();
    let text: Vec<String> = steps.iter().map(describe).collect();
    if !text.is_empty() {
        let text: String = text.join(" | ").chars().take(LINE_WIDTH).collect();
        eprint!("\r\x1b[2K  .. {text}");
        std::io::stderr().flush().unwrap_or_default();
    }
}

fn sign_of_life() {
    for step in running().iter().filter(|step| step.started.elapsed() >= LOG_TICK) {
        eprintln!("  .. {}", describe(step));
    }
}

fn describe(step: &Running) -> String {
    format!("{} {:.0} s {}", step.name, step.started.elapsed().as_secs_f64(), step.detail)
}
