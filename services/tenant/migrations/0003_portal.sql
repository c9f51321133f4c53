-- Host names under which the portal shows institutions. One holds a name; the loser of two is told by whom.
--
-- Found by the name, whoever it is of, therefore no key that starts with the institution: small, a reference table.
create table portal_hostname (
    hostname text not null constraint portal_hostname_format check (hostname ~ '^[a-z0-9.-]{3,253}$'),
    institution_id int4 not null references institution,
    constraint portal_hostname_pkey primary key (hostname)
);
create index portal_hostname_institution on portal_hostname (institution_id);

do $$
begin
    if exists (select from pg_roles where rolname = 'fiorino_tenant_runtime') then
        grant select, insert, delete on portal_hostname to fiorino_tenant_runtime;
    end if;
end
$$;
