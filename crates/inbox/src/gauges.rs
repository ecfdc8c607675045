//! What a consumer shows of its copies whenever somebody looks: how old they are, what waits.

use bus::metrics::watch_queues;

use crate::Monitor;
use crate::metrics::watch_freshness;

/// Shows the copies of this process for as long as they are followed.
pub(crate) fn watch(monitor: &Monitor) {
    let watched = monitor.weak();
    watch_freshness(move || {
        let behind = watched().map_or_else(Vec::new, |monitor| monitor.behind());
        behind.into_iter().map(|(topic, age, _)| (topic, age)).collect()
    });
    let watched = monitor.weak();
    watch_queues(move |queues| {
        let Some(monitor) = watched() else { return };
        for (topic, _, missing) in monitor.behind() {
            queues.waiting("apply", topic.as_str(), missing);
        }
        for (sink, keys) in monitor.dirty_keys().iter() {
            queues.waiting("clean", sink, *keys);
        }
    });
}
