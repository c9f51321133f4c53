-- Since when each step of pagoPA's is waited for. `waiting_since` is about both of them and says nothing of whose turn it is.
alter table institution
    -- an association is missing
    add column stations_waiting_since timestamptz,
    -- no association is missing, and an account has no number that counts
    add column accounts_waiting_since timestamptz;
