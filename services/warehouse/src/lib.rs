//! Warehouse.
