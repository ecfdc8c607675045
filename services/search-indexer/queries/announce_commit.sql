-- Says which commit the index is about to make, durably and before it does. $1 is the commit that
-- the index holds; no row means that somebody else writes an index for this database.
update search.index_commit
   set current = $1, pending = $2
 where current = $1 or pending = $1;
