-- What receiving receipts commits, 32 at a time.
with input as (
    select '80000000001' as id_pa, gen_random_uuid() as id, clock_timestamp() as received_at, n,
        convert_to(repeat('limit of this machine ', 90), 'utf8') as body
    from generate_series(1, 32) n
), message as (
    insert into receipt_message (id_pa, received_at, id, peer, request_id, path_station, charset, body)
    select id_pa, received_at, id, 'limit', id::text, '15376371009_01', 'utf-8', body
    from input
)
insert into receipt_inbox
    (id_pa, receipt_id, version, content_hash, state, answered, shard, findings, traceparent, received_at, message_id, applied_at, body_sha256)
select id_pa, id::text, 1, sha256(id::text::bytea), 'applied', true, 1, array[]::text[], null, received_at, id, now(), sha256(body) from input;
