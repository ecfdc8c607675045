-- What is read from nowhere goes: the version of a product, which the inbox keeps, and what a
-- promotion named before, which is read under its lock. No version that wrote them was released.
alter table pricing.product drop column version;
alter table pricing.promotion drop column named_before;
