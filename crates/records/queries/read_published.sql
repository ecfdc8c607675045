-- The record as it was published, byte for byte, so that its tag is that of every copy.
select version, payload from outbox.current where topic = $1 and key = $2 and not deleted
