-- How far a rebuild of the index has to go, for its log.
select count(*) as products from search.product;
