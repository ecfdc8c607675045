-- The recorded try of this stream; under the lock of its position only a dead process left it.
select first, last, suspect, times, survived, process from inbox.attempt where stream = $1
