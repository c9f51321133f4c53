-- Parts of a debt to the cent, metadata, stamps, and postal numbers beside those of banks.
--
-- An older version of the service runs on it: it leaves the new columns empty, which is what they are for rows of before.

-- Another account of the institution, a postal one, for payments by slip: an account and not a number, so that its numbers follow the
-- one rule of number_in_use, with days, read-back and withdrawal of their own.
alter table account add column postal_account text;

-- How the amount is divided when it changes (services/tenant/src/positions/division.rs); null = of before this migration.
alter table notice add column division jsonb;
-- Of the payment as a whole, as [{"key", "value"}]; null = none. That of a transfer stands in transfers.
alter table notice add column metadata jsonb;

-- Null = the PSP told none; 0 = it asked for 0.00, or, before this migration, told none.
alter table activation alter column requested_cents drop not null;
