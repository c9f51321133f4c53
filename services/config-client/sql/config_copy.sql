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
