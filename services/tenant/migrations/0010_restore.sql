-- How a database is known that went back in time (a restored backup, a promoted standby), and what numbers are known elsewhere.

-- The server that the store lies on. Its timeline is another one after every recovery that ended in a promotion, and at once: the control
-- file has it only from the next checkpoint on. With the owner's rights, whatever the runtime role may do.
create function server_identity()
    returns table (system_identifier text, timeline int8)
    language sql volatile security definer
    set search_path = pg_catalog
as $$
    select control.system_identifier::text, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int8
    from pg_control_system() as control
$$;

-- Where the store has been; the latest row is where it is. A row whose suspicion was not ended is a restore that goes on: no number is
-- issued.
create table store_origin (
    id bigint generated always as identity primary key,
    system_identifier text not null,
    timeline bigint not null,
    seen_at timestamptz not null default now(),
    -- the store as it was called until then, and its last sequence: who knows a higher one of it knows what is lost
    former_store_id uuid,
    former_config_seq bigint,
    -- what was written from here on may be lost; null: nothing is
    since timestamptz,
    -- why the store may be a restored one; null: it is not
    suspicion text,
    -- the operator has looked at every manifest since
    configured_at timestamptz,
    held_back integer not null default 0,
    -- a node-connector sends again what it applied
    remaining bigint,
    sent_again_at timestamptz,
    -- restore-check ended it
    checked_at timestamptz,
    checked_by text,
    -- a node-connector has compared its numbers
    compared_at timestamptz,
    -- the store was alive, and the last time before it was not for a while
    alive_at timestamptz not null default now(),
    paused_from timestamptz
);
insert into store_origin (system_identifier, timeline) select system_identifier, timeline from server_identity();

-- Whether a store may answer what can be paid: nothing is missing, or a node-connector has sent its receipts again, or a person says so. A
-- standby that was promoted waits a minute at most: it lacks moments, and a node-connector of before sends nothing again.
create function store_lacks_nothing(origin store_origin)
    returns boolean
    language sql stable
as $$
    select origin.since is null or origin.sent_again_at is not null or origin.checked_at is not null
        or origin.suspicion is null and origin.seen_at < now() - interval '1 minute'
$$;

alter table nav_sequence
    -- blocks up to here are known to a node-connector's database
    add column witnessed bigint not null default 0,
    -- the store went over to a standby: next was the first, and became the second
    add column moved_from bigint,
    add column moved_to bigint;
create index nav_sequence_unwitnessed on nav_sequence (institution_id) where next > witnessed;

-- Numbers that others know to be given out, and that this store did not know of.
create table nav_witness (
    institution text not null collate "C",
    aux_digit smallint not null,
    code text not null collate "C",
    prefix text not null collate "C",
    -- first of the sequence that nobody knows of
    highest bigint not null,
    -- of the permutation that they were made with; null: the store's own
    key bytea constraint nav_witness_key check (octet_length(key) = 32),
    stated_at timestamptz not null default now(),
    constraint nav_witness_pkey primary key (institution, aux_digit, code, prefix)
);

do $$
begin
    if exists (select from pg_roles where rolname = 'fiorino_tenant_runtime') then
        grant select, insert, update on store_origin, nav_witness to fiorino_tenant_runtime;
    end if;
end
$$;
