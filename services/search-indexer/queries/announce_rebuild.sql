-- Says which commit will end a rebuild of the index, whatever the index held before.
update search.index_commit set pending = $1;
