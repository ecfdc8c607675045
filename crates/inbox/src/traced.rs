//! Which trace a dirty key belongs to, as far as this process applied its change lately.
//!
//! In memory alone: a trace is a help, and not worth a column that every change would have to fill.

use std::collections::VecDeque;

use contracts::{Pn, Stream, TraceContext};

/// So many batches are remembered; who cleans their keys later goes on with none of them.
const BATCHES_MAX: usize = 64;

/// The newest batches that somebody records and that marked keys dirty.
#[derive(Debug, Default)]
pub(crate) struct TracedBatches(VecDeque<Traced>);

#[derive(Debug)]
struct Traced {
    stream: Stream,
    numbers: (Pn, Pn),
    trace: TraceContext,
}

impl TracedBatches {
    /// This batch marked keys dirty; it is remembered if somebody records it.
    pub(crate) fn note(&mut self, stream: &Stream, numbers: (Pn, Pn), trace: TraceContext) {
        if !trace.is_sampled() {
            return;
        }
        if self.0.len() == BATCHES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Traced { stream: stream.clone(), numbers, trace });
    }

    /// The traces of the batches that hold one of these numbers, which are asked for by stream.
    pub(crate) fn of<'a>(
        &self,
        marks: &(impl Iterator<Item = (&'a str, i64)> + Clone),
    ) -> Vec<TraceContext> {
        let holding = self.0.iter().filter(|batch| {
            let (first, last) = batch.numbers;
            marks.clone().any(|(stream, pn)| {
                stream == batch.stream.as_str() && (first.get()..=last.get()).contains(&pn)
            })
        });
        holding.map(|batch| batch.trace.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use contracts::{Lane, Topic};

    use super::*;

    fn trace(number: usize, flags: &str) -> TraceContext {
        let text = format!("00-{:032x}-{:016x}-{flags}", number + 1, number + 1);
        TraceContext::parse(&text).unwrap()
    }

    #[test]
    fn a_key_belongs_to_the_batch_that_marked_it_until_others_took_its_place() {
        let stream = Stream::new(&Topic::parse("shop.items").unwrap(), Lane::Normal);
        let pn = |number| Pn::try_from(number).unwrap();
        let mut traced = TracedBatches::default();
        traced.note(&stream, (pn(1), pn(3)), trace(1, "01"));
        traced.note(&stream, (pn(4), pn(4)), trace(2, "00"));
        let of =
            |traced: &TracedBatches, number| traced.of(&[(stream.as_str(), number)].into_iter());
        assert_eq!(of(&traced, 3), [trace(1, "01")]);
        assert_eq!(of(&traced, 4), [], "nobody records it");
        assert_eq!(traced.of(&[("shop.items.bulk", 3)].into_iter()), []);
        for number in 0..BATCHES_MAX {
            let at = pn(i64::try_from(number).unwrap() + 5);
            traced.note(&stream, (at, at), trace(number, "01"));
        }
        assert_eq!(of(&traced, 3), []);
    }
}
