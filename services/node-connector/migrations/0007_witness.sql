-- What this database knows for tenant's, so that one of the two that went back in time is known by the other (ARCHITECTURE.md 4.2).

-- The server that the database lies on; its timeline is another one after every recovery that ended in a promotion. With the owner's
-- rights, whatever the runtime role may do.
create function server_identity()
    returns table (system_identifier text, timeline int8)
    language sql volatile security definer
    set search_path = pg_catalog
as $$
    select control.system_identifier::text, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int8
    from pg_control_system() as control
$$;

-- Numbers up to here were given out, as tenant said before it used them.
create table number_witness (
    -- fiscal code: another number of an institution means nothing to a store that was restored
    institution text not null collate "C",
    aux_digit smallint not null,
    code text not null collate "C",
    -- what the base of each number begins with
    prefix text not null collate "C",
    ending bigint not null constraint number_witness_ending check (ending >= 0),
    -- of the permutation: an institution that came after a backup gets it again
    key bytea not null constraint number_witness_key_length check (octet_length(key) = 32),
    kept_at timestamptz not null default now(),
    constraint number_witness_pkey primary key (institution, aux_digit, code, prefix)
);

create table witness_head (
    singleton boolean primary key default true constraint witness_head_singleton check (singleton),
    system_identifier text not null,
    timeline bigint not null,
    alive_at timestamptz not null default now(),
    -- this database went back: what came from here on is lost, and tenant was not told yet
    lost_from timestamptz,
    -- receipts are sent again to this store of tenant: those that were applied before the time, and all of them are marked
    sending_to text not null default '',
    sending_until timestamptz,
    marked boolean not null default false
);
insert into witness_head (system_identifier, timeline) select system_identifier, timeline from server_identity();

do $$
begin
    if exists (select from pg_roles where rolname = 'fiorino_node_connector_runtime') then
        grant select, insert, update on number_witness to fiorino_node_connector_runtime;
        grant select, update on witness_head to fiorino_node_connector_runtime;
    end if;
end
$$;
