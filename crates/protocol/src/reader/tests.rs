//! The rules one by one, and a consumer that meets losses, repeats and disorder at random.

use chrono::DateTime;
use contracts::calls::StreamState;
use contracts::{Source, Topic};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn pn(number: i64) -> Pn {
    Pn::try_from(number).unwrap()
}

fn version(number: i64) -> Version {
    Version::try_from(number).unwrap()
}

fn term(number: u128) -> Term {
    Term::new(Uuid::from_u128(number))
}

fn at(number: i64, of: u128) -> Position {
    Position { pn: pn(number), term: term(of) }
}

fn stream() -> Stream {
    Stream::parse("catalog.products.normal").unwrap()
}

fn header(first: i64, last: i64, own: u128, previous: u128) -> Header {
    Header {
        source: Source::parse("catalog").unwrap(),
        stream: stream(),
        first: pn(first),
        last: pn(last),
        term: term(own),
        previous: term(previous),
        head: pn(last),
        time: DateTime::UNIX_EPOCH,
        trace: None,
    }
}

fn state(history: i64, of: i64, content: Option<&str>) -> State {
    let digest = content.map(|content| Digest::of(content.as_bytes()));
    State { stamp: Stamp { history, version: version(of) }, digest }
}

#[test]
fn only_what_follows_the_position_in_its_own_past_connects() {
    for (position, envelope, expected) in [
        (at(0, 1), header(1, 3, 2, 1), Connection::From(0)),
        (at(0, 9), header(1, 3, 2, 1), Connection::Elsewhere),
        (at(4, 2), header(5, 9, 3, 2), Connection::From(0)),
        (at(4, 3), header(5, 9, 3, 2), Connection::Elsewhere),
        (at(6, 3), header(5, 9, 3, 2), Connection::From(2)),
        (at(6, 2), header(5, 9, 3, 2), Connection::Elsewhere),
        (at(8, 3), header(5, 9, 3, 2), Connection::From(4)),
        (at(9, 3), header(5, 9, 3, 2), Connection::Duplicate),
        (at(99, 7), header(5, 9, 3, 2), Connection::Duplicate),
        (at(3, 2), header(5, 9, 3, 2), Connection::Early),
    ] {
        assert_eq!(connect(&position, &envelope), expected, "{position:?} {envelope:?}");
    }
}

#[test]
fn a_change_must_be_newer_and_a_page_row_may_repeat() {
    let stored = state(1, 5, Some("a"));
    for (arriving, change, page) in [
        (state(1, 6, Some("b")), Gate::Wins, Gate::Wins),
        (state(1, 6, None), Gate::Wins, Gate::Wins),
        (state(1, 5, Some("a")), Gate::Stale, Gate::Wins),
        (state(1, 5, Some("b")), Gate::Contradicts, Gate::Repairs),
        (state(1, 5, None), Gate::Contradicts, Gate::Repairs),
        (state(1, 4, Some("b")), Gate::Stale, Gate::Stale),
        (state(2, 1, Some("b")), Gate::Wins, Gate::Wins),
        (state(0, 9, Some("b")), Gate::Stale, Gate::Stale),
    ] {
        assert_eq!(gate(Road::Change, &arriving, Some(&stored)), change, "{arriving:?}");
        assert_eq!(gate(Road::Page, &arriving, Some(&stored)), page, "{arriving:?}");
    }
    assert_eq!(gate(Road::Change, &stored, None), Gate::Wins);
}

#[test]
fn the_reader_runs_when_the_head_is_above_and_nothing_moves() {
    let seen = |head, position, before: Option<i64>, pushes| Sighting {
        head: pn(head),
        position: pn(position),
        before: before.map(pn),
        pushes,
    };
    assert!(!is_due(&seen(5, 5, None, Pushes::Expected)));
    assert!(is_due(&seen(5, 4, None, Pushes::Expected)), "after a start nobody pushes the past");
    assert!(is_due(&seen(5, 4, Some(4), Pushes::Expected)));
    assert!(!is_due(&seen(5, 4, Some(3), Pushes::Expected)));
    assert!(is_due(&seen(5, 4, Some(3), Pushes::Never)));
}

fn answer(root: u128, streams: &[(i64, u128, PositionState)]) -> SyncResponse {
    let streams = streams.iter().map(|(head, of, state)| StreamState {
        stream: stream(),
        topic: Topic::parse("catalog.products").unwrap(),
        head: pn(*head),
        term: term(*of),
        floor: Pn::ZERO,
        state: *state,
    });
    SyncResponse { streams: streams.collect(), root: term(root), term: None }
}

fn asked(number: i64, of: u128) -> calls::Position {
    calls::Position { stream: stream(), pn: pn(number), term: term(of) }
}

#[test]
fn another_past_is_recognised_by_state_by_root_and_by_absence() {
    use PositionState::{BehindFloor, Diverged, Ok};
    let fine = answer(1, &[(5, 2, Ok)]);
    assert_eq!(judge(Some(term(1)), &[asked(4, 2)], &fine), None);
    assert_eq!(judge(None, &[], &fine), Some(Cause::New));
    assert_eq!(judge(Some(term(9)), &[asked(4, 2)], &fine), Some(Cause::Diverged));
    let diverged = answer(1, &[(5, 2, Diverged)]);
    assert_eq!(judge(Some(term(1)), &[asked(4, 2)], &diverged), Some(Cause::Diverged));
    let behind = answer(1, &[(5, 2, BehindFloor)]);
    assert_eq!(judge(Some(term(1)), &[asked(4, 2)], &behind), Some(Cause::BehindFloor));
    let empty = answer(1, &[]);
    assert_eq!(judge(Some(term(1)), &[asked(4, 2)], &empty), Some(Cause::Diverged));
    assert_eq!(judge(Some(term(1)), &[asked(0, 1)], &empty), None);
    assert_eq!(judge(Some(term(1)), &[asked(0, 2)], &empty), Some(Cause::Diverged));
}

#[test]
fn the_heads_of_the_first_sync_are_the_goal_as_long_as_the_source_has_them() {
    use PositionState::Ok;
    let mut goal = Goal::default();
    let stand = |goal: &Goal, number| goal.is_reached(|_| Some(pn(number)));
    assert!(!stand(&goal, 9), "nothing is known yet");
    goal.see(&answer(1, &[(10, 2, Ok)]));
    assert!(!stand(&goal, 9) && stand(&goal, 10));
    assert!(!goal.is_reached(|_| None));
    goal.see(&answer(1, &[(12, 2, Ok)]));
    assert!(stand(&goal, 10), "heads that run ahead are not run after");
    goal.see(&answer(1, &[(5, 3, Ok)]));
    assert!(!stand(&goal, 4) && stand(&goal, 5), "the source was restored");
    goal.see(&answer(1, &[]));
    assert!(goal.is_reached(|_| None), "and no longer has the stream");
}

#[test]
fn only_a_divergence_or_damage_raises_the_history() {
    let raising: Vec<_> =
        [Cause::New, Cause::BehindFloor, Cause::Diverged, Cause::Asked, Cause::Damaged]
            .into_iter()
            .filter(|cause| cause.raises_history())
            .collect();
    assert_eq!(raising, [Cause::Diverged, Cause::Damaged]);
}

#[test]
fn every_phase_is_found_by_its_name() {
    for phase in Phase::ALL {
        assert_eq!(Phase::parse(phase.as_str()), Some(phase));
    }
    assert_eq!(Phase::parse("asleep"), None);
}

#[test]
fn a_page_is_applied_only_above_its_heads_and_in_their_past() {
    let heads = [asked(5, 2)];
    let stand = |position| BTreeMap::from([(stream(), position)]);
    assert_eq!(page(&heads, &BTreeMap::new()), Page::Wait);
    assert_eq!(page(&heads, &stand(at(4, 2))), Page::Wait);
    assert_eq!(page(&heads, &stand(at(5, 2))), Page::Apply);
    assert_eq!(page(&heads, &stand(at(7, 2))), Page::Apply);
    assert_eq!(page(&heads, &stand(at(5, 3))), Page::ReadAgain);
    assert_eq!(page(&heads, &stand(at(7, 3))), Page::ReadAgain);
    assert_eq!(page(&[], &BTreeMap::new()), Page::Apply);
}

/// Kills the process whenever the record at fault is tried; returns (deaths, record set aside).
fn narrow(poison: i64, head: i64, batch: i64) -> (u32, Option<i64>) {
    let (mut position, mut deaths, mut recorded) = (0, 0, None);
    while position < head {
        let last = (position + batch).min(head);
        match attempt(recorded.as_ref(), pn(position + 1), pn(last)) {
            Next::SetAside => return (deaths, Some(position + 1)),
            Next::Try(tried) => {
                let dies = (tried.first.get()..=tried.last.get()).contains(&poison);
                recorded = Some(Attempt { survived: !dies, ..tried });
                deaths += u32::from(dies);
                position = if dies { position } else { tried.last.get() };
            }
        }
    }
    (deaths, None)
}

#[test]
fn a_process_that_was_killed_from_outside_blames_no_record() {
    let mut recorded = None;
    for _ in 0..DEATHS_MAX {
        let next = attempt(recorded.as_ref(), pn(7), pn(7));
        let Next::Try(tried) = next else { panic!("record 7 was blamed: {next:?}") };
        recorded = Some(tried);
    }
    assert_eq!(attempt(recorded.as_ref(), pn(7), pn(7)), Next::SetAside);
    assert_eq!(narrow(0, 500, 100), (0, None));
}

#[derive(Debug, Clone)]
enum Event {
    Append(u8),
    Envelope { first: usize, count: usize },
    Feed { limit: usize },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        (0..6u8).prop_map(Event::Append),
        (0..60usize, 1..8usize).prop_map(|(first, count)| Event::Envelope { first, count }),
        (1..5usize).prop_map(|limit| Event::Feed { limit }),
    ];
    prop::collection::vec(event, 1..120)
}

/// A source that numbers changes, a consumer that follows it, and the outcome of every number.
struct World {
    log: Vec<(Key, i64)>,
    owner: BTreeMap<Key, i64>,
    copy: BTreeMap<Key, State>,
    position: Position,
    applied: i64,
    stale: i64,
}

impl World {
    fn term_of(number: usize) -> u128 {
        if number == 0 { 1 } else { 2 + (number as u128 - 1) / 10 }
    }

    fn append(&mut self, key: u8) {
        let key = Key::parse(&format!("k{key}")).unwrap();
        let next = self.owner.entry(key.clone()).or_default();
        *next += 1;
        self.log.push((key, *next));
    }

    /// Delivers log entries `first..first + count`, as far as they exist and share a term.
    fn deliver(&mut self, first: usize, count: usize) {
        let numbers = first + 1..=(first + count).min(self.log.len());
        let own = Self::term_of(first + 1);
        let numbers: Vec<usize> = numbers.take_while(|n| Self::term_of(*n) == own).collect();
        let (Some(low), Some(high)) = (numbers.first(), numbers.last()) else { return };
        let envelope = header(*low as i64, *high as i64, own, Self::term_of(low - 1));
        if let Connection::From(index) = connect(&self.position, &envelope) {
            self.apply(&numbers[index..], own);
        }
    }

    fn apply(&mut self, numbers: &[usize], own: u128) {
        let batch: Vec<_> = numbers.iter().map(|n| self.log[n - 1].clone()).collect();
        let named = batch.iter().map(|(key, of)| (key, version(*of)));
        for (key, places) in newest_first(named) {
            let (_, newest) = &batch[places[0]];
            let arriving = state(1, *newest, Some(&format!("{key}{newest}")));
            match gate(Road::Change, &arriving, self.copy.get(key)) {
                Gate::Wins => {
                    let before = self.copy.insert(key.clone(), arriving);
                    assert!(before.is_none_or(|before| before.stamp < arriving.stamp));
                    self.applied += 1;
                    self.stale += places.len() as i64 - 1;
                }
                Gate::Stale => self.stale += places.len() as i64,
                other => panic!("{other:?}"),
            }
        }
        self.position = at(*numbers.last().unwrap() as i64, own);
    }

    fn feed(&mut self, limit: usize) {
        let after = usize::try_from(self.position.pn.get()).unwrap();
        self.deliver(after, limit);
    }
}

proptest! {
    #[test]
    fn whatever_is_lost_repeated_or_late_the_copy_converges(events in events()) {
        let mut world = World {
            log: Vec::new(),
            owner: BTreeMap::new(),
            copy: BTreeMap::new(),
            position: at(0, 1),
            applied: 0,
            stale: 0,
        };
        for event in events {
            match event {
                Event::Append(key) => world.append(key),
                Event::Envelope { first, count } => world.deliver(first, count),
                Event::Feed { limit } => world.feed(limit),
            }
            prop_assert_eq!(world.applied + world.stale, world.position.pn.get());
        }
        while world.position.pn.get() < world.log.len() as i64 {
            let before = world.position.pn;
            world.feed(4);
            prop_assert!(world.position.pn > before, "the feed always goes on");
        }
        let copied = world.copy.iter().map(|(key, s)| (key.clone(), s.stamp.version.get()));
        prop_assert_eq!(copied.collect::<BTreeMap<_, _>>(), world.owner);
    }

    #[test]
    fn a_record_that_kills_the_process_ends_alone(
        poison in 1..300i64, more in 0..300i64, batch in 1..128i64,
    ) {
        let (deaths, set_aside) = narrow(poison, poison + more, batch);
        prop_assert_eq!(set_aside, Some(poison));
        prop_assert!(deaths <= 8 + DEATHS_MAX, "{} deaths", deaths);
    }

    #[test]
    fn the_newest_of_a_key_comes_first_and_none_is_forgotten(
        batch in prop::collection::vec((0..4u8, 0..9i64), 0..40),
    ) {
        let batch: Vec<_> = batch
            .into_iter()
            .map(|(key, of)| (Key::parse(&format!("k{key}")).unwrap(), version(of)))
            .collect();
        let groups = newest_first(batch.iter().map(|(key, of)| (key, *of)));
        let mut seen: Vec<usize> = groups.values().flatten().copied().collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..batch.len()).collect::<Vec<_>>());
        for places in groups.values() {
            prop_assert!(places.is_sorted_by_key(|place| std::cmp::Reverse(batch[*place].1)));
        }
    }
}
