-- An amount that nobody could read is not told, which is not zero.
alter table receipt
    alter column amount_cents drop not null; -- bigint as before

-- The institution issued the notice through another intermediary: there is no debt of it here, and a payment all the same.
alter table receipt add column issued_elsewhere boolean not null default false;
