-- Room for a product's next state on the page of the one before, so that a write need not touch
-- the index. Pages that are full already get it as their products are written anew.
alter table catalog.product set (fillfactor = 70);
