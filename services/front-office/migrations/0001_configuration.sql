-- What the portal keeps of its own: the configuration as last received.
--
-- Roles: the owner of the database runs the migrations; `fiorino_front_office_runtime` is what the service logs in as (or is a
-- member of). It is made here where the migrating role may make roles, else by whoever provisions the database, before this migration.

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
    if not exists (select from pg_roles where rolname = 'fiorino_front_office_runtime') then
        begin
            create role fiorino_front_office_runtime nologin;
        exception
            when insufficient_privilege then
                raise notice 'role fiorino_front_office_runtime must be made by whoever provisions the database';
            when duplicate_object or unique_violation then
                null; -- made by a migration of another database at the same time
        end;
    end if;
    if exists (select from pg_roles where rolname = 'fiorino_front_office_runtime') then
        grant select, insert, update, delete on config_copy, config_copy_head to fiorino_front_office_runtime;
    end if;
end
$$;
