-- What an activation reads and commits, 32 at a time; writes.rs puts in the product's statements that hold and read the notices.
begin;
-- hold
-- read
insert into activation (institution_id, nav, activated_at, station_id, amount_cents, requested_cents, transfer_type, payment_note,
    transfers, notice_version, config_seq, recorded_by)
select institution_id, nav, clock_timestamp(), '15376371009_01', 12000, 12000, 0, '',
    '[{"id": 1, "cents": 12000, "beneficiary": "80000000001", "iban": "IT60X0542811101000000123456"}]', 1, 1, 'limit'
from bench_notice where n between :a and :a + 31;
commit;
