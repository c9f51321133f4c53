//! The fake's side of each RPC.

use std::collections::HashSet;

use fiorino_domain::case::CaseKind;
use fiorino_proto::{
    config::v1::{
        Addressee, GetInstitutionRequest, GetInstitutionResponse, LifecyclePhase, ListInstitutionsRequest,
        ListInstitutionsResponse, RecordReadbackRequest, RecordReadbackResponse, ResolveAddresseeRequest,
        ResolveAddresseeResponse, config_read_server::ConfigRead, config_readback_server::ConfigReadback,
    },
    notices::v1::{
        ActivateManyRequest, ActivateManyResponse, NoticeRef, VerifyManyRequest, VerifyManyResponse,
        notices_server::Notices,
    },
    receipts::v1::{ApplyOutcome, ApplyReceiptsRequest, ApplyReceiptsResponse, Receipt, receipts_server::Receipts},
};
use tonic::{Request, Response, Status};

use super::{Answer, Fake, Script};

// === impl Fake ===

impl Fake {
    async fn obey(&self, of: impl Fn(&mut Script) -> &mut Answer) -> Result<(), Status> {
        let answer = of(&mut self.0.script()).take();
        answer.obey().await
    }

    fn check_notice(&self, notice: &NoticeRef) -> Result<(), Status> {
        self.0.notice_rules(&notice.institution, &notice.notice_number)?;
        self.0.rule(!notice.station_id.is_empty(), "station_id is told")?;
        if self.0.script().poison.contains(&notice.notice_number) {
            return Err(Status::internal("a notice broke the batch"));
        }
        Ok(())
    }

    fn check_receipt(&self, receipt: &Receipt) -> Result<(), Status> {
        self.0.rule(!receipt.receipt_id.is_empty() && !receipt.institution.is_empty(), "a receipt has its key")?;
        self.0.rule(receipt.version >= 1, "version begins at 1")?;
        self.0.rule(receipt.content_hash.len() == 32, "content_hash is a SHA-256")?;
        self.0.rule(receipt.received_at.parse::<jiff::Timestamp>().is_ok(), "received_at is RFC 3339")?;
        let known = receipt.findings.iter().all(|code| CaseKind::parse(code).is_ok());
        self.0.rule(known, "findings are kinds of cases")
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
        self.0.script().asked += 1;
        self.obey(|script| &mut script.resolving).await?;
        let asked = request.into_inner();
        let script = self.0.script();
        let addressee = if !script.ours.contains(&asked.broker_fiscal_code) {
            script.stranger(Addressee::BrokerNeverOurs)
        } else if !script.ours.contains(&asked.station_id) {
            script.stranger(Addressee::StationNeverOurs)
        } else if !script.ours.contains(&asked.institution) {
            script.stranger(Addressee::InstitutionNeverOurs)
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
        let mut script = self.0.script();
        script.readbacks.push(request.into_inner());
        Ok(Response::new(RecordReadbackResponse { waiting: script.waiting }))
    }
}

#[tonic::async_trait]
impl Notices for Fake {
    async fn verify_many(&self, request: Request<VerifyManyRequest>) -> Result<Response<VerifyManyResponse>, Status> {
        let notices = request.into_inner().notices;
        self.0.rule((1..=64).contains(&notices.len()), "1 to 64 notices")?;
        self.0.script().verified.push(notices.clone());
        for notice in &notices {
            self.check_notice(notice)?;
        }
        self.obey(|script| &mut script.notices).await?;
        let script = self.0.script();
        Ok(Response::new(VerifyManyResponse { replies: notices.iter().map(|notice| script.verify(notice)).collect() }))
    }

    async fn activate_many(
        &self,
        request: Request<ActivateManyRequest>,
    ) -> Result<Response<ActivateManyResponse>, Status> {
        let activations = request.into_inner().activations;
        self.0.rule((1..=64).contains(&activations.len()), "1 to 64 activations")?;
        self.0.script().activated.extend(activations.iter().cloned());
        for activation in &activations {
            self.0.rule(activation.notice.is_some(), "an activation has its notice")?;
            self.check_notice(activation.notice.as_ref().unwrap())?;
        }
        self.obey(|script| &mut script.notices).await?;
        let script = self.0.script();
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
        self.0.rule((1..=256).contains(&receipts.len()), "1 to 256 receipts")?;
        self.0.script().batches.push(receipts.len());
        for receipt in &receipts {
            self.check_receipt(receipt)?;
        }
        self.obey(|script| &mut script.applying).await?;
        if receipts.iter().any(|receipt| self.0.script().slow.contains(&receipt.receipt_id)) {
            std::future::pending::<()>().await;
        }
        let mut script = self.0.script();
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
