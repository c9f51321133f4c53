//! Query plans on tables of real size: the hot path reads by key, however much is stored.

use std::{cell::RefCell, fmt, sync::Once};

use fiorino_proto::{
    positions::v1::{CreatePositionsRequest, NewTransfer, create_outcome::Outcome, positions_server::Positions as _},
    receipts::v1::ApplyOutcome,
};
use fiorino_tenant::{
    notices::{ACTIVATE_STATEMENT, DISPLAY_STATEMENT, VERIFY_STATEMENT},
    receipts::LOADED_STATEMENT,
};
use fiorino_test_support::eventually;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer, Registry,
    layer::{Context, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

use crate::{
    fixture::PATIENCE,
    manifest::STATION,
    money::{CLIENT, Money, called, numbers, position},
};

/// 100,000 notices of the institution, 1,500 other institutions with their accounts and services.
async fn filled(money: &Money) -> Vec<String> {
    let made = numbers(&money.create(position("one", &[&[10_000]])).await);
    let id = money.institution_id().await;
    let fill = format!("
        insert into notice (institution_id, nav, position_id, option_no, instalment_no, state, version, amount_cents, due_date, issued_on,
               expiry_policy, description, service_code, account, debtor, transfers)
        select institution_id, '399' || lpad(n::text, 15, '0'), gen_random_uuid(), 1, 1, state, 1, amount_cents, due_date, issued_on,
               expiry_policy, description, service_code, account, debtor, transfers
        from notice, generate_series(1, 100000) n;
        insert into institution (environment, fiscal_code, platform, uid, namespace, name, legal_name, office_name, phase, config_seq, status_seq)
        select 'Uat', lpad(n::text, 11, '0'), platform, n::text, n::text, n::text, legal_name, office_name, phase, 0, 0
        from institution, generate_series(1, 1500) n where institution_id = {id};
        insert into association (institution_id, station_id, aux_digit, code, nav_prefix, issuing, broadcast)
        select i.institution_id, a.station_id, a.aux_digit, a.code, a.nav_prefix, a.issuing, a.broadcast
        from association a, institution i where a.institution_id = {id} and i.institution_id <> {id};
        insert into account (institution_id, name, uid, holder, config_seq)
        select i.institution_id, a.name, i.institution_id::text, a.holder, 0
        from account a, institution i where a.institution_id = {id} and i.institution_id <> {id};
        insert into account_number (institution_id, account, valid_from, iban, postal, withdrawn, first)
        select i.institution_id, a.account, a.valid_from, a.iban, a.postal, a.withdrawn, a.first
        from account_number a, institution i where a.institution_id = {id} and i.institution_id <> {id};
        insert into payment_service (institution_id, code, uid, title, taxonomy_code, account, expiry_policy, active, minimum_cents,
               maximum_cents, beneficiaries, profile_revision, config_seq)
        select i.institution_id, s.code || n, s.uid, s.title, s.taxonomy_code, s.account, s.expiry_policy, s.active, s.minimum_cents,
               s.maximum_cents, s.beneficiaries, s.profile_revision, 0
        from payment_service s, institution i, generate_series(1, 10) n where s.institution_id = {id} and i.institution_id <> {id};
        analyze");
    sqlx::raw_sql(AssertSqlSafe(fill)).execute(money.pool()).await.unwrap();
    made
}

/// The plan of a prepared statement as it is after its first executions (generic) or before (custom).
async fn plan(connection: &mut PgConnection, mode: &str, types: &str, statement: &str, arguments: &str) -> Value {
    let prepare = format!("set plan_cache_mode = {mode}; deallocate all; prepare asked ({types}) as {statement}");
    sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut *connection).await.unwrap();
    let explain = format!("explain (analyze, buffers, format json) execute asked ({arguments})");
    let rows = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_one(connection).await.unwrap();
    let plan: Value = sqlx::Row::get(&rows, 0);
    plan[0]["Plan"].clone()
}

/// Every node of a plan: type, relation, index.
fn nodes(plan: &Value) -> Vec<(String, String, String)> {
    let text = |key: &str| plan[key].as_str().unwrap_or_default().to_owned();
    let mut found = vec![(text("Node Type"), text("Relation Name"), text("Index Name"))];
    for child in plan["Plans"].as_array().into_iter().flatten() {
        found.extend(nodes(child));
    }
    found
}

fn verify_arguments(money: &Money, number: &str) -> String {
    let many = |text: &str| format!("array[{}]", vec![format!("'{text}'"); 64].join(","));
    format!("'Uat', {}, {}, {}, '2026-11-24'", many(money.institution()), many(number), many(STATION))
}

#[tokio::test]
async fn verify_reads_by_key_alone() {
    let money = Money::start().await;
    let number = filled(&money).await.remove(0);
    let mut connection = PgConnection::connect(&money.database.url).await.unwrap();
    let types = "text, text[], text[], text[], date";
    for mode in ["force_generic_plan", "force_custom_plan"] {
        let plan = plan(&mut connection, mode, types, VERIFY_STATEMENT, &verify_arguments(&money, &number)).await;
        let nodes = nodes(&plan);
        let scans: Vec<_> = nodes.iter().filter(|(node, ..)| node == "Seq Scan").collect();
        assert!(scans.is_empty(), "{mode}: {scans:?} in {plan:#}");
        for index in ["notice_pkey", "institution_identity"] {
            assert!(nodes.iter().any(|(.., name)| name == index), "{mode}: no {index} in {plan:#}");
        }
        assert!(nodes.iter().all(|(node, ..)| node != "LockRows"), "{mode}: {plan:#}");
        let account = "(account = n.account) AND (valid_from <= $5))";
        let custom = account.replace("$5", "'2026-11-24'::date");
        let conditions = plan.to_string();
        assert!(conditions.contains(account) || conditions.contains(&custom), "{mode}: {plan:#}");
        assert_eq!(plan["Actual Rows"], 64);
    }
}

/// An activation reads the postal account beside each account too, by key.
#[tokio::test]
async fn activate_reads_by_key_alone() {
    let money = Money::start().await;
    let number = filled(&money).await.remove(0);
    let beside = "insert into account (institution_id, name, uid, holder, config_seq)
            select institution_id, 'posta', uid || '/posta', holder, 0 from account where name = 'tesoreria';
        insert into account_number (institution_id, account, valid_from, iban, postal, withdrawn, first)
            select institution_id, 'posta', valid_from, 'IT26A0760103200001012345678', true, false, true
            from account_number where account = 'tesoreria';
        update account set postal_account = 'posta' where name = 'tesoreria'; analyze";
    sqlx::raw_sql(beside).execute(money.pool()).await.unwrap();
    let mut connection = PgConnection::connect(&money.database.url).await.unwrap();
    let types = "text, text[], text[], text[], date";
    for mode in ["force_generic_plan", "force_custom_plan"] {
        let plan = plan(&mut connection, mode, types, ACTIVATE_STATEMENT, &verify_arguments(&money, &number)).await;
        let nodes = nodes(&plan);
        assert!(nodes.iter().all(|(node, ..)| node != "Seq Scan" && node != "LockRows"), "{mode}: {plan:#}");
        for index in ["notice_pkey", "institution_identity", "account_pkey"] {
            assert!(nodes.iter().any(|(.., name)| name == index), "{mode}: no {index} in {plan:#}");
        }
        assert_eq!(plan["Actual Rows"], 64);
    }
}

/// What a visitor asks for is read by key too, the latest attempt included.
#[tokio::test]
async fn display_reads_by_key_alone() {
    let money = Money::start().await;
    let number = filled(&money).await.remove(0);
    money.activate(&number).await;
    let many = "insert into activation (institution_id, nav, activated_at, station_id, amount_cents, requested_cents, transfer_type,
            payment_note, transfers, notice_version, config_seq, recorded_by)
        select n.institution_id, n.nav, a.activated_at - s * interval '1 second', a.station_id, a.amount_cents, a.requested_cents,
            a.transfer_type, a.payment_note, a.transfers, a.notice_version, a.config_seq, a.recorded_by
        from activation a, generate_series(1, 5) s, notice n where n.nav < '399000000000010000'; analyze activation";
    sqlx::raw_sql(many).execute(money.pool()).await.unwrap();
    let mut connection = PgConnection::connect(&money.database.url).await.unwrap();
    let arguments = format!("'Uat', array['{}'], array['{number}'], array[''], '2026-11-24'", money.institution());
    for mode in ["force_generic_plan", "force_custom_plan"] {
        let types = "text, text[], text[], text[], date";
        let plan = plan(&mut connection, mode, types, DISPLAY_STATEMENT, &arguments).await;
        let nodes = nodes(&plan);
        assert!(nodes.iter().all(|(node, ..)| node != "Seq Scan" && node != "LockRows"), "{mode}: {plan:#}");
        for index in ["notice_pkey", "institution_identity", "activation_pkey"] {
            assert!(nodes.iter().any(|(.., name)| name == index), "{mode}: no {index} in {plan:#}");
        }
        assert_eq!(plan["Actual Rows"], 1);
    }
}

/// Somebody who asks for one notice for ever makes it dearer for nobody (ARCHITECTURE.md 4.3).
#[tokio::test]
async fn stored_attempts_cost_nothing() {
    let money = Money::start().await;
    let number = filled(&money).await.remove(0);
    money.activate(&number).await;
    let mut connection = PgConnection::connect(&money.database.url).await.unwrap();
    let institution_id = money.institution_id().await;
    let latest = "select a.activated_at from activation a where a.institution_id = $1 and a.nav = $2 order by a.activated_at desc limit 1";
    let arguments = format!("{institution_id}, '{number}'");
    let verify = verify_arguments(&money, &number);
    let buffers =
        |plan: &Value| plan["Shared Hit Blocks"].as_u64().unwrap() + plan["Shared Read Blocks"].as_u64().unwrap();
    let mut measure = async || {
        let types = "text, text[], text[], text[], date";
        let verified = plan(&mut connection, "force_generic_plan", types, VERIFY_STATEMENT, &verify).await;
        let attempts = plan(&mut connection, "force_generic_plan", "int4, text", latest, &arguments).await;
        (buffers(&verified), buffers(&attempts))
    };
    let (verify_before, latest_before) = measure().await;
    let many = "insert into activation (institution_id, nav, activated_at, station_id, amount_cents, requested_cents, transfer_type,
            payment_note, transfers, notice_version, config_seq, recorded_by)
        select institution_id, nav, activated_at - n * interval '1 second', station_id, amount_cents, requested_cents, transfer_type,
            payment_note, transfers, notice_version, config_seq, recorded_by
        from (
            select institution_id, nav, activated_at, station_id, amount_cents, requested_cents, transfer_type, payment_note, transfers,
                notice_version, config_seq, recorded_by
            from activation limit 1
        ) one, generate_series(1, 50000) n; analyze activation";
    sqlx::raw_sql(many).execute(money.pool()).await.unwrap();
    let (verify_after, latest_after) = measure().await;
    assert!(verify_after <= verify_before + 4, "verify: {verify_before} blocks before, {verify_after} after");
    assert!(latest_after <= latest_before + 4, "latest attempt: {latest_before} blocks before, {latest_after} after");
    assert!(money.verify(&number).await.is_ok());
}

/// Tells what sqlx runs to the test that asks, by thread: each test has one of its own for everything it does.
struct Statements;

thread_local! {
    static RUN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// The texts of an event.
struct Texts(String);

impl Visit for Texts {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "summary" || field.name() == "db.statement" {
            self.0 = format!("{}{value:?}", self.0);
        }
    }
}

impl<S: Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            let mut texts = Texts(String::new());
            event.record(&mut texts);
            RUN.with_borrow_mut(|run| run.push(texts.0));
        }
    }
}

/// The statements of `work`.
async fn statements<T>(work: impl Future<Output = T>) -> (T, Vec<String>) {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| Registry::default().with(Statements).init());
    RUN.take();
    (work.await, RUN.take())
}

/// However many notices are asked for.
#[tokio::test]
async fn a_batch_of_verifies_is_one_statement() {
    let money = Money::start().await;
    let amounts = [10_000; 63];
    let mut asked = numbers(&money.create(position("many", &[&amounts])).await);
    asked.push("312000000000471179".to_owned());
    // The first call is recorded once, afterwards.
    money.verify(&asked[0]).await.unwrap();
    eventually(PATIENCE, async || match money.count("institution where node_connected_at is not null").await {
        1 => Ok(()),
        _ => Err("not connected yet"),
    })
    .await
    .unwrap();
    let notices: Vec<_> = asked.iter().map(|number| money.notice(number)).collect();
    let (answers, mut statements) = statements(money.replica.verify(notices)).await;
    statements.retain(|statement| !statement.contains("COMMIT")); // of the record
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 63);
    assert_eq!(statements.len(), 1, "{statements:#?}");
    assert!(statements[0].contains("notice"), "{statements:#?}");
}

/// What few receipts ask for, other versions and associations, costs the others nothing; the attempt before is one read for the batch.
#[tokio::test]
async fn an_ordinary_receipt_asks_for_nothing_more() {
    let money = Money::start().await;
    let made = numbers(&money.create(position("p", &[&[100, 200, 300]])).await);
    for number in &made {
        money.activate(number).await;
    }
    let receipts =
        made.iter().zip([100, 200, 300]).map(|(number, cents)| money.receipt(number, number, cents)).collect();
    let (outcomes, statements) = statements(money.pay(receipts)).await;
    assert_eq!(outcomes, [ApplyOutcome::Applied; 3]);
    let of = |words: &str| statements.iter().filter(|statement| statement.contains(words)).count();
    assert_eq!((of("from activation"), of("join receipt r"), of("from association")), (1, 0, 0), "{statements:#?}");
}

/// The accounts that given transfers name are read once for a batch, and not at all without any.
#[tokio::test]
async fn given_transfers_cost_a_batch_one_statement() {
    let money = Money::start().await;
    let made = async |name: &str, given: bool, count: usize| {
        let positions = (0..count).map(|at| {
            let mut new = position(&format!("{name}-{at}"), &[&[10_000]]);
            if given {
                let account = "tesoreria".to_owned();
                let own = NewTransfer { amount_cents: 10_000, account, ..NewTransfer::default() };
                new.options[0].instalments[0].transfers = vec![own];
            }
            new
        });
        let request =
            CreatePositionsRequest { institution: money.institution().into(), positions: positions.collect() };
        let (response, statements) =
            statements(money.replica.positions.create_positions(called(CLIENT, request))).await;
        let outcomes = response.unwrap().into_inner().outcomes;
        assert!(outcomes.iter().all(|it| matches!(it.outcome, Some(Outcome::Created(_)))), "{outcomes:?}");
        statements.len()
    };
    made("warm", false, 1).await;
    let plain = made("plain", false, 20).await;
    // In place of it the numbers of those who share by the service are not looked for.
    assert_eq!((made("one", true, 1).await, made("many", true, 20).await), (plain, plain));
}

/// A change of state writes no index: pages keep room for it.
#[tokio::test]
async fn paying_is_a_heap_only_update() {
    let money = Money::start().await;
    let amounts = [100; 100];
    let created = money.create(position("p", &[&amounts])).await;
    let receipts = numbers(&created)
        .iter()
        .enumerate()
        .map(|(at, number)| money.receipt(&format!("r{at}"), number, 100))
        .collect();
    money.pay(receipts).await;
    let mut connection = PgConnection::connect(&money.database.url).await.unwrap();
    // The statistics of a backend are flushed when it is asked, after its transaction.
    let (updated, hot): (i64, i64) = eventually(PATIENCE, async || {
        let row: (i64, i64) =
            sqlx::query_as("select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relname = 'notice'")
                .fetch_one(&mut connection)
                .await?;
        if row.0 >= 100 { Ok(row) } else { Err(anyhow::anyhow!("{row:?}")) }
    })
    .await
    .unwrap();
    // fillfactor 85 leaves room for one row in six; all hundred change at once here, which is the worst case.
    assert!(hot * 10 >= updated, "{hot} of {updated} updates were heap-only");
}

/// Whoever loads numbers of another system looks by key for receipts that came before them.
#[tokio::test]
async fn loading_reads_receipts_by_number() {
    let money = Money::start().await;
    let number = numbers(&money.create(position("one", &[&[10_000]])).await).remove(0);
    money.pay(vec![money.receipt("r", &number, 10_000)]).await;
    let many = "insert into receipt (institution_id, receipt_id, version, nav, issuer, iuv, amount_cents, outcome, paid_at, received_at,
            applied_at, applied_by, content)
        select institution_id, receipt_id || n, version, '398' || lpad(n::text, 15, '0'), issuer, iuv, amount_cents, outcome, paid_at,
            received_at, applied_at, applied_by, content
        from receipt, generate_series(1, 100000) n; analyze receipt";
    sqlx::raw_sql(many).execute(money.pool()).await.unwrap();
    let mut connection = PgConnection::connect(&money.database.url).await.unwrap();
    let id = money.institution_id().await;
    let mut asked: Vec<_> = (1..1_000).map(|n| format!("'3120{n:014}'")).collect();
    asked.push(format!("'{number}'"));
    let arguments = format!("array_fill({id}, array[1000]), array[{}]", asked.join(", "));
    for mode in ["force_generic_plan", "force_custom_plan"] {
        let plan = plan(&mut connection, mode, "int4[], text[]", LOADED_STATEMENT, &arguments).await;
        let nodes = nodes(&plan);
        assert!(nodes.iter().any(|(.., name)| name == "receipt_nav"), "{mode}: {plan:#}");
        assert_eq!(plan["Actual Rows"], 1, "{mode}: {plan:#}");
    }
}
