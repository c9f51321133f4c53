-- Payments as tenant told them, the place in Kafka up to which they were taken in, and what could not be taken in.
--
-- Roles: the owner of the database runs the migrations; `fiorino_reporting_runtime` is what the service logs in as (or is a
-- member of). It may not delete payments or parked messages. It is made here where the migrating role may make roles, else by
-- whoever provisions the database, before this migration.

create table payment (
    -- to whom the receipt was addressed
    institution text collate "C" not null constraint payment_institution check (institution ~ '^[0-9]{11}$'),
    receipt_id text collate "C" not null,
    -- order of recording within the institution: commits in its order, so that a reader who continues after a number misses nothing
    sequence bigint not null,
    -- of the receipt; a lower or equal one changes nothing
    version bigint not null,
    event_id uuid not null,
    notice_number text collate "C" not null,
    iuv text not null,
    -- who issued the notice; another than institution = a beneficiary's share
    issuer text not null,
    amount_cents bigint not null constraint payment_amount check (amount_cents between 0 and 99999999999),
    paid_at timestamptz,
    -- by tenant
    recorded_at timestamptz not null,
    psp_id text not null,
    psp_name text not null,
    payment_method text not null,
    position_id text not null,
    client_reference text not null,
    service_code text not null,
    description text not null,
    application_date date,
    transfer_date date,
    stand_in boolean not null,
    -- [{"id", "amount_cents", "beneficiary", "iban", "remittance", "taxonomy_code"}]
    transfers jsonb not null,
    constraint payment_key primary key (institution, receipt_id),
    constraint payment_sequence unique (institution, sequence)
);
create index payment_notice on payment (institution, notice_number, sequence);

-- Last number of payment.sequence by institution; its row is locked from the first payment of a transaction to the commit.
create table payment_counter (
    institution text collate "C" primary key,
    last bigint not null
);

-- Belongs to no institution: a few rows per topic.
create table consumer_offset (
    topic text not null,
    partition int4 not null,
    -- of the next message to take in
    next_offset bigint not null,
    constraint consumer_offset_key primary key (topic, partition)
);

-- A message that cannot be taken in, and its case.
create table parked_message (
    -- as the message's key tells it; empty = not to be read
    institution text collate "C" not null,
    topic text not null,
    partition int4 not null,
    "offset" bigint not null,
    event_id text not null,
    event_type text not null,
    traceparent text,
    key bytea not null,
    payload bytea not null,
    -- which field breaks which rule
    reason text not null,
    -- code of a kind of case (fiorino_domain::case)
    kind text not null,
    state text not null default 'open' constraint parked_message_state check (state in ('open', 'assigned', 'resolved')),
    parked_at timestamptz not null default now(),
    constraint parked_message_key primary key (institution, topic, partition, "offset")
);
create index parked_message_open on parked_message (kind, parked_at) where state <> 'resolved';

create table lease (
    name text primary key,
    holder text not null,
    expires_at timestamptz not null
);

-- The configuration as last received, to start from when tenant is away. Shared by the replicas of the service.
create table config_copy_head (
    singleton boolean primary key default true check (singleton),
    store_id text not null,
    config_seq bigint not null
);
create table config_copy (
    uid text primary key,
    -- fiorino.config.v1.Resource as last received
    latest bytea not null,
    -- the version in use, where latest is refused
    good bytea
);

do $$
begin
    if not exists (select from pg_roles where rolname = 'fiorino_reporting_runtime') then
        begin
            create role fiorino_reporting_runtime nologin;
        exception
            when insufficient_privilege then
                raise notice 'role fiorino_reporting_runtime must be made by whoever provisions the database';
            when duplicate_object or unique_violation then
                null; -- made by a migration of another database at the same time
        end;
    end if;
    if exists (select from pg_roles where rolname = 'fiorino_reporting_runtime') then
        grant select, insert, update on payment, payment_counter, consumer_offset, parked_message
            to fiorino_reporting_runtime;
        grant select, insert, update, delete on lease, config_copy_head, config_copy to fiorino_reporting_runtime;
    end if;
end
$$;
