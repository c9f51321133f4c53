//! Verify and get: whose is the notice, is it payable, and with what?
//!
//! ```text
//!  paVerifyPaymentNotice --+-- checks (view, else tenant) --+-- Batcher -- VerifyMany ---+-- tenant
//!  paGetPayment(V2) -------+                                +-- Batcher -- ActivateMany -+
//! ```
//!
//! Each call has 1.8 s in all; whatever is not done by then is `PAA_SYSTEM_ERROR` (ARCHITECTURE.md 5.3).

mod answer;
mod batch;

use std::{sync::Arc, time::Duration};

use fiorino_domain::money::Cents;
use fiorino_kit::{
    batch::{BatchError, Batcher},
    clock::Clock,
    rpc,
};
use fiorino_proto::notices::v1::{
    ActivateReply, Activation, NoticeRef, Refusal, TransferType as AskedType, VerifyReply, activate_reply, verify_reply,
};
use fiorino_wire::{
    Account, FaultCode, GetPaymentRequest, Header, Operation, Payment, QrCode, TransferType, VerifiedNotice,
    VerifyRequest, Version,
};
use tokio::time::timeout;
use tonic::Status;

use self::batch::{Answered, Ask};
use crate::{
    addressee::{Resolver, Verdict},
    metrics::Metrics,
    projection::{Address, Lookup},
    refused::Refused,
};

/// Batches in flight per operation.
const LANES: usize = 2;
/// Notices in one batch: the proto's limit.
const BATCH_MAX: usize = 64;
/// Calls that wait for a batch; more are answered at once.
const QUEUE_MAX: usize = 512;

/// A call's result: an answer, or why it is KO.
pub(crate) type Result<T, E = Refused> = std::result::Result<T, E>;

/// Answers verify and get; one per process.
#[derive(Debug)]
pub(crate) struct Notices {
    resolver: Arc<Resolver>,
    verify: Batcher<Ask<NoticeRef>, Answered<VerifyReply>, Status>,
    activate: Batcher<Ask<Activation>, Answered<ActivateReply>, Status>,
    clock: Clock,
    metrics: Metrics,
}

/// What is known of a call besides its message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    /// Station in the URL.
    pub(crate) path_station: &'a str,
    /// When the answer must be on its way, in monotonic time.
    pub(crate) deadline: Duration,
}

// === impl Notices ===

impl Notices {
    pub(crate) fn new(resolver: Arc<Resolver>, tenant: &rpc::Channel, clock: Clock, metrics: Metrics) -> Self {
        Self {
            resolver,
            verify: Batcher::new(LANES, BATCH_MAX, QUEUE_MAX, batch::verify(tenant.clone(), clock.clone())),
            activate: Batcher::new(LANES, BATCH_MAX, QUEUE_MAX, batch::activate(tenant.clone(), clock.clone())),
            clock,
            metrics,
        }
    }

    /// `paVerifyPaymentNotice`.
    ///
    /// # Errors
    /// The KO to answer.
    pub(crate) async fn verify(&self, request: &VerifyRequest, call: Call<'_>) -> Result<VerifiedNotice> {
        self.check(&request.header, call).await?;
        check_notice(&request.header, &request.qr_code)?;
        let ask = Ask { what: notice_ref(&request.header, &request.qr_code), deadline: call.deadline };
        let reply = self.within(call, self.verify.call(ask)).await?;
        match reply.reply {
            Some(verify_reply::Reply::Payable(notice)) => answer::verified(notice, &request.qr_code)
                .map_err(|broken| self.broken("paVerifyPaymentNotice", &broken)),
            Some(verify_reply::Reply::Refusal(refusal)) => Err(self.by_tenant(Operation::Verify, refusal)),
            None => Err(unknown_reply()),
        }
    }

    /// `paGetPayment`, `paGetPaymentV2`.
    ///
    /// # Errors
    /// The KO to answer.
    pub(crate) async fn get(&self, request: &GetPaymentRequest, call: Call<'_>) -> Result<Payment> {
        self.check(&request.header, call).await?;
        check_notice(&request.header, &request.qr_code)?;
        let reply = self.within(call, self.activate.call(activation(request, call))).await?;
        match reply.reply {
            Some(activate_reply::Reply::Activated(notice)) => {
                let payment = answer::payment(notice)
                    .map_err(|broken| self.broken(Operation::GetPayment(request.version).name(), &broken))?;
                let stamped = payment.transfers.iter().any(|it| matches!(it.account, Account::Stamp(_)));
                if stamped && request.version == Version::V1 {
                    return Err(Refused::because(FaultCode::Semantica, "a stamp is bought with paGetPaymentV2 alone"));
                }
                Ok(payment)
            }
            Some(activate_reply::Reply::Refusal(refusal)) => {
                Err(self.by_tenant(Operation::GetPayment(request.version), refusal))
            }
            None => Err(unknown_reply()),
        }
    }

    /// Broker, station, institution, then the path against the body (pagopa.md 2.3).
    ///
    /// # Errors
    /// The KO to answer.
    pub(crate) async fn check(&self, header: &Header, call: Call<'_>) -> Result<()> {
        let address = Address::from(header);
        match self.resolver.lookup(&address) {
            Lookup::Associated => {}
            Lookup::NotAssociated | Lookup::Unknown => self.ask(&address, call).await?,
        }
        if call.path_station == header.id_station {
            Ok(())
        } else {
            Err(Refused::because(FaultCode::StazioneIntErrata, "idStation is not the station of the URL"))
        }
    }

    async fn ask(&self, address: &Address, call: Call<'_>) -> Result<()> {
        let left = call.deadline.saturating_sub(self.clock.monotonic());
        match self.resolver.ask(address, left).await {
            Verdict::Ours { associated: true } => Ok(()),
            Verdict::Ours { associated: false } => {
                Err(Refused::because(FaultCode::StazioneIntErrata, "idStation is not associated with idPA"))
            }
            Verdict::NeverOurs(stranger) => Err(Refused::stranger(stranger)),
            Verdict::NotYetKnown | Verdict::Away => Err(Refused::system_error()),
        }
    }

    /// Waits for tenant's reply until the call's deadline.
    async fn within<T>(
        &self,
        call: Call<'_>,
        reply: impl Future<Output = Result<Answered<T>, BatchError<Status>>>,
    ) -> Result<T> {
        let left = call.deadline.saturating_sub(self.clock.monotonic());
        match timeout(left, reply).await {
            Ok(Ok(Answered::Reply(reply))) => return Ok(reply),
            Ok(Ok(Answered::Away)) | Err(_) => tracing::warn!("tenant did not answer in time"),
            Ok(Err(BatchError::Overloaded)) => self.metrics.overload("notices"),
            Ok(Err(error)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "failed to ask tenant for a notice");
            }
        }
        Err(Refused::system_error())
    }

    /// Tenant's reason. That an account has no number is answered like an outage, and is none: it is counted apart.
    fn by_tenant(&self, operation: Operation, refusal: i32) -> Refused {
        let refusal = Refusal::try_from(refusal).ok();
        if refusal == Some(Refusal::NoAccount) {
            self.metrics.no_account(operation.name());
        }
        refusal.and_then(Refused::by_tenant).unwrap_or_else(unknown_reply)
    }

    /// What tenant told cannot be answered: alarm.
    fn broken(&self, op: &'static str, broken: &answer::Broken) -> Refused {
        self.metrics.answer_refused(op);
        tracing::error!(op, error = %broken, "tenant's reply cannot be answered to the node");
        Refused::system_error()
    }
}

/// The institution of the notice against the one addressed.
fn check_notice(header: &Header, qr_code: &QrCode) -> Result<()> {
    if qr_code.fiscal_code.as_str() == header.id_pa {
        Ok(())
    } else {
        Err(Refused::because(FaultCode::IdDominioErrato, "idPA is not the fiscalCode of the qrCode"))
    }
}

fn notice_ref(header: &Header, qr_code: &QrCode) -> NoticeRef {
    NoticeRef {
        institution: header.id_pa.clone(),
        notice_number: qr_code.notice_number.clone(),
        station_id: header.id_station.clone(),
    }
}

fn activation(request: &GetPaymentRequest, call: Call<'_>) -> Ask<Activation> {
    let transfer_type = match request.transfer_type {
        None => AskedType::Unspecified,
        Some(TransferType::Postal) => AskedType::Postal,
        Some(TransferType::Pagopa) => AskedType::Pagopa,
    };
    let what = Activation {
        notice: Some(notice_ref(&request.header, &request.qr_code)),
        transfer_type: transfer_type.into(),
        requested_cents: request.amount.map(Cents::get),
        payment_note: request.payment_note.clone().unwrap_or_default(),
    };
    Ask { what, deadline: call.deadline }
}

fn unknown_reply() -> Refused {
    tracing::error!("tenant's reply is unknown to this version");
    Refused::system_error()
}
