//! From a delivery to a stored outcome: position, versions, cases, journal, dirty keys, rebuild.
