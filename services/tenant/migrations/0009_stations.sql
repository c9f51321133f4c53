-- One code may stand on several stations of an institution, of which one issues. Notice numbers do not depend on the station: they stay
-- unique by institution and number.
drop index association_code;
create unique index association_issuing on association (institution_id, aux_digit, code, nav_prefix)
    where issuing and not removed;

-- An association that the manifest no longer names answers on until pagoPA no longer shows it.
alter table association
    -- since when the manifest does not name it; null = it does, or the previous version removed it
    add column removed_at timestamptz,
    -- false: removed, and not shown by pagoPA any more: verify and get through it are refused
    add column answers boolean not null default true;
update association set removed_at = now() where removed;
