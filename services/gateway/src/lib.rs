//! Gateway: the one address for the outside; routes to the services behind it.
