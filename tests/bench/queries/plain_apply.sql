-- Takes a change into the copy unless the copy is as new: messages come in any order, and again.
insert into plain_copy.product as copy
  (sku, name, categories, first_category, seq, text, characters, version, deleted, changed_at)
values ($1, $2::text, $3::text[], ($3::text[])[1], $4, $5::text, length($5::text), $6,
        $2::text is null, now())
on conflict (sku) do update
   set name = excluded.name, categories = excluded.categories,
       first_category = excluded.first_category, seq = excluded.seq, text = excluded.text,
       characters = excluded.characters, version = excluded.version, deleted = excluded.deleted,
       changed_at = excluded.changed_at
 where copy.version < excluded.version
