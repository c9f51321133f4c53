//! What the services of one tenant share.

use std::sync::{Arc, Mutex, MutexGuard};

use fiorino_proto::config::v1::Resource;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::configuration::Configuration;

/// Script, configuration and broken rules, for whatever answers a call.
#[derive(Debug)]
pub struct Shared<S> {
    script: Arc<Mutex<S>>,
    broken_rules: Arc<Mutex<Vec<String>>>,
    pub(crate) configuration: Arc<Configuration>,
    /// Streams end with it.
    pub(crate) token: CancellationToken,
}

// === impl Shared ===

impl<S> Shared<S> {
    pub(crate) fn new(resources: impl IntoIterator<Item = Resource>, script: S) -> Self {
        Self {
            script: Arc::new(Mutex::new(script)),
            broken_rules: Arc::default(),
            configuration: Arc::new(Configuration::new(resources)),
            token: CancellationToken::new(),
        }
    }

    pub(crate) fn until(self, token: CancellationToken) -> Self {
        Self { token, ..self }
    }

    pub(crate) fn broken_rules(&self) -> Vec<String> {
        self.broken_rules.lock().unwrap().clone()
    }

    /// What tenant does, and what it saw.
    pub fn script(&self) -> MutexGuard<'_, S> {
        self.script.lock().unwrap()
    }

    /// A rule of the proto.
    ///
    /// # Errors
    /// It does not hold: that is remembered.
    pub fn rule(&self, holds: bool, rule: &str) -> Result<(), Status> {
        if holds {
            return Ok(());
        }
        self.broken_rules.lock().unwrap().push(rule.to_owned());
        Err(Status::invalid_argument(rule.to_owned()))
    }

    /// The rules of what names a notice.
    ///
    /// # Errors
    /// As [`Shared::rule`].
    pub fn notice_rules(&self, institution: &str, notice_number: &str) -> Result<(), Status> {
        let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
        self.rule(digits(institution, 11), "institution has 11 digits")?;
        self.rule(digits(notice_number, 18), "notice_number has 18 digits")
    }
}

impl<S> Clone for Shared<S> {
    fn clone(&self) -> Self {
        Self {
            script: Arc::clone(&self.script),
            broken_rules: Arc::clone(&self.broken_rules),
            configuration: Arc::clone(&self.configuration),
            token: self.token.clone(),
        }
    }
}
