//! What a database that went back in time must not answer: that something is payable which was paid meanwhile.
//!
//! Until node-connectors have sent their receipts again, verify, activation and the portal's page are answered as if the database were
//! away. Two things see to it: a connection is not taken into use where the store was not looked at yet, and this process stops when it is
//! told. Neither costs a statement on the way of a verify.

use fiorino_proto::notices::v1::{
    ActivateManyRequest, ActivateManyResponse, ShowNoticeRequest, ShowNoticeResponse, VerifyManyRequest,
    VerifyManyResponse, display_server, notices_server,
};
use sqlx::PgConnection;
use tonic::{Request, Response, Status};

use super::Witness;

/// Answers only where the store lacks no receipt.
#[derive(Debug)]
pub struct Gated<T> {
    inner: T,
    witness: Witness,
}

// === impl Gated ===

impl<T> Gated<T> {
    /// `inner`, while `witness` says that the store is whole.
    pub fn new(inner: T, witness: Witness) -> Self {
        Self { inner, witness }
    }

    fn whole(&self) -> Result<&T, Status> {
        if self.witness.serves() {
            return Ok(&self.inner);
        }
        Err(Status::unavailable("the database may lack receipts: they are being sent again"))
    }
}

#[tonic::async_trait]
impl<T: notices_server::Notices> notices_server::Notices for Gated<T> {
    async fn verify_many(&self, request: Request<VerifyManyRequest>) -> Result<Response<VerifyManyResponse>, Status> {
        self.whole()?.verify_many(request).await
    }

    async fn activate_many(
        &self,
        request: Request<ActivateManyRequest>,
    ) -> Result<Response<ActivateManyResponse>, Status> {
        self.whole()?.activate_many(request).await
    }
}

#[tonic::async_trait]
impl<T: display_server::Display> display_server::Display for Gated<T> {
    async fn show_notice(&self, request: Request<ShowNoticeRequest>) -> Result<Response<ShowNoticeResponse>, Status> {
        self.whole()?.show_notice(request).await
    }
}

/// Refuses a new connection of those who answer the node: the server is another one than the store was last seen on, or receipts are
/// missing. Whoever asks waits, and is told that the database is away.
///
/// # Errors
/// What the database says, and the refusal.
pub(crate) async fn guard(connection: &mut PgConnection) -> sqlx::Result<()> {
    let whole: bool = sqlx::query_scalar(
        "select o.system_identifier = s.system_identifier and o.timeline = s.timeline and store_lacks_nothing(o)
         from store_origin o cross join server_identity() s order by o.id desc limit 1",
    )
    .fetch_one(connection)
    .await?;
    if whole {
        Ok(())
    } else {
        Err(sqlx::Error::Protocol("the store was not looked at yet, or lacks receipts".to_owned()))
    }
}
