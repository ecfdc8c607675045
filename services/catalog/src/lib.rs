//! Catalog: what the products are and which categories they belong to.
