//! The fake's side of each RPC.

use std::{collections::HashSet, pin::Pin, sync::MutexGuard, time::Duration};

use fiorino_domain::case::CaseKind;
use fiorino_proto::{
    config::v1::{
        Addressee, GetInstitutionRequest, GetInstitutionResponse, LifecyclePhase, ListInstitutionsRequest,
        ListInstitutionsResponse, RecordReadbackRequest, RecordReadbackResponse, ResolveAddresseeRequest,
        ResolveAddresseeResponse, StreamRequest, StreamResponse, config_read_server::ConfigRead,
        config_readback_server::ConfigReadback, config_stream_server::ConfigStream, stream_request::Message,
    },
    notices::v1::{
        ActivateManyRequest, ActivateManyResponse, NoticeRef, VerifyManyRequest, VerifyManyResponse,
        notices_server::Notices,
    },
    receipts::v1::{ApplyOutcome, ApplyReceiptsRequest, ApplyReceiptsResponse, Receipt, receipts_server::Receipts},
};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use super::{Answer, Fake, Script};

const STORE: &str = "fake-store";

// === impl Fake ===

impl Fake {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    async fn obey(&self, of: impl Fn(&Script) -> Answer) -> Result<(), Status> {
        let answer = of(&self.script());
        match answer {
            Answer::AtOnce => Ok(()),
            Answer::After(delay) => {
                tokio::time::sleep(delay).await;
                Ok(())
            }
            Answer::Never => std::future::pending().await,
            Answer::Fail(code) => Err(Status::new(code, "as the script says")),
        }
    }

    fn rule(&self, holds: bool, rule: &str) -> Result<(), Status> {
        if holds {
            return Ok(());
        }
        self.script().broken_rules.push(rule.to_owned());
        Err(Status::invalid_argument(rule.to_owned()))
    }

    fn check_notice(&self, notice: &NoticeRef) -> Result<(), Status> {
        let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
        self.rule(digits(&notice.institution, 11), "institution has 11 digits")?;
        self.rule(digits(&notice.notice_number, 18), "notice_number has 18 digits")?;
        self.rule(!notice.station_id.is_empty(), "station_id is told")?;
        if self.script().poison.contains(&notice.notice_number) {
            return Err(Status::internal("a notice broke the batch"));
        }
        Ok(())
    }

    fn check_receipt(&self, receipt: &Receipt) -> Result<(), Status> {
        self.rule(!receipt.receipt_id.is_empty() && !receipt.institution.is_empty(), "a receipt has its key")?;
        self.rule(receipt.version >= 1, "version begins at 1")?;
        self.rule(receipt.content_hash.len() == 32, "content_hash is a SHA-256")?;
        self.rule(receipt.received_at.parse::<jiff::Timestamp>().is_ok(), "received_at is RFC 3339")?;
        let known = receipt.findings.iter().all(|code| CaseKind::parse(code).is_ok());
        self.rule(known, "findings are kinds of cases")
    }

    fn snapshot(&self, nonce: &str) -> StreamResponse {
        StreamResponse {
            nonce: nonce.to_owned(),
            store_id: STORE.to_owned(),
            snapshot_start: true,
            resources: self.script().resources.values().cloned().collect(),
            tombstones: Vec::new(),
            complete: true,
            up_to_seq: *self.seq.borrow(),
        }
    }
}

#[tonic::async_trait]
impl ConfigStream for Fake {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<StreamResponse, Status>> + Send>>;

    async fn stream(&self, request: Request<Streaming<StreamRequest>>) -> Result<Response<Self::StreamStream>, Status> {
        let mut requests = request.into_inner();
        let first = requests.message().await?.and_then(|request| request.message);
        let Some(Message::Hello(hello)) = first else { return Err(Status::invalid_argument("the first is a hello")) };
        self.rule(hello.service == "node-connector" && !hello.boot_id.is_empty(), "a hello tells who it is")?;
        let (responses, stream) = mpsc::channel(4);
        let fake = self.clone();
        tokio::spawn(async move {
            let mut seq = fake.seq.subscribe();
            loop {
                seq.borrow_and_update();
                if responses.send(Ok(fake.snapshot(&hello.boot_id))).await.is_err() {
                    return;
                }
                loop {
                    tokio::select! {
                        () = fake.token.cancelled() => return,
                        changed = seq.changed() => if changed.is_ok() { break } else { return },
                        () = tokio::time::sleep(Duration::from_secs(5)) => break,
                        ack = requests.next() => if !matches!(ack, Some(Ok(_))) { return },
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

#[tonic::async_trait]
impl ConfigRead for Fake {
    async fn get_institution(
        &self,
        _: Request<GetInstitutionRequest>,
    ) -> Result<Response<GetInstitutionResponse>, Status> {
        Err(Status::unimplemented("not for the node-connector"))
    }

    async fn list_institutions(
        &self,
        _: Request<ListInstitutionsRequest>,
    ) -> Result<Response<ListInstitutionsResponse>, Status> {
        Err(Status::unimplemented("not for the node-connector"))
    }

    async fn resolve_addressee(
        &self,
        request: Request<ResolveAddresseeRequest>,
    ) -> Result<Response<ResolveAddresseeResponse>, Status> {
        self.script().asked += 1;
        self.obey(|script| script.resolving).await?;
        let asked = request.into_inner();
        let script = self.script();
        let addressee = if !script.ours.contains(&asked.broker_fiscal_code) {
            Addressee::BrokerNeverOurs
        } else if !script.ours.contains(&asked.station_id) {
            Addressee::StationNeverOurs
        } else if !script.ours.contains(&asked.institution) {
            Addressee::InstitutionNeverOurs
        } else if script.associated.contains(&(asked.station_id, asked.institution)) {
            Addressee::Ours
        } else {
            Addressee::NotAssociated
        };
        let phase = LifecyclePhase::Live.into();
        Ok(Response::new(ResolveAddresseeResponse { addressee: addressee.into(), phase }))
    }
}

#[tonic::async_trait]
impl ConfigReadback for Fake {
    async fn record_readback(
        &self,
        request: Request<RecordReadbackRequest>,
    ) -> Result<Response<RecordReadbackResponse>, Status> {
        let mut script = self.script();
        script.readbacks.push(request.into_inner());
        Ok(Response::new(RecordReadbackResponse { waiting: script.waiting }))
    }
}

#[tonic::async_trait]
impl Notices for Fake {
    async fn verify_many(&self, request: Request<VerifyManyRequest>) -> Result<Response<VerifyManyResponse>, Status> {
        let notices = request.into_inner().notices;
        self.rule((1..=64).contains(&notices.len()), "1 to 64 notices")?;
        self.script().verified.push(notices.clone());
        for notice in &notices {
            self.check_notice(notice)?;
        }
        self.obey(|script| script.notices).await?;
        let script = self.script();
        Ok(Response::new(VerifyManyResponse { replies: notices.iter().map(|notice| script.verify(notice)).collect() }))
    }

    async fn activate_many(
        &self,
        request: Request<ActivateManyRequest>,
    ) -> Result<Response<ActivateManyResponse>, Status> {
        let activations = request.into_inner().activations;
        self.rule((1..=64).contains(&activations.len()), "1 to 64 activations")?;
        self.script().activated.extend(activations.iter().cloned());
        for activation in &activations {
            self.rule(activation.notice.is_some(), "an activation has its notice")?;
            self.check_notice(activation.notice.as_ref().unwrap())?;
        }
        self.obey(|script| script.notices).await?;
        let script = self.script();
        let replies = activations.iter().map(|activation| script.activate(activation)).collect();
        Ok(Response::new(ActivateManyResponse { replies }))
    }
}

#[tonic::async_trait]
impl Receipts for Fake {
    async fn apply_receipts(
        &self,
        request: Request<ApplyReceiptsRequest>,
    ) -> Result<Response<ApplyReceiptsResponse>, Status> {
        let receipts = request.into_inner().receipts;
        self.rule((1..=256).contains(&receipts.len()), "1 to 256 receipts")?;
        self.script().batches.push(receipts.len());
        for receipt in &receipts {
            self.check_receipt(receipt)?;
        }
        self.obey(|script| script.applying).await?;
        if receipts.iter().any(|receipt| self.script().slow.contains(&receipt.receipt_id)) {
            std::future::pending::<()>().await;
        }
        let mut script = self.script();
        if receipts.iter().any(|receipt| script.poison.contains(&receipt.receipt_id)) {
            return Err(Status::internal("a receipt broke the batch"));
        }
        let mut known: HashSet<(String, String, u32)> = script.applied.iter().map(key).collect();
        let mut outcomes = Vec::new();
        for receipt in receipts {
            outcomes.push(if script.unapplied.contains(&receipt.receipt_id) {
                ApplyOutcome::Unspecified.into()
            } else if known.insert(key(&receipt)) {
                script.applied.push(receipt);
                ApplyOutcome::Applied.into()
            } else {
                ApplyOutcome::Repeated.into()
            });
        }
        Ok(Response::new(ApplyReceiptsResponse { outcomes }))
    }
}

fn key(receipt: &Receipt) -> (String, String, u32) {
    (receipt.institution.clone(), receipt.receipt_id.clone(), receipt.version)
}
