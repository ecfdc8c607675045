//! Every order of slow readers, changes, invalidations and evictions that fits a small world, and
//! many of a large one; the same orders break a cache that only deletes.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn version(n: i64) -> Version {
    Version::try_from(n).unwrap()
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn vector(parts: &[(&str, i64)]) -> Vector {
    parts.iter().map(|(part, n)| (*part, version(*n))).collect()
}

fn filled(parts: &[(&str, i64)], until: u64) -> Filled<&'static str> {
    Filled { value: "v", vector: vector(parts), read_at: ms(0), until: ms(until) }
}

const ONE: Lease = Lease::new(1);
const TWO: Lease = Lease::new(2);

#[test]
fn a_fill_needs_the_lease_that_its_reader_took() {
    let mut entry = Entry::default();
    assert_eq!(entry.look(ms(0), ONE), Look::Miss(ONE, None));
    assert_eq!(entry.look(ms(0), TWO), Look::Miss(ONE, None), "the lease is shared");
    assert_eq!(entry.fill(TWO, filled(&[], 9)), Fill::Refused);
    assert_eq!(entry.fill(ONE, filled(&[("price", 3)], 9)), Fill::Stored);
    assert_eq!(entry.look(ms(8), TWO), Look::Hit(filled(&[("price", 3)], 9)));
    assert_eq!(entry.fill(ONE, filled(&[("price", 2)], 9)), Fill::Refused, "it was used up");
}

#[test]
fn an_invalidation_kills_the_lease_whatever_it_does_to_the_value() {
    let mut entry = Entry::default();
    entry.look(ms(0), ONE);
    entry.invalidate("price", Some(version(1)));
    assert_eq!(entry.fill(ONE, filled(&[("price", 1)], 9)), Fill::Refused);
    entry.look(ms(0), TWO);
    assert_eq!(entry.fill(TWO, filled(&[("price", 1)], 9)), Fill::Stored);
}

#[test]
fn a_value_stays_that_shows_the_part_at_that_version_or_above() {
    let shows = |part, n: Option<i64>| {
        let mut entry = Entry::default();
        entry.look(ms(0), ONE);
        entry.fill(ONE, filled(&[("price", 3), ("stock/store-1", 7)], 9));
        entry.invalidate(part, n.map(version));
        entry.current().is_some()
    };
    assert!(shows("price", Some(2)));
    assert!(shows("price", Some(3)));
    assert!(!shows("price", Some(4)));
    assert!(shows("stock/store-1", Some(7)));
    assert!(!shows("stock/store-2", Some(1)), "a part that was absent has appeared");
    assert!(!shows("price", None), "no version tells what changed");
}

#[test]
fn what_is_no_longer_current_is_known_until_something_newer_is_filled() {
    let mut entry = Entry::default();
    entry.look(ms(0), ONE);
    entry.fill(ONE, filled(&[("price", 3)], 9));
    entry.invalidate("price", Some(version(4)));
    let last = Some(filled(&[("price", 3)], 9));
    assert_eq!(entry.look(ms(1), TWO), Look::Miss(TWO, last));
    entry.fill(TWO, filled(&[("price", 4)], 9));
    entry.invalidate("price", None);
    assert_eq!(entry.look(ms(2), ONE), Look::Miss(ONE, Some(filled(&[("price", 4)], 9))));
    entry.evict();
    assert_eq!(entry.look(ms(3), TWO), Look::Miss(TWO, None));
}

#[test]
fn a_value_past_its_time_does_not_come_back_when_the_clock_goes_back() {
    let mut entry = Entry::default();
    entry.look(ms(0), ONE);
    entry.fill(ONE, filled(&[], 9));
    assert_eq!(entry.look(ms(9), TWO), Look::Miss(TWO, Some(filled(&[], 9))));
    assert_eq!(entry.look(ms(8), TWO), Look::Miss(TWO, Some(filled(&[], 9))));
}

/// How the cache behind the readers works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// As this module has it.
    Leased,
    /// Plain cache-aside: a miss reads and sets, a change deletes.
    Aside,
}

const PARTS: [&str; 2] = ["price", "stock"];

/// A reader somewhere between its look and its fill.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Reader {
    lease: Lease,
    read: Vec<i64>,
}

/// Owner, cache and readers. The value of the entry is the versions it shows.
#[derive(Debug, Clone)]
struct World {
    rule: Rule,
    owner: [i64; PARTS.len()],
    /// The invalidations that were carried out, as the highest version of each part.
    carried: [i64; PARTS.len()],
    /// The highest versions that were ever shown as current.
    shown: [i64; PARTS.len()],
    entry: Entry<Vec<i64>>,
    readers: [Option<Reader>; 2],
    leases: u128,
    changes: usize,
    evictions: usize,
}

/// What may happen next.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A reader looks, reads its next part, or fills.
    Goes(usize),
    /// The owner changes a part.
    Changes(usize),
    /// The invalidation of some version of a part is carried out, perhaps late, perhaps again.
    Invalidates(usize, i64),
    Evicts,
}

impl World {
    fn new(rule: Rule) -> Self {
        let nothing = [0; PARTS.len()];
        Self {
            rule,
            owner: nothing,
            carried: nothing,
            shown: nothing,
            entry: Entry::default(),
            readers: [None, None],
            leases: 0,
            changes: 0,
            evictions: 0,
        }
    }

    /// Lets it happen; says what a fill led to.
    fn happen(&mut self, event: Event) -> Option<Fill> {
        match event {
            Event::Goes(reader) => return self.go(reader),
            Event::Changes(part) => {
                self.owner[part] += 1;
                self.changes += 1;
            }
            Event::Invalidates(part, n) => {
                self.carried[part] = self.carried[part].max(n);
                match self.rule {
                    Rule::Leased => self.entry.invalidate(PARTS[part], Some(version(n))),
                    Rule::Aside => self.entry.evict(),
                }
            }
            Event::Evicts => {
                self.entry.evict();
                self.evictions += 1;
            }
        }
        None
    }

    fn go(&mut self, number: usize) -> Option<Fill> {
        let Some(reader) = &mut self.readers[number] else {
            self.leases += 1;
            if let Look::Miss(lease, _) = self.entry.look(ms(0), Lease::new(self.leases)) {
                self.readers[number] = Some(Reader { lease, read: Vec::new() });
            }
            return None;
        };
        if reader.read.len() < PARTS.len() {
            reader.read.push(self.owner[reader.read.len()]);
            return None;
        }
        let Reader { lease, read } = self.readers[number].take().unwrap();
        let parts = PARTS.into_iter().zip(&read).map(|(part, n)| (part, version(*n)));
        let vector = parts.filter(|(_, version)| *version > Version::ZERO).collect();
        let filled = Filled { value: read, vector, read_at: ms(0), until: ms(1) };
        if self.rule == Rule::Aside {
            self.entry = Entry { lease: Some(lease), ..Entry::default() };
        }
        Some(self.entry.fill(lease, filled))
    }

    /// Whether a reader would now be given, as current, what is known to be old, or older than what
    /// was given before.
    fn is_wrong(&mut self) -> bool {
        let Some(current) = self.entry.current() else { return false };
        let value = &current.value;
        let below = |floor: &[i64]| value.iter().zip(floor).any(|(shown, floor)| shown < floor);
        let wrong = below(&self.carried) || below(&self.shown);
        self.shown = std::array::from_fn(|part| value[part].max(self.shown[part]));
        wrong
    }

    fn possible(&self) -> Vec<Event> {
        let mut events = vec![Event::Goes(0), Event::Goes(1)];
        if self.changes < 3 {
            events.extend((0..PARTS.len()).map(Event::Changes));
        }
        if self.evictions < 2 {
            events.push(Event::Evicts);
        }
        for (part, newest) in self.owner.into_iter().enumerate() {
            events.extend((1..=newest).map(|n| Event::Invalidates(part, n)));
        }
        events
    }

    /// All that decides about the future; leases only by whether they are the entry's.
    fn fingerprint(&self) -> impl Eq + std::hash::Hash + use<> {
        let current = self.entry.current().map(|filled| filled.value.clone());
        let holds = |reader: &Reader| (self.entry.lease == Some(reader.lease), reader.read.clone());
        let readers = self.readers.each_ref().map(|reader| reader.as_ref().map(holds));
        let leased = self.entry.lease.is_some();
        let bounds = (self.changes, self.evictions);
        (self.owner, self.carried, self.shown, current, leased, readers, bounds)
    }
}

/// What was tried: states, fills that were stored, and fills that were refused.
#[derive(Debug, Default)]
struct Tried {
    states: usize,
    stored: usize,
    refused: usize,
}

/// Tries every order of events; the first that ends wrong, and what was tried.
fn explore(rule: Rule) -> (Option<Vec<Event>>, Tried) {
    let (mut seen, mut tried) = (HashSet::new(), Tried::default());
    let mut open = vec![(World::new(rule), Vec::new())];
    while let Some((world, path)) = open.pop() {
        for event in world.possible() {
            let (mut next, mut path) = (world.clone(), path.clone());
            match next.happen(event) {
                Some(Fill::Stored) => tried.stored += 1,
                Some(Fill::Refused) => tried.refused += 1,
                None => {}
            }
            path.push(event);
            if next.is_wrong() {
                return (Some(path), tried);
            }
            if seen.insert(next.fingerprint()) {
                tried.states += 1;
                open.push((next, path));
            }
        }
    }
    (None, tried)
}

#[test]
fn no_order_of_events_shows_an_old_value_as_current() {
    let (wrong, tried) = explore(Rule::Leased);
    assert!(wrong.is_none(), "{wrong:?}");
    assert!(tried.states > 10_000 && tried.stored > 1_000 && tried.refused > 1_000, "{tried:?}");
}

#[test]
fn a_cache_that_only_deletes_does_show_an_old_value_as_current() {
    let (wrong, tried) = explore(Rule::Aside);
    assert!(wrong.is_some(), "{tried:?}, and none was wrong");
}

fn events() -> impl Strategy<Value = Vec<(u8, u8, u8)>> {
    prop::collection::vec(any::<(u8, u8, u8)>(), 1..400)
}

/// An event drawn by three numbers; an invalidation is of any version that exists by now.
fn drawn(world: &World, (kind, which, age): (u8, u8, u8)) -> Event {
    let part = usize::from(which) % PARTS.len();
    match kind % 16 {
        0..=8 => Event::Goes(usize::from(which) % 2),
        9 | 10 => Event::Changes(part),
        11 => Event::Evicts,
        _ if world.owner[part] == 0 => Event::Changes(part),
        _ => Event::Invalidates(part, (world.owner[part] - i64::from(age % 4)).max(1)),
    }
}

proptest! {
    #[test]
    fn long_runs_never_show_an_old_value_as_current(events in events()) {
        let mut world = World::new(Rule::Leased);
        for event in events {
            world.happen(drawn(&world, event));
            prop_assert!(!world.is_wrong(), "{world:?}");
        }
    }
}
