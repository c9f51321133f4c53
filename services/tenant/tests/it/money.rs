//! The money path in this process, without the mesh: services on a database of their own, an applied institution, a clock that is
//! moved by hand.

use std::{sync::Arc, time::Duration};

use fiorino_kit::{
    clock::{Clock, ManualClock},
    outbox::Waker,
    rpc,
};
use fiorino_proto::{
    config::v1::{
        AcquireFenceRequest, ApplyBundleRequest, ApplyResult, Beneficiary, config_apply_server::ConfigApply as _,
    },
    notices::v1::{
        ActivateManyRequest, Activation, NoticeRef, PayableNotice, Refusal, TransferType, VerifyManyRequest,
        activate_reply, notices_server::Notices as _, verify_reply,
    },
    positions::v1::{
        CreatePositionRequest, CreatePositionResponse, Debtor, GetPositionRequest, Instalment, InstalmentState,
        NewInstalment, NewOption, NewPosition, PersonKind, Position, get_position_request::By,
        positions_server::Positions as _,
    },
    receipts::v1::{ApplyOutcome, ApplyReceiptsRequest, Receipt, receipts_server::Receipts as _},
};
use fiorino_tenant::{
    Context, Environment, MIGRATIONS, Pools,
    configuration::{Apply, Wake},
    notices::{Display, Notices},
    positions::Positions,
    receipts::Receipts,
};
use fiorino_test_support::{Parts, TestDatabase};
use sqlx::{AssertSqlSafe, PgPool};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use crate::{
    fixture::{ENVIRONMENT, PLATFORM},
    manifest::{Manifest, STATION, service},
};

/// The clock's time when a test begins: 11:00 in Rome.
pub(crate) const START: &str = "2026-11-24T10:00:00Z";

/// Who calls, unless a test says otherwise.
pub(crate) const CLIENT: &str = "software-house";

/// The service that positions are created for: 5 % go to the province.
pub(crate) const SERVICE: &str = "TARI";

pub(crate) struct Money {
    pub(crate) database: TestDatabase,
    pub(crate) time: ManualClock,
    pub(crate) manifest: Manifest,
    /// Another institution, which receives shares.
    pub(crate) province: Manifest,
    pub(crate) replica: Replica,
    clock: Clock,
    apply: Apply,
    fence: i64,
}

/// The services of one process.
pub(crate) struct Replica {
    pub(crate) positions: Positions,
    pub(crate) notices: Notices,
    pub(crate) display: Display,
    pub(crate) receipts: Receipts,
}

// === impl Money ===

impl Money {
    /// An institution with [`SERVICE`].
    pub(crate) async fn start() -> Self {
        let mut manifest = Manifest::new();
        let province = Manifest::province();
        let share = Beneficiary {
            fiscal_code: province.fiscal_code().into(),
            legal_name: "Provincia".into(),
            share_basis_points: 500,
            account: "tefa".into(),
            taxonomy_code: "9/0201102IM/".into(),
        };
        let mut tari = service(SERVICE, "tesoreria");
        tari.taxonomy_code = "9/0101101IM/".into();
        tari.beneficiaries = vec![share];
        manifest.services = vec![tari];
        Self::with_province(manifest, province).await
    }

    /// This institution.
    pub(crate) async fn with(manifest: Manifest) -> Self {
        Self::with_province(manifest, Manifest::province()).await
    }

    async fn with_province(manifest: Manifest, province: Manifest) -> Self {
        let database = Parts::get().migrated("tenant", &MIGRATIONS).await.unwrap();
        let (clock, time) = Clock::manual(START.parse().unwrap());
        let pool = database.pool.clone();
        let shared = || pool.clone();
        let pools = Pools {
            verify: shared(),
            receipts: shared(),
            batch: shared(),
            config: shared(),
            stream: shared(),
            relay: shared(),
            display: shared(),
        };
        let context = Context {
            platform: PLATFORM.into(),
            environment: Environment::Uat,
            clock: clock.clone(),
            pools,
            changing: Arc::default(),
        };
        let apply = Apply::new(context, Wake::default(), Vec::new(), CancellationToken::new());
        let lease = AcquireFenceRequest { lease_uid: "lease".into(), lease_transitions: 1, platform: PLATFORM.into() };
        let fence = apply.acquire_fence(Request::new(lease)).await.unwrap().into_inner().fence;
        let replica = Replica::on(&pool, &clock);
        let money = Self { database, time, manifest, province, replica, clock, apply, fence };
        money.applied(&money.manifest).await;
        money.applied(&money.province).await;
        money
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.database.pool
    }

    /// Another process on the same database.
    pub(crate) fn another(&self) -> Replica {
        Replica::on(self.pool(), &self.clock)
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock.clone()
    }

    pub(crate) fn institution(&self) -> &str {
        self.manifest.fiscal_code()
    }

    pub(crate) async fn institution_id(&self) -> i32 {
        let statement = "select institution_id from institution where fiscal_code = $1";
        sqlx::query_scalar(statement).bind(self.institution()).fetch_one(self.pool()).await.unwrap()
    }

    /// Applies a manifest of which nothing is refused.
    pub(crate) async fn applied(&self, manifest: &Manifest) {
        let request = ApplyBundleRequest { fence: self.fence, ..manifest.bundle() };
        let response = self.apply.apply_bundle(Request::new(request)).await.unwrap().into_inner();
        for outcome in &response.outcomes {
            assert!(matches!(outcome.result(), ApplyResult::Applied | ApplyResult::Unchanged), "{outcome:?}");
        }
    }

    /// Changes the manifest and applies it.
    pub(crate) async fn reconfigure(&mut self, change: impl FnOnce(&mut Manifest)) {
        change(&mut self.manifest);
        self.manifest.generation += 1;
        self.applied(&self.manifest).await;
    }

    /// Changes the province's manifest and applies it.
    pub(crate) async fn reconfigure_province(&mut self, change: impl FnOnce(&mut Manifest)) {
        change(&mut self.province);
        self.province.generation += 1;
        self.applied(&self.province).await;
    }

    pub(crate) fn advance(&self, minutes: u64) {
        self.time.advance(Duration::from_secs(60 * minutes));
    }

    /// Creates a position that nothing stands against.
    pub(crate) async fn create(&self, new: NewPosition) -> Position {
        let response = self.replica.create(self.institution(), CLIENT, new).await.unwrap();
        assert!(!response.replayed);
        response.position.unwrap()
    }

    pub(crate) async fn get(&self, by: By) -> Result<Position, Status> {
        let request = GetPositionRequest { institution: self.institution().into(), by: Some(by) };
        let response = self.replica.positions.get_position(called(CLIENT, request)).await?;
        Ok(response.into_inner().position.unwrap())
    }

    /// The position as it is now.
    pub(crate) async fn again(&self, position: &Position) -> Position {
        self.get(By::PositionId(position.position_id.clone())).await.unwrap()
    }

    /// States of its instalments, in order.
    pub(crate) async fn states(&self, position: &Position) -> Vec<InstalmentState> {
        let position = self.again(position).await;
        position.options.iter().flat_map(|option| &option.instalments).map(Instalment::state).collect()
    }

    pub(crate) fn notice(&self, number: &str) -> NoticeRef {
        NoticeRef { institution: self.institution().into(), notice_number: number.into(), station_id: STATION.into() }
    }

    pub(crate) async fn verify(&self, number: &str) -> Result<PayableNotice, Refusal> {
        self.replica.verify(vec![self.notice(number)]).await.remove(0)
    }

    pub(crate) async fn activate(&self, number: &str) -> activate_reply::Reply {
        self.replica.activate(self.notice(number), TransferType::Unspecified).await
    }

    /// A receipt of this notice as the inbox would pass it on.
    pub(crate) fn receipt(&self, receipt_id: &str, number: &str, amount_cents: i64) -> Receipt {
        Receipt {
            institution: self.institution().into(),
            issuer: self.institution().into(),
            receipt_id: receipt_id.into(),
            notice_number: number.into(),
            iuv: number.get(1..).unwrap_or_default().into(),
            version: 1,
            content_hash: receipt_id.as_bytes().to_vec().into(),
            station_id: STATION.into(),
            amount_cents,
            description: "TARI 2026".into(),
            psp_id: "ABI00000".into(),
            psp_name: "Banca".into(),
            channel_id: "97735020584_03".into(),
            fee_cents: -1,
            paid_at: "2026-11-24T10:05:00Z".into(),
            received_at: self.clock.now().to_string(),
            outcome: "OK".into(),
            ..Receipt::default()
        }
    }

    pub(crate) async fn pay(&self, receipts: Vec<Receipt>) -> Vec<ApplyOutcome> {
        self.replica.pay(receipts).await.unwrap()
    }

    /// (kind, key) of every case, in their order.
    pub(crate) async fn cases(&self) -> Vec<(String, String)> {
        sqlx::query_as("select kind, key from cases order by kind, key").fetch_all(self.pool()).await.unwrap()
    }

    pub(crate) async fn count(&self, table: &str) -> i64 {
        count(self.pool(), table).await
    }
}

// === impl Replica ===

impl Replica {
    pub(crate) fn on(pool: &PgPool, clock: &Clock) -> Self {
        let environment = ENVIRONMENT.to_owned();
        Self {
            positions: Positions::new(pool.clone(), environment.clone(), clock.clone()),
            notices: Notices::new(pool.clone(), environment.clone(), clock.clone()),
            display: Display::new(pool.clone(), environment.clone(), clock.clone()),
            receipts: Receipts::new(pool.clone(), environment, clock.clone(), Waker::default()),
        }
    }

    pub(crate) async fn create(
        &self,
        institution: &str,
        client: &str,
        new: NewPosition,
    ) -> Result<CreatePositionResponse, Status> {
        let request = CreatePositionRequest { institution: institution.into(), position: Some(new) };
        self.positions.create_position(called(client, request)).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn verify(&self, notices: Vec<NoticeRef>) -> Vec<Result<PayableNotice, Refusal>> {
        let asked = notices.len();
        let request = Request::new(VerifyManyRequest { notices });
        let replies = self.notices.verify_many(request).await.unwrap().into_inner().replies;
        assert_eq!(replies.len(), asked);
        let answer = |reply: verify_reply::Reply| match reply {
            verify_reply::Reply::Payable(notice) => Ok(notice),
            verify_reply::Reply::Refusal(refusal) => Err(Refusal::try_from(refusal).unwrap()),
        };
        replies.into_iter().map(|reply| answer(reply.reply.unwrap())).collect()
    }

    pub(crate) async fn activate(&self, notice: NoticeRef, transfer_type: TransferType) -> activate_reply::Reply {
        let activation =
            Activation { notice: Some(notice), transfer_type: transfer_type.into(), ..Activation::default() };
        let request = called("node-connector", ActivateManyRequest { activations: vec![activation] });
        self.notices.activate_many(request).await.unwrap().into_inner().replies.remove(0).reply.unwrap()
    }

    pub(crate) async fn pay(&self, receipts: Vec<Receipt>) -> Result<Vec<ApplyOutcome>, Status> {
        let request = called("node-connector", ApplyReceiptsRequest { receipts });
        let response = self.receipts.apply_receipts(request).await?.into_inner();
        Ok(response.outcomes().collect())
    }
}

/// A request on behalf of somebody.
pub(crate) fn called<T>(actor: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(rpc::ACTOR, actor.parse().unwrap());
    request
}

/// A position with one option per element, and an instalment of so many cents per element of that.
pub(crate) fn position(client_reference: &str, options: &[&[i64]]) -> NewPosition {
    let instalment = |cents: &i64| NewInstalment {
        amount_cents: *cents,
        description: "TARI 2026".into(),
        ..NewInstalment::default()
    };
    let option = |amounts: &&[i64]| NewOption {
        description: format!("in {}", amounts.len()),
        instalments: amounts.iter().map(instalment).collect(),
    };
    NewPosition {
        client_reference: client_reference.into(),
        service_code: SERVICE.into(),
        description: "TARI 2026".into(),
        debtor: Some(Debtor {
            kind: PersonKind::Natural.into(),
            fiscal_code: "RSSMRA80A01H501U".into(),
            full_name: "Maria Rossi".into(),
            city: "Roma".into(),
            ..Debtor::default()
        }),
        options: options.iter().map(option).collect(),
        ..NewPosition::default()
    }
}

/// The position's notice numbers, in order.
pub(crate) fn numbers(position: &Position) -> Vec<String> {
    position
        .options
        .iter()
        .flat_map(|option| &option.instalments)
        .map(|instalment| instalment.notice_number.clone())
        .collect()
}

pub(crate) async fn count(pool: &PgPool, table: &str) -> i64 {
    let statement = format!("select count(*) from {table}");
    sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(pool).await.unwrap()
}
