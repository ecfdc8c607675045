-- Deliveries of what was applied, and versions that went back.
select (select coalesce(sum(duplicates), 0)::bigint from inbox.position) as duplicates,
       (select coalesce(sum(regressed), 0)::bigint from bench.products) as regressed
