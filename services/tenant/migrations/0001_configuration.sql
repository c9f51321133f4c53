-- Configuration of institutions as applied, its distribution, and what pagoPA's registry says of it.
--
-- Keys start with the institution, so that the tables can be distributed or split by it. Brokers, stations, replicas and the
-- head belong to no institution and are small: reference tables.
--
-- Roles: the owner of the database runs the migrations; `fiorino_tenant_runtime` is what the service logs in as (or is a
-- member of). It may not delete what must outlive everything: institutions, resources, sequences. It is made here where the
-- migrating role may make roles, else by whoever provisions the database, before this migration.

-- The one row that orders everything: whoever writes configuration holds it until commit, therefore sequences commit in
-- their order. A restore from backup must give the store a new store_id, so that replicas ahead of it ask for a snapshot.
create table config_head (
    singleton boolean primary key default true constraint config_head_singleton check (singleton),
    store_id uuid not null default gen_random_uuid(),
    -- last change of a resource
    config_seq bigint not null default 0,
    -- last change of anything that an institution's status shows, apart from watermarks
    status_seq bigint not null default 0,
    -- last fence issued
    fence bigint not null default 0
);
insert into config_head default values;

-- Who may write for a platform.
create table fence (
    platform text primary key,
    fence bigint not null,
    lease_uid text not null,
    lease_transitions bigint not null,
    acquired_at timestamptz not null default now()
);

-- An institution has one number here, whatever its manifest is called; it is never deleted.
create table institution (
    institution_id int4 generated always as identity primary key,
    environment text not null constraint institution_environment check (environment in ('Uat', 'Production')),
    fiscal_code text not null constraint institution_fiscal_code check (fiscal_code ~ '^[0-9]{11}$'),
    platform text not null,
    -- metadata.uid, namespace and name of the manifest that holds the identity
    uid text not null,
    namespace text not null,
    name text not null,
    legal_name text not null,
    office_name text not null,
    -- number of fiorino.config.v1.LifecyclePhase: 1 testing, 2 live, 3 suspended, 4 leaving, 5 closed
    phase smallint not null constraint institution_phase check (phase between 1 and 5),
    -- false: the manifest was deleted; served on
    managed boolean not null default true,
    -- last change of the institution, of a child, or of a broker or station that it refers to
    config_seq bigint not null,
    status_seq bigint not null,
    -- first call of the node that was seen
    node_connected_at timestamptz,
    -- since when an account or a station is missing at pagoPA
    waiting_since timestamptz,
    constraint institution_identity unique (environment, fiscal_code)
);
create index institution_status_seq on institution (status_seq);
create index institution_config_seq on institution (config_seq);

-- The operator's bytes as sent. institution_id 0 = a broker or a station, shared by all.
create table config_resource (
    institution_id int4 not null,
    uid text not null,
    -- number of fiorino.config.v1.ResourceKind
    kind smallint not null constraint config_resource_kind check (kind between 1 and 5),
    -- what the resource is whatever its object is called: broker's fiscal code, station id, institution's fiscal code,
    -- account name, service code
    identity text not null,
    namespace text not null,
    name text not null,
    generation bigint not null,
    hash bytea not null,
    spec bytea not null,
    required_features text[] not null,
    config_seq bigint not null,
    -- a tombstone: the replicas are told that it is gone
    removed boolean not null default false,
    -- a lower generation was accepted by annotation; the next one is not until the annotation was away
    adopted boolean not null default false,
    -- on whose behalf it was changed last, and when
    actor text not null,
    changed_at timestamptz not null default now(),
    owner_id int4 generated always as (nullif(institution_id, 0)) stored references institution,
    primary key (institution_id, uid)
);
create unique index config_resource_identity on config_resource (institution_id, kind, identity) where not removed;
create index config_resource_seq on config_resource (config_seq, uid);
create index config_resource_uid on config_resource (uid);

create table broker (
    fiscal_code text primary key constraint broker_fiscal_code check (fiscal_code ~ '^[0-9]{11}$'),
    uid text not null,
    backoffice_url text not null,
    config_seq bigint not null
);

create table station (
    station_id text primary key,
    uid text not null,
    broker_fiscal_code text not null references broker,
    primitive_version smallint not null constraint station_primitive_version check (primitive_version in (1, 2)),
    config_seq bigint not null
);
create index station_broker on station (broker_fiscal_code);

-- institution <-> station. A removed one stays: what once came through it must not be called unknown.
create table association (
    institution_id int4 not null references institution,
    station_id text not null references station,
    aux_digit smallint not null constraint association_aux_digit check (aux_digit between 0 and 3),
    -- segregation code (aux digit 3) or application code (0); empty for 1 and 2
    code text not null constraint association_code_format check (code ~ '^([0-9]{2})?$'),
    -- the 13-digit base of every NAV issued through it begins so
    nav_prefix text not null constraint association_prefix_format check (nav_prefix ~ '^[0-9]{0,12}$'),
    issuing boolean not null,
    broadcast boolean not null,
    removed boolean not null default false,
    -- pagoPA shows it, enabled and with this aux digit and code
    associated boolean not null default false,
    -- what pagoPA shows differently
    difference text not null default '',
    primary key (institution_id, station_id, aux_digit, code, nav_prefix)
);
create unique index association_code on association (institution_id, aux_digit, code, nav_prefix) where not removed;
create index association_station on association (station_id, institution_id);

-- A named collection account. A removed one takes no new debts; existing ones stay payable.
create table account (
    institution_id int4 not null references institution,
    name text not null,
    uid text not null,
    holder text not null,
    config_seq bigint not null,
    removed boolean not null default false,
    primary key (institution_id, name)
);

-- The numbers of an account; number_in_use says which one counts.
create table account_number (
    institution_id int4 not null,
    account text not null,
    valid_from date not null,
    iban text not null constraint account_number_iban check (iban ~ '^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$'),
    postal boolean not null,
    withdrawn boolean not null,
    -- the earliest number of the account: needs no read-back
    first boolean not null,
    -- the latest reading shows it enabled for this institution
    registered boolean not null default false,
    -- legal date from which pagoPA takes it, as first shown; not taken back, so that no partial reading undoes a switch
    registered_from date,
    primary key (institution_id, account, valid_from),
    foreign key (institution_id, account) references account
);

-- The number of an account on a legal date: the latest one that is valid, not withdrawn, and either the account's first or, by
-- then, usable at pagoPA (ARCHITECTURE.md 3.5). The one place of this rule; inlined into the statement that joins it.
create function number_in_use(institution int4, account_name text, day date)
    returns table (valid_from date, iban text, postal boolean)
    language sql stable
as $$
    select n.valid_from, n.iban, n.postal
    from account_number n
    where n.institution_id = institution and n.account = account_name and n.valid_from <= day and not n.withdrawn
        and (n.first or n.registered_from <= day)
    order by n.valid_from desc
    limit 1
$$;

-- The numbers that must stand at pagoPA: in use or still to come; those that later ones replaced are history.
create function current_numbers(institution int4, day date)
    returns table (account text, valid_from date, iban text, registered boolean)
    language sql stable
as $$
    select n.account, n.valid_from, n.iban, n.registered
    from account_number n
    join account a on a.institution_id = n.institution_id and a.name = n.account
    left join lateral number_in_use(n.institution_id, n.account, day) used on true
    where n.institution_id = institution and not a.removed and not n.withdrawn
        and n.valid_from >= coalesce(used.valid_from, n.valid_from)
$$;

-- A service with its profile's values filled in. A removed one takes no new debts; existing ones stay payable.
create table payment_service (
    institution_id int4 not null references institution,
    code text not null,
    uid text not null,
    title text not null,
    taxonomy_code text not null,
    account text not null,
    -- number of fiorino.config.v1.ExpiryPolicy: 1 payable after the due date, 2 not
    expiry_policy smallint not null constraint payment_service_expiry_policy check (expiry_policy in (1, 2)),
    active boolean not null,
    -- cents; 0 = no limit
    minimum_cents bigint not null,
    maximum_cents bigint not null,
    -- [{"fiscal_code", "legal_name", "share_basis_points", "account", "taxonomy_code"}] in the order of the manifest
    beneficiaries jsonb not null,
    -- "<profile>/<revision>", or empty
    profile_revision text not null,
    config_seq bigint not null,
    removed boolean not null default false,
    primary key (institution_id, code),
    foreign key (institution_id, account) references account
);

-- NAV sequences: made once with the first issuing association, never deleted, never rotated.
create table nav_sequence (
    institution_id int4 not null references institution,
    aux_digit smallint not null,
    code text not null,
    prefix text not null,
    -- of the permutation (ARCHITECTURE.md 4.2)
    key bytea not null constraint nav_sequence_key check (octet_length(key) = 32),
    -- first sequence that was not given to a block yet
    next bigint not null default 0 constraint nav_sequence_next check (next >= 0),
    -- as the manifest says: next is never below it
    floor bigint not null default 0,
    primary key (institution_id, aux_digit, code, prefix)
);

-- The latest complete reading of a broker's registry at pagoPA.
create table readback (
    broker_fiscal_code text primary key,
    read_at timestamptz not null,
    recorded_at timestamptz not null default now()
);

create table readback_association (
    institution text not null,
    broker_fiscal_code text not null references readback on delete cascade,
    station_id text not null,
    -- "0", "1", "2", "3" or "0/3"
    aux_digit text not null,
    segregation_code text not null,
    application_code text not null,
    broadcast boolean not null,
    enabled boolean not null,
    primitive_version smallint not null,
    primary key (institution, broker_fiscal_code, station_id, aux_digit, segregation_code, application_code)
);
create index readback_association_broker on readback_association (broker_fiscal_code);

create table readback_iban (
    institution text not null,
    broker_fiscal_code text not null references readback on delete cascade,
    iban text not null,
    enabled boolean not null,
    validity_date timestamptz not null,
    primary key (institution, broker_fiscal_code, iban)
);
create index readback_iban_broker on readback_iban (broker_fiscal_code);

-- One row per replica: how far it is, and what it refuses.
create table watermark (
    service text not null,
    replica text not null,
    boot_id text not null,
    -- of the latest stream: an acknowledgement of an older one is refused
    nonce text not null,
    acknowledged_seq bigint not null,
    -- [{"uid", "config_seq", "reason"}]
    nacks jsonb not null,
    capabilities text[] not null,
    -- database time; null = has not acknowledged anything since its start and does not count yet
    heartbeat_at timestamptz,
    connected_at timestamptz not null default now(),
    -- boot ids that this one replaced, latest first
    retired_boots text[] not null default '{}',
    primary key (service, replica)
);

create table lease (
    name text primary key,
    holder text not null,
    expires_at timestamptz not null
);

create table outbox (
    shard smallint not null,
    id bigint generated always as identity,
    topic text not null,
    key text not null,
    event_id uuid not null,
    event_type text not null,
    payload bytea not null,
    traceparent text,
    created_at timestamptz not null default now(),
    primary key (shard, id)
);

do $$
begin
    if not exists (select from pg_roles where rolname = 'fiorino_tenant_runtime') then
        begin
            create role fiorino_tenant_runtime nologin;
        exception
            when insufficient_privilege then
                raise notice 'role fiorino_tenant_runtime must be made by whoever provisions the database';
            when duplicate_object or unique_violation then
                null; -- made by a migration of another database at the same time
        end;
    end if;
    if exists (select from pg_roles where rolname = 'fiorino_tenant_runtime') then
        grant select, update on config_head to fiorino_tenant_runtime;
        grant select, insert, update on fence, institution, config_resource, broker, station, association, account,
            account_number, payment_service, nav_sequence, readback to fiorino_tenant_runtime;
        grant select, insert, update, delete on readback_association, readback_iban, watermark, lease, outbox
            to fiorino_tenant_runtime;
    end if;
end
$$;
