-- Not told is not zero: amount_cents is 0 where amount_told is false, for a version that does not know the mark. In transfers the mark is
-- "amount_untold".
alter table payment add column amount_told boolean not null default true;

-- The institution issued the notice through another intermediary.
alter table payment add column issued_elsewhere boolean not null default false;
