-- What creating positions commits, 32 at a time.
begin;
insert into client_reference (institution_id, client, reference, request_hash, position_id)
select institution_id, 'limit', nextval('bench_nav')::text, sha256(nav::bytea), gen_random_uuid()
from bench_notice where n between :a and :a + 31;
insert into debt_position (institution_id, id, client, client_reference, service_code, description, debtor_code, options, created_at)
select institution_id, gen_random_uuid(), 'limit', nav, 'TARI', 'TARI 2026', 'RSSMRA80A01H501U', '["Unica rata"]', now()
from bench_notice where n between :a and :a + 31;
insert into notice (institution_id, nav, position_id, option_no, instalment_no, state, version, amount_cents, due_date, issued_on,
    expiry_policy, description, service_code, account, debtor, transfers)
select o.institution_id, '9' || lpad(nextval('bench_nav')::text, 17, '0'), gen_random_uuid(), option_no, instalment_no, state, version,
    amount_cents, due_date, issued_on, expiry_policy, description, service_code, account, debtor, transfers
from bench_notice b join notice o using (institution_id, nav) where n between :a and :a + 31;
commit;
