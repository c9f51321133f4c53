-- A receipt that comes again byte by byte is counted at its row: only what differs is kept again in receipt_message.
alter table receipt_inbox
    -- SHA-256 over the body of the raw message; null: written by a version that kept every repetition
    add column body_sha256 bytea,
    -- about how often it came again and was not kept: for people, nothing depends on it
    add column repeated bigint not null default 0,
    add column last_repeated_at timestamptz;
-- Not looked at in the rows that are there: none has it, and receipts are taken in meanwhile.
alter table receipt_inbox
    add constraint receipt_inbox_body_sha256_check check (octet_length(body_sha256) = 32) not valid;
