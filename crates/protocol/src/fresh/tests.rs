//! The rules one by one, and a copy that lags, repeats, diverges and is loaded anew at random.

use contracts::Topic;
use contracts::calls::StreamState;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn pn(number: i64) -> Pn {
    Pn::try_from(number).unwrap()
}

fn term(number: u128) -> Term {
    Term::new(Uuid::from_u128(number))
}

fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

fn stream(lane: &str) -> Stream {
    Stream::parse(&format!("catalog.products.{lane}")).unwrap()
}

fn state(lane: &str, head: i64, of: u128, state: PositionState) -> StreamState {
    StreamState {
        stream: stream(lane),
        topic: Topic::parse("catalog.products").unwrap(),
        head: pn(head),
        term: term(of),
        floor: Pn::ZERO,
        state,
    }
}

fn answer(streams: Vec<StreamState>) -> SyncResponse {
    SyncResponse { streams, root: term(1), term: None }
}

fn heads(head: i64, of: u128) -> SyncResponse {
    answer(vec![state("normal", head, of, PositionState::Ok)])
}

fn at(number: i64, of: u128, low: Option<i64>) -> Settled {
    Settled { position: Position { pn: pn(number), term: term(of) }, low: low.map(pn) }
}

fn sight(settled: Settled) -> Sight {
    Sight {
        phase: Phase::Serving,
        rebuild: 1,
        streams: BTreeMap::from([(stream("normal"), settled)]),
        has_unnumbered: false,
    }
}

/// After one call that started at 100 ms and found the head at 5 in term 2.
fn clean_after(sight: &Sight) -> Option<Duration> {
    let mut clean = Clean::default();
    clean.answered(ms(100), 1, &heads(5, 2));
    clean.seen(sight);
    clean.at()
}

#[test]
fn a_call_is_clean_once_its_heads_are_reached_with_their_terms_and_nothing_below_is_dirty() {
    for (settled, expected) in [
        (at(5, 2, None), Some(ms(100))),
        (at(9, 2, None), Some(ms(100))),
        (at(9, 2, Some(6)), Some(ms(100))),
        (at(4, 2, None), None),
        (at(5, 3, None), None),
        (at(9, 3, None), None),
        (at(9, 2, Some(5)), None),
        (at(9, 2, Some(1)), None),
    ] {
        assert_eq!(clean_after(&sight(settled)), expected, "{settled:?}");
    }
}

#[test]
fn a_key_that_was_marked_without_a_number_counts_as_below_every_head() {
    let sight = Sight { has_unnumbered: true, ..sight(at(9, 2, None)) };
    assert_eq!(clean_after(&sight), None);
}

#[test]
fn a_stream_without_a_position_is_not_reached() {
    let sight = Sight { streams: BTreeMap::new(), ..sight(at(9, 2, None)) };
    assert_eq!(clean_after(&sight), None);
}

#[test]
fn no_moment_becomes_clean_while_a_copy_is_loaded_or_stands_still() {
    for phase in Phase::ALL {
        let sight = Sight { phase, ..sight(at(5, 2, None)) };
        assert_eq!(clean_after(&sight).is_some(), phase == Phase::Serving, "{phase:?}");
    }
    let anew = Sight { rebuild: 2, ..sight(at(5, 2, None)) };
    assert_eq!(clean_after(&anew), None, "a call counts only for the copy it was made for");
    for trouble in [PositionState::BehindFloor, PositionState::Diverged] {
        let mut clean = Clean::default();
        clean.answered(ms(100), 1, &heads(5, 2));
        clean.answered(ms(200), 1, &answer(vec![state("normal", 5, 2, trouble)]));
        clean.seen(&sight(at(5, 2, None)));
        assert_eq!(clean.at(), None, "{trouble:?}");
    }
}

#[test]
fn every_stream_of_the_topic_counts() {
    let both = answer(vec![
        state("critical", 3, 2, PositionState::Ok),
        state("normal", 5, 2, PositionState::Ok),
    ]);
    let mut clean = Clean::default();
    clean.answered(ms(100), 1, &both);
    let mut sight = sight(at(5, 2, None));
    sight.streams.insert(stream("critical"), at(2, 2, None));
    clean.seen(&sight);
    assert_eq!(clean.at(), None);
    sight.streams.insert(stream("critical"), at(3, 2, None));
    clean.seen(&sight);
    assert_eq!(clean.at(), Some(ms(100)));
    assert!(!clean.is_waiting());
}

#[test]
fn the_newest_call_that_is_reached_counts_and_none_takes_the_moment_back() {
    let mut clean = Clean::default();
    for (started, head) in [(100, 5), (200, 7), (300, 9)] {
        clean.answered(ms(started), 1, &heads(head, 2));
    }
    clean.seen(&sight(at(8, 2, None)));
    assert_eq!(clean.at(), Some(ms(200)));
    assert!(clean.is_waiting());
    clean.seen(&sight(at(9, 2, None)));
    assert_eq!(clean.at(), Some(ms(300)));
    clean.answered(ms(250), 1, &heads(9, 2));
    clean.seen(&sight(at(9, 2, None)));
    assert_eq!(clean.at(), Some(ms(300)));
}

#[test]
fn a_copy_that_is_always_behind_still_gets_on_and_little_is_remembered() {
    let mut clean = Clean::default();
    for second in 1..=1_000 {
        clean.answered(ms(second * 1_000), 1, &heads(i64::try_from(second).unwrap(), 2));
        assert!(clean.calls.len() <= CALLS_MAX);
        if let Some(behind) = second.checked_sub(30).filter(|behind| *behind > 0) {
            clean.seen(&sight(at(i64::try_from(behind).unwrap(), 2, None)));
            if second > 100 {
                let age = ms(second * 1_000).saturating_sub(clean.at().unwrap());
                assert!(age <= ms(90_000), "{age:?} while it is 30 s behind");
            }
        }
    }
}

#[test]
fn the_source_that_was_clean_longest_ago_decides() {
    let bound = ms(1_000);
    let of = |clean_at: [Option<u64>; 2]| {
        let clean_at = clean_at.map(|at| at.map(ms));
        freshness(ms(5_000), &Ground::Found { clean_at }, bound)
    };
    assert_eq!(of([Some(4_900), Some(4_000)]), Freshness::Fresh { age: ms(1_000) });
    assert_eq!(of([Some(4_900), Some(3_999)]), Freshness::Stale { age: Some(ms(1_001)) });
    assert_eq!(of([Some(4_900), None]), Freshness::Stale { age: None });
    assert_eq!(of([Some(6_000), Some(6_000)]), Freshness::Fresh { age: Duration::ZERO });
}

#[test]
fn what_one_reads_oneself_counts_from_its_beginning_and_an_old_copy_never() {
    let of = |ground: Ground<1>| freshness(ms(5_000), &ground, ms(1_000));
    assert_eq!(of(Ground::Read { began: ms(4_000) }), Freshness::Fresh { age: ms(1_000) });
    let late = Freshness::Stale { age: Some(ms(1_001)) };
    assert_eq!(of(Ground::Read { began: ms(3_999) }), late);
    assert_eq!(of(Ground::Old), Freshness::Stale { age: None });
}

/// What may happen next to a source, its copy and the keys that the copy made dirty.
#[derive(Debug, Clone, Copy)]
enum Event {
    Commit,
    Call,
    Answer,
    Apply,
    ApplyAll,
    CleanLowest,
    CleanAll,
    Look,
    Seen,
    FailOver { lost: usize },
    Rebuild,
    Page,
    Serve,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Commit),
        3 => Just(Event::Call),
        4 => Just(Event::Answer),
        3 => Just(Event::Apply),
        2 => Just(Event::ApplyAll),
        2 => Just(Event::CleanLowest),
        2 => Just(Event::CleanAll),
        4 => Just(Event::Look),
        4 => Just(Event::Seen),
        1 => (0_usize..3).prop_map(|lost| Event::FailOver { lost }),
        1 => Just(Event::Rebuild),
        1 => Just(Event::Page),
        1 => Just(Event::Serve),
    ]
}

/// One change at the source: who it is, in which term it was numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Commit {
    id: u64,
    term: u128,
}

/// A source with one stream, its copy and its dirty keys; time goes on with every event.
#[derive(Debug, Default)]
struct World {
    now: u64,
    ids: u64,
    term: u128,
    /// The source: number n is at place n - 1.
    source: Vec<Commit>,
    /// What the source held at each time.
    past: BTreeMap<u64, Vec<Commit>>,
    /// The copy: what it applied, and which of its numbers have yet to be noticed.
    copy: Vec<Commit>,
    dirty: Vec<i64>,
    pages: bool,
    phase: Option<Phase>,
    rebuild: i64,
    call: Option<(u64, i64, Vec<Commit>)>,
    look: Option<Sight>,
}

impl World {
    fn tip(&self) -> Settled {
        let position = (i64::try_from(self.copy.len()).unwrap(), self.copy.last());
        at(position.0, position.1.map_or(1, |last| last.term), self.dirty.iter().min().copied())
    }

    fn is_serving(&self) -> bool {
        self.phase.is_none_or(|phase| phase == Phase::Serving)
    }

    fn is_same_past(&self) -> bool {
        self.copy.len() <= self.source.len() && self.source.starts_with(&self.copy)
    }

    fn step(&mut self, event: Event, clean: &mut Clean) {
        self.now += 1;
        match event {
            Event::Commit => {
                self.ids += 1;
                self.source.push(Commit { id: self.ids, term: self.term + 2 });
            }
            Event::Call => self.call = Some((self.now, self.rebuild, self.copy.clone())),
            Event::Answer => self.answer(clean),
            Event::Apply | Event::ApplyAll => {
                let most = if matches!(event, Event::Apply) { 1 } else { usize::MAX };
                if self.is_same_past() {
                    let new: Vec<_> =
                        self.source.iter().skip(self.copy.len()).take(most).copied().collect();
                    for commit in new {
                        self.copy.push(commit);
                        self.dirty.push(i64::try_from(self.copy.len()).unwrap());
                    }
                }
            }
            Event::CleanLowest => {
                let lowest = self.dirty.iter().min().copied();
                self.dirty.retain(|number| Some(*number) != lowest);
            }
            Event::CleanAll => {
                self.dirty.clear();
                self.pages = false;
            }
            Event::Look => {
                self.look = Some(Sight {
                    phase: self.phase.unwrap_or(Phase::Serving),
                    rebuild: self.rebuild,
                    has_unnumbered: self.pages,
                    ..sight(self.tip())
                });
            }
            // Perhaps long after the look: whatever it saw as settled is so still.
            Event::Seen => {
                if let Some(sight) = self.look.take() {
                    clean.seen(&sight);
                }
            }
            Event::FailOver { lost } => {
                self.source.truncate(self.source.len().saturating_sub(lost));
                self.term += 1;
            }
            Event::Rebuild => {
                self.copy.clone_from(&self.source);
                self.rebuild += 1;
                self.pages = true;
                self.phase = Some(Phase::Loading);
            }
            Event::Page => self.pages |= !self.is_serving(),
            Event::Serve => self.phase = Some(Phase::Serving),
        }
        self.past.insert(self.now, self.source.clone());
    }

    fn answer(&mut self, clean: &mut Clean) {
        let Some((started, rebuild, asked)) = self.call.take() else { return };
        let holds = asked.len() <= self.source.len() && self.source.starts_with(&asked);
        let state_now = if holds { PositionState::Ok } else { PositionState::Diverged };
        let head = i64::try_from(self.source.len()).unwrap();
        let of = self.source.last().map_or(1, |last| last.term);
        let answer = answer(vec![state("normal", head, of, state_now)]);
        // What is known of the copy when the answer is there was looked at before the call.
        if self.is_serving() {
            clean.answered(ms(started), rebuild, &answer);
        } else {
            clean.stand();
        }
    }

    /// Whether everything that the source held at that time has taken effect: it is applied, unless
    /// the source itself has lost it since, and its keys are clean.
    fn is_settled(&self, moment: u64) -> bool {
        let held = self.past.range(..=moment).next_back().map_or(&[][..], |(_, held)| held);
        held.iter().enumerate().all(|(place, commit)| {
            let number = i64::try_from(place + 1).unwrap();
            let is_lost = self
                .past
                .values()
                .skip_while(|held| !held.contains(commit))
                .any(|held| !held.contains(commit));
            let is_applied = self.copy.get(place) == Some(commit);
            is_lost || (is_applied && !self.dirty.contains(&number))
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_was_committed_before_a_clean_moment_has_taken_effect(
        events in proptest::collection::vec(event(), 1..120)
    ) {
        let (mut world, mut clean) = (World::default(), Clean::default());
        let mut before = None;
        for event in events {
            let looked = world.look.clone();
            world.step(event, &mut clean);
            prop_assert!(clean.at() >= before, "the moment went back");
            if clean.at() > before {
                // Only a look makes a moment clean, and what it saw stays so.
                prop_assert!(looked.is_some());
                let moment = u64::try_from(clean.at().unwrap().as_millis()).unwrap();
                prop_assert!(world.is_settled(moment), "{moment} is not settled: {world:?}");
            }
            before = clean.at();
        }
    }

    #[test]
    fn at_rest_the_next_call_is_clean(events in proptest::collection::vec(event(), 0..60)) {
        let (mut world, mut clean) = (World::default(), Clean::default());
        for event in events {
            world.step(event, &mut clean);
        }
        for event in [
            Event::Rebuild, Event::Serve, Event::ApplyAll, Event::CleanAll, Event::Call,
            Event::Answer, Event::Look, Event::Seen,
        ] {
            world.step(event, &mut clean);
        }
        prop_assert_eq!(clean.at(), Some(ms(world.now - 3)));
        prop_assert!(!clean.is_waiting());
    }
}
