-- Asked before the positions are locked: usually there is nothing to close.
select exists (
    select
    from inbox.cases as c
    join inbox.versions as v using (topic, key)
    where c.topic = $1 and c.state = 'open' and (v.history, v.version) > (c.history, c.version)
) as has
