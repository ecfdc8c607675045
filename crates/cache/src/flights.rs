//! One reading for all who miss the same entry at the same time.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::Key;

/// So many entries are read for all at the same time; whoever comes on top reads alone.
const FLIGHTS_MAX: usize = 4_096;

/// The readings under way in this process.
///
/// An answer that was read for somebody who came earlier may be older than oneself: it should say
/// when its reading began.
#[derive(Debug)]
pub struct Flights<T> {
    under_way: Mutex<HashMap<Key, watch::Receiver<Option<T>>>>,
}

/// What one finds when one comes.
enum Place<'a, T> {
    Leads(Lead<'a, T>),
    Follows(watch::Receiver<Option<T>>),
    Alone,
}

/// The one whose reading the others wait for; with it goes the flight, however it ends.
struct Lead<'a, T> {
    flights: &'a Flights<T>,
    key: &'a Key,
    answer: watch::Sender<Option<T>>,
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self { under_way: Mutex::default() }
    }
}

impl<T: Clone> Flights<T> {
    /// Gives what `read` gives, or what the reading gives that is under way already.
    ///
    /// When the one who reads for all is cancelled or panics, another one reads.
    pub async fn join<Fut>(&self, key: &Key, read: impl FnOnce() -> Fut) -> T
    where
        Fut: Future<Output = T>,
    {
        loop {
            match self.place(key) {
                Place::Leads(lead) => {
                    let answer = read().await;
                    lead.answer.send_replace(Some(answer.clone()));
                    return answer;
                }
                Place::Follows(mut leader) => {
                    let answer = leader.wait_for(Option::is_some).await;
                    if let Ok(Some(answer)) = answer.map(|answer| answer.clone()) {
                        return answer;
                    }
                }
                Place::Alone => return read().await,
            }
        }
    }

    fn place<'a>(&'a self, key: &'a Key) -> Place<'a, T> {
        let mut under_way = self.under_way();
        if let Some(leader) = under_way.get(key) {
            return Place::Follows(leader.clone());
        }
        if under_way.len() >= FLIGHTS_MAX {
            return Place::Alone;
        }
        let (answer, followers) = watch::channel(None);
        under_way.insert(key.clone(), followers);
        Place::Leads(Lead { flights: self, key, answer })
    }
}

impl<T> Flights<T> {
    /// How many readings are under way.
    pub fn len(&self) -> usize {
        self.under_way().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.under_way().is_empty()
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<Key, watch::Receiver<Option<T>>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Lead<'_, T> {
    fn drop(&mut self) {
        // Before the sender goes: whoever wakes by that must find the place free.
        self.flights.under_way().remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Semaphore;
    use tokio::task::{JoinSet, yield_now};

    use super::*;

    fn key(name: &str) -> Key {
        Key::new("n", "product", name)
    }

    /// Readings that begin at once and end when told.
    #[derive(Clone)]
    struct Owner {
        flights: Arc<Flights<u32>>,
        begun: Arc<AtomicU32>,
        end: Arc<Semaphore>,
    }

    impl Owner {
        fn new() -> Self {
            let (flights, begun) = (Arc::default(), Arc::default());
            Self { flights, begun, end: Arc::new(Semaphore::new(0)) }
        }

        async fn ask(self, name: &'static str) -> u32 {
            let read = || async {
                let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
                self.end.acquire().await.expect("never closed").forget();
                number
            };
            self.flights.join(&key(name), read).await
        }
    }

    async fn settle() {
        for _ in 0..20 {
            yield_now().await;
        }
    }

    #[tokio::test]
    async fn concurrent_misses_share_one_reading() {
        let owner = Owner::new();
        let mut asking = JoinSet::new();
        for _ in 0..10 {
            asking.spawn(owner.clone().ask("a"));
        }
        settle().await;
        assert_eq!(owner.flights.len(), 1);
        owner.end.add_permits(1);
        assert_eq!(asking.join_all().await, [1; 10]);
        assert!(owner.flights.is_empty());
        owner.end.add_permits(1);
        assert_eq!(owner.clone().ask("a").await, 2, "what has landed is not kept");
    }

    #[tokio::test]
    async fn keys_do_not_wait_for_each_other() {
        let owner = Owner::new();
        let mut asking = JoinSet::new();
        asking.spawn(owner.clone().ask("a"));
        asking.spawn(owner.clone().ask("b"));
        settle().await;
        assert_eq!((owner.flights.len(), owner.begun.load(Ordering::SeqCst)), (2, 2));
    }

    #[tokio::test]
    async fn another_one_reads_when_the_first_is_cancelled() {
        let owner = Owner::new();
        let mut first = JoinSet::new();
        first.spawn(owner.clone().ask("a"));
        settle().await;
        let mut others = JoinSet::new();
        for _ in 0..3 {
            others.spawn(owner.clone().ask("a"));
        }
        settle().await;
        first.shutdown().await;
        owner.end.add_permits(1);
        assert_eq!(others.join_all().await, [2; 3]);
        assert!(owner.flights.is_empty());
    }

    #[tokio::test]
    async fn another_one_reads_when_the_first_panics() {
        let owner = Owner::new();
        let mut first = JoinSet::new();
        let (flights, end) = (Arc::clone(&owner.flights), Arc::clone(&owner.end));
        first.spawn(async move {
            let read = || async {
                end.acquire().await.expect("never closed").forget();
                panic!("a reading that dies")
            };
            flights.join(&key("a"), read).await
        });
        settle().await;
        let mut other = JoinSet::new();
        other.spawn(owner.clone().ask("a"));
        settle().await;
        owner.end.add_permits(2);
        assert!(first.join_next().await.is_some_and(|ended| ended.is_err()));
        assert_eq!(other.join_all().await, [1]);
        assert!(owner.flights.is_empty());
    }

    #[tokio::test]
    async fn above_the_bound_everyone_reads_alone() {
        let owner = Owner::new();
        let leads: Vec<Key> = (0..FLIGHTS_MAX).map(|n| key(&n.to_string())).collect();
        let held: Vec<_> = leads.iter().map(|key| owner.flights.place(key)).collect();
        owner.end.add_permits(2);
        assert_eq!(owner.clone().ask("a").await, 1);
        assert_eq!(owner.flights.len(), FLIGHTS_MAX);
        drop(held);
        assert!(owner.flights.is_empty());
    }
}
