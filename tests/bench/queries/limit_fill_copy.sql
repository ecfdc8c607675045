-- What the probe replaces is there from the beginning, as it is in a copy that has long been kept.
insert into limits.copy (
  key, version, name, category, minor, currency, stock, active, changed_at
)
select 'key-' || lpad(number::text, 6, '0'), 0, '', '', 0, '', 0, false, now()
  from generate_series(0, $1::integer - 1) as number
