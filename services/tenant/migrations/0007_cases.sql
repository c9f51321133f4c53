-- Cases that people list and end (services/cases), and what was done with each. Whoever runs the version before goes on writing the
-- columns that it knows; what it ends has no event.

create unique index cases_id on cases (id);
create index cases_waiting on cases (opened_at, id) where state <> 3;
create index cases_resolved on cases (opened_at, id) where state = 3;

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

-- By the institution's fiscal code, as every service shows its cases. Null = none of ours.
create view case_list as
    select c.id, i.fiscal_code as institution, c.kind, c.key, c.state, c.owner, c.nav, c.receipt_id, c.detail, c.opened_at
    from cases c
    left join institution i on i.institution_id = c.institution_id;

do $$
begin
    if exists (select from pg_roles where rolname = 'fiorino_tenant_runtime') then
        grant select, insert on case_event to fiorino_tenant_runtime;
        grant select on case_list to fiorino_tenant_runtime;
    end if;
end
$$;
