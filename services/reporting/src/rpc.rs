//! Payments over gRPC.

use fiorino_config_client::Handle;
use fiorino_domain::institution::InstitutionCode;
use fiorino_kit::rpc::Allow;
use fiorino_proto::payments::v1::{
    GetPaymentRequest, GetPaymentResponse, ListNumbersRequest, ListNumbersResponse, ListPaymentsRequest,
    ListPaymentsResponse, PaidNumber, payments_server,
};
use sqlx::PgPool;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use crate::{
    configuration::Institutions,
    error::{Error, Result},
    numbers,
    page::{self, List},
    payment::KEY_MAX,
    store,
};

const DEV: &[&str] = &["dev"];

/// Numbers in one page.
const NUMBERS: i64 = 1_000;

/// Methods of reporting and their callers (ARCHITECTURE.md 6.2). What is not listed is refused.
pub static ALLOWED: &[Allow] = &[
    Allow { method: "/fiorino.cases.v1.Cases/AssignCase", callers: DEV },
    Allow { method: "/fiorino.cases.v1.Cases/GetCase", callers: DEV },
    Allow { method: "/fiorino.cases.v1.Cases/ListCases", callers: DEV },
    Allow { method: "/fiorino.cases.v1.Cases/NoteCase", callers: DEV },
    Allow { method: "/fiorino.cases.v1.Cases/ResolveCase", callers: DEV },
    Allow { method: "/fiorino.cases.v1.Cases/ResolveCases", callers: DEV },
    Allow { method: "/fiorino.payments.v1.ParkedMessages/RetryParked", callers: DEV },
    Allow { method: "/fiorino.payments.v1.Payments/GetPayment", callers: DEV },
    Allow { method: "/fiorino.payments.v1.Payments/ListNumbers", callers: &["restore"] },
    Allow { method: "/fiorino.payments.v1.Payments/ListPayments", callers: DEV },
];

/// Reads payments.
#[derive(Debug)]
pub(crate) struct Payments {
    pool: PgPool,
    institutions: Handle<Institutions>,
}

// === impl Payments ===

impl Payments {
    pub(crate) fn new(pool: PgPool, institutions: Handle<Institutions>) -> Self {
        Self { pool, institutions }
    }

    async fn get(&self, request: GetPaymentRequest) -> Result<GetPaymentResponse> {
        let institution = institution(&request.institution)?;
        if request.receipt_id.is_empty() {
            return Err(Error::invalid("receipt_id", "must not be empty"));
        }
        let receipt_id = key("receipt_id", &request.receipt_id)?;
        let span = fiorino_kit::store::span("get payment");
        let payment = store::get(&self.pool, &institution, receipt_id).instrument(span).await?;
        let missing =
            Error::NotFound { field: "receipt_id", message: "the institution has no payment with this receipt" };
        Ok(GetPaymentResponse { payment: Some(payment.ok_or(missing)?.into()) })
    }

    async fn list(&self, request: ListPaymentsRequest) -> Result<ListPaymentsResponse> {
        let institution = institution(&request.institution)?;
        let list = List { institution: &institution, notice_number: key("notice_number", &request.notice_number)? };
        let after = list.after(&request.page_token)?;
        let size = page::size(request.page_size)?;
        let span = fiorino_kit::store::span("list payments");
        // One more than asked tells whether there is a next page.
        let reading = store::list(&self.pool, &institution, list.notice_number, after, i64::from(size) + 1);
        let mut rows = reading.instrument(span).await?;
        if rows.is_empty() && after == 0 && self.never_heard_of(&institution) {
            let message = "the institution is not served here: check its fiscal code";
            return Err(Error::NotFound { field: "institution", message });
        }
        let more = rows.len() > size as usize;
        rows.truncate(size as usize);
        let next_page_token = match rows.last() {
            Some((sequence, _)) if more => list.token(*sequence),
            _ => String::new(),
        };
        let payments = rows.into_iter().map(|(_, payment)| payment.into()).collect();
        Ok(ListPaymentsResponse { payments, next_page_token })
    }

    async fn numbers(&self, request: &ListNumbersRequest) -> Result<ListNumbersResponse> {
        let (institution, receipt_id) = match request.page_token.as_str() {
            "" => ("", ""),
            token => token
                .split_once('/')
                .ok_or_else(|| Error::invalid("page_token", "not the next_page_token of a call"))?,
        };
        let after = (key("page_token", institution)?, key("page_token", receipt_id)?);
        let reading = numbers::numbers(&self.pool, after, NUMBERS);
        let page = reading.instrument(fiorino_kit::store::span("list paid numbers")).await?;
        let full = i64::try_from(page.len()) == Ok(NUMBERS);
        let last = page.last().filter(|_| full);
        let next_page_token = last.map(|paid| format!("{}/{}", paid.institution, paid.receipt_id)).unwrap_or_default();
        let numbers = page.into_iter();
        let numbers =
            numbers.map(|paid| PaidNumber { issuer: paid.issuer, notice_number: paid.notice_number }).collect();
        Ok(ListNumbersResponse { numbers, next_page_token })
    }

    /// Without a whole configuration nobody can say.
    fn never_heard_of(&self, institution: &InstitutionCode) -> bool {
        self.institutions.is_whole() && !self.institutions.current().contains(institution)
    }
}

#[tonic::async_trait]
impl payments_server::Payments for Payments {
    async fn get_payment(&self, request: Request<GetPaymentRequest>) -> Result<Response<GetPaymentResponse>, Status> {
        Ok(self.get(request.into_inner()).await.map(Response::new)?)
    }

    async fn list_numbers(
        &self,
        request: Request<ListNumbersRequest>,
    ) -> Result<Response<ListNumbersResponse>, Status> {
        Ok(self.numbers(request.get_ref()).await.map(Response::new)?)
    }

    async fn list_payments(
        &self,
        request: Request<ListPaymentsRequest>,
    ) -> Result<Response<ListPaymentsResponse>, Status> {
        Ok(self.list(request.into_inner()).await.map(Response::new)?)
    }
}

fn institution(code: &str) -> Result<InstitutionCode> {
    InstitutionCode::parse(code).map_err(|error| Error::invalid("institution", error.to_string()))
}

/// PostgreSQL refuses U+0000 in a text, and what is too long exists nowhere.
fn key<'a>(field: &'static str, text: &'a str) -> Result<&'a str> {
    if text.len() > KEY_MAX || text.contains('\0') {
        return Err(Error::invalid(field, format!("at most {KEY_MAX} bytes, without U+0000")));
    }
    Ok(text)
}
