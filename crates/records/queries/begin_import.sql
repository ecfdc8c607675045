-- The row of this upload: that of an earlier try with the same key, which lives on from now, or a
-- new one.
insert into records.import as import (key, topic, format, digest)
values ($1, $2, $3, $4)
on conflict (key) do update set stored_at = now()
returning id, topic, format, bytes, digest, line, stored, unchanged, refused, waiting, finished
