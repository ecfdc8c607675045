-- Committed before the position is released: the try failed, but killed nobody.
update inbox.attempt set failed = true where stream = $1 and process = $2
