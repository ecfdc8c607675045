-- The row of this upload; the one of an earlier try with the same key, where there is one, as it is.
insert into records.import as import (key, topic, format, digest)
values ($1, $2, $3, $4)
on conflict (key) do update set key = excluded.key
returning id, topic, format, bytes, digest, line, stored, unchanged, refused, waiting, finished
