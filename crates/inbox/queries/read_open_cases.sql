-- Which of these records, or of those whose keys begin with them and a slash, are set aside. By
-- byte order a slash is followed by a zero, so that the index finds both kinds.
select distinct wanted.topic, wanted.key
from unnest($1::text[], $2::text[]) as wanted (topic, key)
join inbox.cases as c on c.topic = wanted.topic and c.state = 'open'
    and (c.key = wanted.key or c.key >= wanted.key || '/' and c.key < wanted.key || '0')
