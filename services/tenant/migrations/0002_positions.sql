-- Debt positions, their notices, activations, receipts and cases.
--
-- Every key starts with the institution, so that tables can be distributed by it. No foreign keys between these tables: each insert would
-- lock the parent row, and institutions and positions are never deleted here. Identity tables (client_reference, receipt_key, the
-- primary key of notice) are never partitioned by time: what was used once stays used. Codes that join the configuration have its
-- collation: under another one its indexes could not be used.

create table client_reference (
    institution_id integer not null,
    client         text    not null collate "C",
    reference      text    not null collate "C",
    request_hash   bytea   not null,
    position_id    uuid    not null,
    constraint client_reference_pkey primary key (institution_id, client, reference)
);

-- What the instalments of a position share. Its state is a roll-up of theirs and is not stored.
create table debt_position (
    institution_id   integer     not null,
    id               uuid        not null, -- version 7: ordered by creation
    client           text        not null, -- the actor who created it
    client_reference text        not null,
    service_code     text        not null,
    description      text        not null,
    debtor_code      text        not null collate "C",
    options          jsonb       not null, -- descriptions of the options, in order
    created_at       timestamptz not null,
    constraint debt_position_pkey primary key (institution_id, id)
);
create index debt_position_debtor on debt_position (institution_id, debtor_code, id);
create index debt_position_service on debt_position (institution_id, service_code, id);

-- One wide row per instalment: what the node asks for is one read by primary key. No index contains a column that changes, and pages
-- keep room for a second version of a row, so that a change of state touches no index (heap-only tuples).
create table notice (
    institution_id integer  not null,
    nav            text     not null collate "C",
    position_id    uuid     not null,
    option_no      smallint not null,
    instalment_no  smallint not null,
    state          smallint not null, -- proto InstalmentState
    version        bigint   not null,
    amount_cents   bigint   not null check (amount_cents > 0),
    due_date       date,
    issued_on      date     not null, -- Europe/Rome
    expiry_policy  smallint not null, -- proto ExpiryPolicy
    description    text     not null,
    service_code   text     not null,
    account        text     not null, -- the institution's account by name: its number is resolved when it is needed
    debtor         jsonb    not null,
    transfers      jsonb    not null,
    receipt_id     text, -- of the receipt that paid it
    constraint notice_pkey primary key (institution_id, nav)
) with (fillfactor = 85);
create index notice_position on notice (institution_id, position_id);

-- Attempts to pay, each with what was answered. Only appended; read backwards from the newest of a notice.
create table activation (
    institution_id  integer     not null,
    nav             text        not null collate "C",
    activated_at    timestamptz not null,
    id              bigint      not null generated always as identity,
    station_id      text        not null,
    amount_cents    bigint      not null,
    requested_cents bigint      not null, -- as asked by the PSP; 0 = not told
    transfer_type   smallint    not null, -- proto TransferType
    payment_note    text        not null,
    transfers       jsonb       not null, -- with the account numbers resolved
    notice_version  bigint      not null,
    config_seq      bigint      not null,
    recorded_by     text        not null,
    constraint activation_pkey primary key (institution_id, nav, activated_at, id)
);

-- Who changed an open position, and whether he forced it during an attempt to pay.
create table position_change (
    institution_id integer     not null,
    position_id    uuid        not null,
    id             bigint      not null generated always as identity,
    changed_at     timestamptz not null,
    actor          text        not null,
    action         text        not null, -- published, changed, cancelled
    nav            text, -- of one instalment; null = of all
    forced         boolean     not null,
    detail         jsonb       not null,
    constraint position_change_pkey primary key (institution_id, position_id, id)
);

create table receipt_key (
    institution_id integer not null,
    receipt_id     text    not null collate "C",
    version        integer not null,
    content_hash   bytea   not null,
    constraint receipt_key_pkey primary key (institution_id, receipt_id, version)
);

create table receipt (
    institution_id integer     not null, -- of the addressee
    receipt_id     text        not null collate "C",
    version        integer     not null,
    nav            text        not null collate "C",
    issuer         text        not null,
    iuv            text        not null,
    amount_cents   bigint      not null,
    outcome        smallint    not null, -- proto ApplyOutcome
    paid_at        timestamptz, -- null = not told
    received_at    timestamptz not null,
    applied_at     timestamptz not null,
    applied_by     text        not null,
    content        jsonb       not null, -- the rest of what the receipt says
    constraint receipt_pkey primary key (institution_id, receipt_id, version)
);
create index receipt_nav on receipt (institution_id, nav);

-- What a person must look at. institution_id 0 = none of ours.
create table cases (
    institution_id integer     not null,
    kind           text        not null collate "C",
    key            text        not null collate "C", -- natural key within institution and kind: the same finding opens one case
    id             uuid        not null,
    state          smallint    not null default 1 check (state in (1, 2, 3)), -- Open, Assigned, Resolved
    owner          text,
    nav            text,
    receipt_id     text,
    detail         jsonb       not null,
    opened_at      timestamptz not null,
    constraint cases_pkey primary key (institution_id, kind, key)
);
create index cases_open on cases (kind, opened_at) where state <> 3;

do $$
begin
    if exists (select from pg_roles where rolname = 'fiorino_tenant_runtime') then
        grant select, insert on client_reference, activation, position_change, receipt_key, receipt to fiorino_tenant_runtime;
        grant select, insert, update on debt_position, notice, cases to fiorino_tenant_runtime;
    end if;
end
$$;
