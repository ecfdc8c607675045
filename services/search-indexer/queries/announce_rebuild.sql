-- Says which commit will end a rebuild of the index, before the first part is read: from here on no
-- other index of this database can commit, so whatever another process still counts as done, this
-- rebuild reads.
update search.index_commit set current = null, pending = $1;
