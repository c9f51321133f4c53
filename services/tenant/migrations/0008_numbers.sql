-- Numbers of other systems.

-- Those that were met here: loaded with their notice, or named by a receipt while they had none. A load and a receipt of one number both
-- insert its row, and the second waits for the first. Not a lock of its own each: those would fill the lock table of the server.
create table foreign_number (
    institution_id integer not null,
    nav            text    not null collate "C",
    constraint foreign_number_pkey primary key (institution_id, nav)
);

-- Of an instalment that was loaded as paid elsewhere: when and how (keys "on" and "how").
alter table notice add column paid_elsewhere jsonb;

-- A cancelled instalment can be restored to what it was: proto InstalmentState, Draft or Payable. Null: it never was cancelled, or an
-- earlier version did it; such a one is restored as a draft.
alter table notice add column cancelled_from smallint;

do $$
begin
    if exists (select from pg_roles where rolname = 'fiorino_tenant_runtime') then
        grant select, insert on foreign_number to fiorino_tenant_runtime;
    end if;
end
$$;
