-- Notices in random order, for the scripts of pgbench: `n` is drawn.
create table bench_notice as
    select row_number() over () as n, drawn.institution, drawn.institution_id, drawn.nav from (
        select i.fiscal_code as institution, o.institution_id, o.nav
        from notice o join institution i using (institution_id)
        order by random() limit 200000
    ) drawn;
alter table bench_notice add primary key (n);
create sequence bench_nav;
analyze bench_notice;
