//! Everything a service needs around its own work: settings, pool, migrations, HTTP, probes, tasks, shutdown.
