//! Search: the document of each product, its index, and the search API.
