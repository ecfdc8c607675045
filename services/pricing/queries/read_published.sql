-- What is published under these keys, byte for byte, to be compared.
select key, payload from outbox.current where topic = $1 and key = any($2) and not deleted
