//! What a run does in each mode, and what it refuses to do.

use std::time::Duration;

use crate::figures::Lane;

/// Rates beyond it no machine of today keeps up with; asking for one is a slip of the finger.
const RATE_MAX: f64 = 200_000.0;

/// What was asked for.
#[derive(Debug, Clone, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub struct Wanted {
    /// Below 10 minutes.
    #[arg(long)]
    pub quick: bool,
    /// Growth, many consumers, and hours of wear in minutes.
    #[arg(long, conflicts_with = "quick")]
    pub long: bool,
    /// Only scenarios whose names begin so.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub only: Vec<String>,
    /// Rates of the open loop, changes per second.
    #[arg(long, value_delimiter = ',', value_name = "RATES")]
    pub rates: Vec<f64>,
}

/// One thing that a lane is asked to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Import this many products into an empty source.
    Import(u32),
    /// Take this rate for these seconds, after those that are not measured.
    Steady(f64, (f64, f64)),
    /// Take as many as go for these seconds.
    Flood(f64),
    /// Take 1,000/s for these seconds beside an open transaction.
    Held(f64),
    /// Have no consumer for these seconds at 1,000/s, then one that reads what it missed.
    Outage(f64),
    /// Take critical changes while another lane is flooded for these seconds.
    Critical(f64),
    /// Rest for these seconds with a relay.
    Idle(f64),
    /// Take 1,000/s, and as many as go, for these seconds each, with and without a relay, in turn.
    Overhead(f64, u32),
    /// Be found at 1,000/s for these seconds.
    Search(f64),
    /// Hold this many products, then take 1,000/s for these seconds.
    Growth(u32, f64),
    /// Feed this many consumers at 1,000/s for these seconds.
    Consumers(u32, f64),
    /// What `Held` does, for so long that rot would show.
    Rot(f64),
    /// Take this rate for these seconds while something is killed every 20.
    Kills(f64, f64),
}

impl Kind {
    /// The scenario's name.
    pub fn name(self) -> String {
        match self {
            Self::Import(_) => "import".to_owned(),
            Self::Steady(rate, _) => format!("steady-{rate}"),
            Self::Flood(_) => "flood".to_owned(),
            Self::Held(_) => "held".to_owned(),
            Self::Outage(_) => "outage".to_owned(),
            Self::Critical(_) => "lanes".to_owned(),
            Self::Idle(_) => "idle".to_owned(),
            Self::Overhead(..) => "overhead".to_owned(),
            Self::Search(_) => "search".to_owned(),
            Self::Growth(products, _) => format!("growth-{products}"),
            Self::Consumers(count, _) => format!("consumers-{count}"),
            Self::Rot(_) => "rot".to_owned(),
            Self::Kills(..) => "kills".to_owned(),
        }
    }
}

/// One scenario, in which lanes and how often.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// What.
    pub kind: Kind,
    /// How changes travel.
    pub lanes: &'static [Lane],
    /// Clean rounds that are wanted.
    pub rounds: u32,
}

/// Everything that a run does, in the order of one round of one lane.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The mode's name.
    pub mode: &'static str,
    /// The scenarios.
    pub items: Vec<Item>,
    /// Products in each source.
    pub products: u32,
    /// How long each probe of the machine's limits takes.
    pub probe: Duration,
}

const ALL: &[Lane] = &[Lane::Direct, Lane::Dapr, Lane::PlainDapr];
const OURS: &[Lane] = &[Lane::Direct, Lane::Dapr];
const DIRECT: &[Lane] = &[Lane::Direct];
const PRODUCTS: u32 = 100_000;

impl Plan {
    /// The plan that was asked for, or why nobody should want it.
    pub fn of(wanted: &Wanted) -> anyhow::Result<Self> {
        let given = if wanted.rates.is_empty() { None } else { Some(wanted.rates.as_slice()) };
        for rate in given.unwrap_or_default() {
            anyhow::ensure!(
                (1.0..=RATE_MAX).contains(rate),
                "a rate of {rate}/s makes no sense; give 1 to {RATE_MAX} changes per second"
            );
        }
        let mut plan = match (wanted.quick, wanted.long) {
            (true, _) => Self::quick(given),
            (_, true) => Self::long(),
            _ => Self::full(given),
        };
        if !wanted.only.is_empty() {
            let names: Vec<_> = plan.items.iter().map(|item| item.kind.name()).collect();
            plan.items.retain(|item| {
                let name = item.kind.name();
                wanted.only.iter().any(|only| name.starts_with(only.as_str()))
            });
            anyhow::ensure!(
                !plan.items.is_empty(),
                "no scenario begins with {:?}; there are {names:?}",
                wanted.only
            );
        }
        Ok(plan)
    }

    fn quick(rates: Option<&[f64]>) -> Self {
        let rates = rates.unwrap_or(&[1_000.0]);
        let mut items = vec![Item { kind: Kind::Import(PRODUCTS), lanes: OURS, rounds: 3 }];
        items.extend(rates.iter().map(|rate| Item {
            kind: Kind::Steady(*rate, (1.0, 6.0)),
            lanes: ALL,
            rounds: 3,
        }));
        items.extend([
            Item { kind: Kind::Flood(6.0), lanes: ALL, rounds: 3 },
            Item { kind: Kind::Held(8.0), lanes: DIRECT, rounds: 1 },
            Item { kind: Kind::Outage(10.0), lanes: DIRECT, rounds: 1 },
            Item { kind: Kind::Critical(6.0), lanes: DIRECT, rounds: 1 },
            Item { kind: Kind::Overhead(3.0, 2), lanes: DIRECT, rounds: 1 },
            Item { kind: Kind::Idle(8.0), lanes: DIRECT, rounds: 1 },
            Item { kind: Kind::Search(15.0), lanes: DIRECT, rounds: 1 },
        ]);
        let probe = Duration::from_secs(1);
        Self { mode: "quick", items, products: PRODUCTS, probe }
    }

    fn full(rates: Option<&[f64]>) -> Self {
        let rates = rates.unwrap_or(&[500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0]);
        let mut items = vec![Item { kind: Kind::Import(PRODUCTS), lanes: OURS, rounds: 3 }];
        for rate in rates {
            // All of it for the rates of which something is wanted; the others show the curve.
            let is_target = [1_000.0, 10_000.0].contains(rate);
            let seconds = if is_target { (5.0, 30.0) } else { (3.0, 15.0) };
            let lanes = if *rate <= 1_000.0 { ALL } else { OURS };
            items.push(Item { kind: Kind::Steady(*rate, seconds), lanes, rounds: 3 });
        }
        items.extend([
            Item { kind: Kind::Flood(10.0), lanes: ALL, rounds: 3 },
            Item { kind: Kind::Held(60.0), lanes: OURS, rounds: 1 },
            Item { kind: Kind::Outage(60.0), lanes: OURS, rounds: 1 },
            Item { kind: Kind::Critical(15.0), lanes: OURS, rounds: 1 },
            Item { kind: Kind::Overhead(8.0, 3), lanes: DIRECT, rounds: 1 },
            Item { kind: Kind::Idle(20.0), lanes: OURS, rounds: 1 },
            Item { kind: Kind::Search(30.0), lanes: DIRECT, rounds: 1 },
        ]);
        let probe = Duration::from_secs(2);
        Self { mode: "full", items, products: PRODUCTS, probe }
    }
}

impl Plan {
    /// Wear, in a fresh lane for each.
    fn long() -> Self {
        let steady = Kind::Steady(1_000.0, (5.0, 30.0));
        let mut items = vec![
            Item { kind: steady, lanes: DIRECT, rounds: 1 },
            Item { kind: Kind::Rot(600.0), lanes: DIRECT, rounds: 1 },
            Item { kind: Kind::Kills(3_000.0, 370.0), lanes: DIRECT, rounds: 1 },
        ];
        let growth = [10_000, 100_000, 500_000, 2_000_000];
        items.extend(growth.map(|products| Item {
            kind: Kind::Growth(products, 20.0),
            lanes: DIRECT,
            rounds: 1,
        }));
        items.extend([1, 2, 4, 8].map(|count| Item {
            kind: Kind::Consumers(count, 20.0),
            lanes: DIRECT,
            rounds: 1,
        }));
        Self { mode: "long", items, products: PRODUCTS, probe: Duration::from_secs(2) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted { quick: true, long: false, only: Vec::new(), rates: Vec::new() }
    }

    #[test]
    fn an_absurd_rate_is_refused_before_anything_is_started() {
        for rate in [0.0, -5.0, 1e9, f64::NAN] {
            let wanted = Wanted { rates: vec![rate], ..wanted() };
            assert!(Plan::of(&wanted).is_err(), "{rate}");
        }
        assert!(Plan::of(&Wanted { rates: vec![250.0], ..wanted() }).is_ok());
    }

    #[test]
    fn only_what_was_named_is_done() {
        let named = |only: &str| {
            let plan = Plan::of(&Wanted { only: vec![only.to_owned()], ..wanted() });
            plan.map(|plan| plan.items.iter().map(|item| item.kind.name()).collect::<Vec<_>>())
        };
        assert_eq!(named("steady").unwrap(), ["steady-1000"]);
        assert!(named("stedy").is_err());
    }
}
