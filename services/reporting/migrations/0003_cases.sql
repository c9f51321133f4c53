-- Cases that people list and end (services/cases), what was done with each, and which topic an offset belongs to.

create table cases (
    institution text        not null collate "C", -- fiscal code; empty = none of ours, or not to be read
    kind        text        not null collate "C", -- code of fiorino_domain::case
    key         text        not null collate "C", -- natural key within institution and kind: the same finding opens one case
    id          uuid        not null,
    state       smallint    not null default 1 check (state in (1, 2, 3)), -- proto CaseState
    owner       text,
    nav         text,
    receipt_id  text,
    detail      jsonb       not null,
    opened_at   timestamptz not null,
    constraint cases_pkey primary key (institution, kind, key)
);
create index cases_open on cases (kind, opened_at) where state <> 3;
create unique index cases_id on cases (id);
create index cases_waiting on cases (opened_at, id) where state <> 3;
create index cases_resolved on cases (opened_at, id) where state = 3;
create view case_list as
    select id, institution, kind, key, state, owner, nav, receipt_id, detail, opened_at from cases;

create table case_event (
    case_id uuid        not null,
    id      bigint      not null generated always as identity,
    at      timestamptz not null,
    actor   text        not null,
    action  smallint    not null check (action between 1 and 5), -- proto CaseAction
    owner   text,
    note    text,
    constraint case_event_pkey primary key (case_id, id)
);

-- A message that was parked has its case here, and no state of its own any more. Null: parked by the version before, which knows no
-- cases; whoever runs this version gives it one.
alter table parked_message
    add column case_id uuid,
    -- of the topic that it came from: one that is made anew has the same offsets again
    add column topic_id uuid not null default '00000000-0000-0000-0000-000000000000';
alter table parked_message drop constraint parked_message_key;
alter table parked_message
    add constraint parked_message_key primary key (institution, topic, topic_id, partition, "offset", event_id);
create unique index parked_message_case on parked_message (case_id);
create index parked_message_caseless on parked_message (parked_at) where case_id is null;

update parked_message set case_id = gen_random_uuid();
insert into cases (institution, kind, key, id, state, detail, opened_at)
select institution, kind, topic || '/' || partition || '/' || "offset", case_id,
       case state when 'open' then 1 when 'assigned' then 2 else 3 end,
       jsonb_build_object('topic', topic, 'partition', partition, 'offset', "offset", 'event_id', event_id, 'reason', reason),
       parked_at
from parked_message;

alter table consumer_offset
    -- Kafka's id of the topic; null = read by the version before, which did not ask
    add column topic_id uuid,
    -- since when this partition is read
    add column followed_at timestamptz not null default now(),
    -- when tenant recorded the last event that was taken in from it; null = none was
    add column event_at timestamptz;

do $$
begin
    if exists (select from pg_roles where rolname = 'fiorino_reporting_runtime') then
        grant select, insert, update on cases to fiorino_reporting_runtime;
        grant select, insert on case_event to fiorino_reporting_runtime;
        grant select on case_list to fiorino_reporting_runtime;
    end if;
end
$$;
