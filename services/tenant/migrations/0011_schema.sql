-- The version of the schema (fiorino-kit, schema): read by each process at its start, recorded by each migration from this one on.
create table schema_version (
    -- number of the migration
    version bigint not null constraint schema_version_pkey primary key,
    -- the least version of the program that works from this migration on: the number of its own latest migration
    compatible_from bigint not null,
    applied_at timestamptz not null default now(),
    constraint schema_version_compatible_from check (compatible_from between 1 and version)
);

do $$
begin
    if exists (select from pg_roles where rolname = 'fiorino_tenant_runtime') then
        grant select on schema_version to fiorino_tenant_runtime;
    end if;
end
$$;

insert into schema_version (version, compatible_from) values (11, 1);
