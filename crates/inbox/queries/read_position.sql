-- Where the reader goes on from, and whether the copy follows its source at all.
select p.pn, p.term, t.phase from inbox.position as p join inbox.topic as t using (topic)
where p.stream = $1
