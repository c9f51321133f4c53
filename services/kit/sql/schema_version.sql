create table schema_version (
    -- number of the migration
    version bigint not null constraint schema_version_pkey primary key,
    -- the least version of the program that works from this migration on: the number of its own latest migration
    compatible_from bigint not null,
    applied_at timestamptz not null default now(),
    constraint schema_version_compatible_from check (compatible_from between 1 and version)
);
