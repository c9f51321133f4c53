-- The receipts inbox (ARCHITECTURE.md 4.4): what the node sent is committed here before anything is judged.

-- Raw messages as they came. Append only; can be partitioned by received_at, because nothing is unique here but the id.
create table receipt_message (
    id_pa text not null,
    received_at timestamptz not null,
    id uuid not null,
    -- the caller: name in the client certificate, or "loopback"
    peer text not null,
    request_id text not null,
    -- station in the URL
    path_station text not null,
    -- of the Content-Type, when told: it counts where the XML does not declare its encoding
    charset text,
    body bytea not null,
    primary key (id_pa, received_at, id)
);

-- Identity of every receipt, never partitioned, and the queue of what tenant has not applied yet.
create table receipt_inbox (
    id_pa text not null,
    receipt_id text not null,
    -- 1; higher when the same key came with other business fields
    version integer not null check (version >= 1),
    -- SHA-256 over the business fields
    content_hash bytea not null check (octet_length(content_hash) = 32),
    -- waiting: tenant was away when an unknown addressee had to be judged; ready: to be applied; applied: tenant answered
    state text not null check (state in ('waiting', 'ready', 'applied')),
    -- a final answer (OK or KO) was decided for the node; false: its next repetition is judged, not called a duplicate
    answered boolean not null,
    -- faultCode of the KO for an addressee that was never ours
    refusal text,
    shard smallint not null check (shard between 0 and 15),
    findings text[] not null,
    -- of the node's call: applying continues its trace
    traceparent text,
    -- the raw message
    received_at timestamptz not null,
    message_id uuid not null,
    -- how often tenant refused the row alone, and when it is tried again
    attempts integer not null default 0,
    next_attempt_at timestamptz not null default now(),
    last_error text,
    applied_at timestamptz,
    primary key (id_pa, receipt_id, version)
);

create index receipt_inbox_ready on receipt_inbox (shard, next_attempt_at) where state = 'ready' and attempts = 0;
create index receipt_inbox_deferred on receipt_inbox (shard, next_attempt_at) where state = 'ready' and attempts > 0;
create index receipt_inbox_waiting on receipt_inbox (shard, received_at) where state = 'waiting';

-- Bodies in which no receipt could be found: kept once, counted, alarmed.
create table unreadable_message (
    sha256 bytea not null primary key check (octet_length(sha256) = 32),
    first_seen_at timestamptz not null,
    last_seen_at timestamptz not null,
    seen bigint not null check (seen >= 1),
    peer text not null,
    request_id text not null,
    path_station text not null,
    reason text not null,
    body bytea not null
);

-- Most rows change once, from ready to applied, and leave the indexes of what is due: these must stay small.
alter table receipt_inbox set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 10000);

-- Who works on what (fiorino-kit, lease).
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

-- The owner of the database runs the migrations; `fiorino_node_connector_runtime` is what the service logs in as (or is a member
-- of). It deletes no receipt. It is made here where the migrating role may make roles, else by whoever provisions the database.
do $$
begin
    if not exists (select from pg_roles where rolname = 'fiorino_node_connector_runtime') then
        begin
            create role fiorino_node_connector_runtime nologin;
        exception
            when insufficient_privilege then
                raise notice 'role fiorino_node_connector_runtime must be made by whoever provisions the database';
            when duplicate_object or unique_violation then
                null; -- made by a migration of another database at the same time
        end;
    end if;
    if exists (select from pg_roles where rolname = 'fiorino_node_connector_runtime') then
        grant select, insert on receipt_message to fiorino_node_connector_runtime;
        grant select, insert, update on receipt_inbox, unreadable_message to fiorino_node_connector_runtime;
        grant select, insert, update, delete on lease, config_copy, config_copy_head to fiorino_node_connector_runtime;
    end if;
end
$$;
