-- The index has made the announced commit; from here on an older index is not trusted.
update search.index_commit set current = $1, pending = null where pending = $1;
