-- What a receipt breaks, and the same payment told by both versions of the message.
alter table receipt_inbox
    -- "<field> <rule>" each, never a value; null: it breaks nothing, or a version wrote the row that did not tell
    add column violations text[],
    -- the same payment by the other version of the message (paSendRT beside paSendRTV2): its content_hash, and the SHA-256 of its body
    add column twin_hash bytea,
    add column twin_sha256 bytea;
-- Not looked at in the rows that are there: none has them, and receipts are taken in meanwhile.
alter table receipt_inbox
    add constraint receipt_inbox_twin_hash_check check (octet_length(twin_hash) = 32) not valid,
    add constraint receipt_inbox_twin_sha256_check check (octet_length(twin_sha256) = 32) not valid;
