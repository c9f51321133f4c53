-- What is known of the numbers of accounts, and of the leases that led.
--
-- An older version of the service runs on it: numbers that it writes count as listed and used, the careful answer.

alter table account_number
    -- the latest manifest lists it; `withdrawn` means that a manifest withdrew it, and is never taken back
    add column listed boolean not null default true,
    -- an activation was answered with it
    add column used boolean not null default true,
    -- who vouches for it where pagoPA's registry cannot be read, since when, by which document; never taken away
    add column attested_by text,
    add column attested_on date,
    add column attested_document text,
    add constraint account_number_attestation check (num_nulls(attested_by, attested_on, attested_document) in (0, 3));

-- The numbers of an account that count on a legal date: valid, listed by the manifest, not withdrawn, and either the account's first or
-- by then usable at pagoPA or attested (ARCHITECTURE.md 3.5). The one place of this rule.
create function numbers_in_force(institution int4, account_name text, day date)
    returns table (valid_from date, iban text, postal boolean)
    language sql stable
as $$
    select n.valid_from, n.iban, n.postal
    from account_number n
    where n.institution_id = institution and n.account = account_name and n.valid_from <= day and n.listed and not n.withdrawn
        and (n.first or n.registered_from <= day or n.attested_on is not null)
$$;

-- The number of an account on a legal date: the latest one that counts. Inlined into the statement that joins it.
create or replace function number_in_use(institution int4, account_name text, day date)
    returns table (valid_from date, iban text, postal boolean)
    language sql stable
as $$
    select n.valid_from, n.iban, n.postal
    from numbers_in_force(institution, account_name, day) n
    order by n.valid_from desc
    limit 1
$$;

-- Whether an account has a number for today or later: without one nobody will be able to pay to it.
create function account_has_number(institution int4, account_name text) returns boolean
    language sql stable
as $$
    select exists (
        select from account_number n
        where n.institution_id = institution and n.account = account_name and n.listed and not n.withdrawn)
$$;

-- The numbers that must stand at pagoPA: in use or still to come; those that later ones replaced are history.
drop function current_numbers(int4, date);
create function current_numbers(institution int4, day date)
    returns table (account text, valid_from date, iban text, registered boolean, attested_on date)
    language sql stable
as $$
    select n.account, n.valid_from, n.iban, n.registered, n.attested_on
    from account_number n
    join account a on a.institution_id = n.institution_id and a.name = n.account
    left join lateral number_in_use(n.institution_id, n.account, day) used on true
    where n.institution_id = institution and not a.removed and n.listed and not n.withdrawn
        and n.valid_from >= coalesce(used.valid_from, n.valid_from)
$$;

-- Leases that led for a platform. One that another followed leads again only when somebody allows it.
create table fence_lease (
    platform text not null,
    lease_uid text not null,
    superseded boolean not null default false,
    first_led_at timestamptz not null default now(),
    primary key (platform, lease_uid)
);
insert into fence_lease (platform, lease_uid, first_led_at) select platform, lease_uid, acquired_at from fence;

-- Who allowed it, and when a leader made use of it.
create table fence_allowance (
    id bigint generated always as identity primary key,
    platform text not null,
    lease_uid text not null,
    allowed_at timestamptz not null default now(),
    -- role of the database
    allowed_by text not null default session_user,
    taken_at timestamptz
);
create index fence_allowance_open on fence_allowance (platform, lease_uid) where taken_at is null;

do $$
begin
    if exists (select from pg_roles where rolname = 'fiorino_tenant_runtime') then
        grant select, insert, update on fence_lease to fiorino_tenant_runtime;
        grant select, insert, update (taken_at) on fence_allowance to fiorino_tenant_runtime;
    end if;
end
$$;
