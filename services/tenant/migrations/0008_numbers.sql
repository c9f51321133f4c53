-- A cancelled instalment can be restored to what it was: proto InstalmentState, Draft or Payable. Null: it never was cancelled, or an
-- earlier version did it; such a one is restored as a draft.
alter table notice add column cancelled_from smallint;
