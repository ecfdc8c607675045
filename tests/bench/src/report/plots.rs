//! Plots of a run as SVG: small, and readable on a light page and on a dark one.

use std::collections::BTreeSet;

use super::number::number;
use super::spread::{Group, applied, cpu_sum, measured, scenarios, steady_rate};
use crate::figures::{Lane, Latency, Round, Run, State};

mod canvas;

use canvas::{Axis, Canvas, Dash, Frame, Side, Style};

/// A drawing and the name of its file without ending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plot {
    /// For example `latency`.
    pub name: &'static str,
    /// The whole drawing.
    pub svg: String,
}

/// What can be drawn of a run; nothing of a stalled one.
pub fn plots(run: &Run) -> Vec<Plot> {
    if run.state == State::Invalid {
        return Vec::new();
    }
    let drawn = [("latency", latency(run)), ("rates", rates(run)), ("cpu", cpu(run))];
    drawn.into_iter().filter_map(|(name, svg)| Some(Plot { name, svg: svg? })).collect()
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 400.0;

/// One of the figures of a latency.
type Percentile = fn(Latency) -> f64;

/// Percentiles of the latency plot with the manner of their lines.
const PERCENTILES: [(&str, Percentile, Dash); 3] = [
    ("P50", |latency| latency.p50, Dash::Solid),
    ("P95", |latency| latency.p95, Dash::Long),
    ("P99", |latency| latency.p99, Dash::Short),
];

/// Processes in the order in which a change meets them, which is the order of a bar.
const PROCESSES: [&str; 8] =
    ["writer", "postgres", "relay", "relay-daprd", "redis", "consumer-daprd", "consumer", "cache"];

/// A line of points: what is offered, and what was measured at that rate.
struct Line {
    lane: Lane,
    dash: Dash,
    points: Vec<(f64, f64)>,
}

fn latency(run: &Run) -> Option<String> {
    let mut lines = Vec::new();
    for lane in Lane::ALL {
        for (_, pick, dash) in PERCENTILES {
            let figure = move |round: &Round| measured(round.figures.commit_to_applied).map(pick);
            lines.push(Line { lane, dash, points: points(run, lane, figure) });
        }
    }
    let mut canvas = line_chart(&lines, &title(run, "Commit to applied, in ms, by offered rate"))?;
    let keys = PERCENTILES.iter().map(|(name, _, dash)| (*name, *dash));
    for (at, (name, dash)) in (0_u8..).zip(keys) {
        let x = 420.0 + 80.0 * f64::from(at);
        canvas.line([(x, 42.0), (x + 26.0, 42.0)], Style::Axis, dash);
        canvas.text((x + 32.0, 46.0), Side::Left, name);
    }
    Some(canvas.svg())
}

fn rates(run: &Run) -> Option<String> {
    let of_lane = |lane| Line { lane, dash: Dash::Solid, points: points(run, lane, applied) };
    let lines = Lane::ALL.map(of_lane);
    let mut canvas = line_chart(&lines, &title(run, "Applied per second, by offered rate"))?;
    canvas.line([(500.0, 42.0), (526.0, 42.0)], Style::Axis, Dash::Short);
    canvas.text((532.0, 46.0), Side::Left, "all that was offered");
    let frame = frame(&lines)?;
    let low = frame.x.from.max(frame.y.from);
    let high = frame.x.to.min(frame.y.to);
    if low < high {
        canvas.line([frame.at(low, low), frame.at(high, high)], Style::Axis, Dash::Short);
    }
    Some(canvas.svg())
}

fn title(run: &Run, what: &str) -> String {
    match run.state {
        State::Partial => format!("PARTIAL: {what}"),
        State::Complete | State::Invalid => what.to_owned(),
    }
}

/// One point for each steady rate at which the lane has a clean round, by rising rate.
fn points(run: &Run, lane: Lane, figure: impl Fn(&Round) -> Option<f64>) -> Vec<(f64, f64)> {
    let point = |name| {
        let rate = f64::from(steady_rate(name)?);
        let median = Group::of(&run.rounds, name, lane).median(&figure)?;
        (median > 0.0).then_some((rate, median))
    };
    let mut points: Vec<_> = scenarios(&run.rounds).into_iter().filter_map(point).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

/// The frame in which all points have a place; none if there is no point.
fn frame(lines: &[Line]) -> Option<Frame> {
    let all = || lines.iter().flat_map(|line| &line.points);
    let x = Axis::around(all().map(|(x, _)| *x), (70.0, WIDTH - 20.0))?;
    let y = Axis::around(all().map(|(_, y)| *y), (HEIGHT - 40.0, 64.0))?;
    Some(Frame { x, y })
}

fn line_chart(lines: &[Line], title: &str) -> Option<Canvas> {
    let frame = frame(lines)?;
    let mut canvas = Canvas::new(WIDTH, HEIGHT, title);
    let rates: BTreeSet<u64> = lines
        .iter()
        .flat_map(|line| &line.points)
        .filter_map(|(rate, _)| number(*rate).replace(',', "").parse().ok())
        .collect();
    for tick in frame.y.ticks() {
        let (_, y) = frame.at(frame.x.from, tick);
        canvas.line([(70.0, y), (WIDTH - 20.0, y)], Style::Grid, Dash::Solid);
        canvas.text((62.0, y + 4.0), Side::Right, &number(tick));
    }
    for rate in rates {
        let rate = rate as f64;
        let (x, _) = frame.at(rate, frame.y.from);
        canvas.line([(x, HEIGHT - 40.0), (x, HEIGHT - 34.0)], Style::Axis, Dash::Solid);
        canvas.text((x, HEIGHT - 18.0), Side::Middle, &format!("{}/s", number(rate)));
    }
    let mut keys = 0.0;
    for (colour, lane) in (0_usize..).zip(Lane::ALL) {
        let of_lane: Vec<_> =
            lines.iter().filter(|line| line.lane == lane && !line.points.is_empty()).collect();
        if of_lane.is_empty() {
            continue;
        }
        let x = 70.0 + keys * 110.0;
        canvas.bar((x, 36.0), (12.0, 12.0), colour);
        canvas.text((x + 18.0, 46.0), Side::Left, lane.name());
        keys += 1.0;
        for line in of_lane {
            let points: Vec<_> = line.points.iter().map(|(x, y)| frame.at(*x, *y)).collect();
            canvas.series(&points, colour, line.dash);
        }
    }
    Some(canvas)
}

/// A bar for each scenario and lane, made of the share of each process.
fn cpu(run: &Run) -> Option<String> {
    let groups: Vec<_> = scenarios(&run.rounds)
        .into_iter()
        .flat_map(|name| Lane::ALL.map(|lane| Group::of(&run.rounds, name, lane)))
        .filter(|group| group.median(cpu_sum).is_some_and(|sum| sum > 0.0))
        .collect();
    let processes = processes(&groups);
    let share = |group: &Group<'_>, name: &str| {
        group.median(|round| round.figures.cpu_us.get(name).copied()).unwrap_or(0.0)
    };
    let total = |group: &Group<'_>| processes.iter().map(|name| share(group, name)).sum::<f64>();
    let longest = groups.iter().map(total).max_by(f64::total_cmp)?;
    let (left, top, row) = (170.0, 84.0, 24.0);
    let width = WIDTH - left - 70.0;
    let height = top + row * groups.len() as f64 + 12.0;
    let what = title(run, "Processor per change, in µs, by process");
    let mut canvas = Canvas::new(WIDTH, height, &what);
    for (at, name) in processes.iter().enumerate() {
        let (x, y) = (20.0 + 145.0 * (at % 5) as f64, 36.0 + 20.0 * (at / 5) as f64);
        canvas.bar((x, y), (12.0, 12.0), at);
        canvas.text((x + 18.0, y + 10.0), Side::Left, name);
    }
    for (at, group) in groups.iter().enumerate() {
        let y = top + row * at as f64;
        let label = format!("{} {}", group.scenario, group.lane.name());
        canvas.text((left - 8.0, y + 13.0), Side::Right, &label);
        let mut x = left;
        for (colour, name) in processes.iter().enumerate() {
            let long = share(group, name) / longest * width;
            if long > 0.0 {
                canvas.bar((x, y), (long, row - 6.0), colour);
            }
            x += long;
        }
        canvas.text((x + 6.0, y + 13.0), Side::Left, &number(total(group)));
    }
    Some(canvas.svg())
}

/// The processes that cost something: the known ones in their order, then others by name.
fn processes<'a>(groups: &'a [Group<'a>]) -> Vec<&'a str> {
    let rounds = groups.iter().flat_map(|group| &group.clean);
    let names: BTreeSet<&str> =
        rounds.flat_map(|round| round.figures.cpu_us.keys().map(String::as_str)).collect();
    let known = PROCESSES.into_iter().filter(|name| names.contains(name));
    let others = names.iter().copied().filter(|name| !PROCESSES.contains(name));
    known.chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn drawn(run: &Run, name: &str) -> String {
        plots(run).into_iter().find(|plot| plot.name == name).unwrap().svg
    }

    #[test]
    fn a_line_for_each_lane_and_percentile() {
        let svg = drawn(&sample::run(), "latency");
        assert_eq!(svg.matches("<polyline").count(), 9);
        assert_eq!(svg.matches("<circle").count(), 9 * 3);
        for word in ["direct", "Dapr", "plain", "P50", "P99", "10,000/s", "500/s"] {
            assert!(svg.contains(&format!(">{word}<")), "{word}");
        }
    }

    #[test]
    fn applied_stands_against_offered() {
        let svg = drawn(&sample::run(), "rates");
        assert_eq!(svg.matches("<polyline").count(), 3);
        assert!(svg.contains(">all that was offered<"));
    }

    #[test]
    fn a_bar_is_as_long_as_its_processes_together() {
        let mut run = sample::run();
        run.rounds.retain(|round| round.scenario == "flood" && round.lane != Lane::PlainDapr);
        for round in run.rounds.iter_mut().filter(|round| round.lane == Lane::Dapr) {
            round.figures.cpu_us = sample::named([("relay", 33.0), ("relay-daprd", 33.0)]);
        }
        let svg = drawn(&run, "cpu");
        let bars: Vec<f64> = svg
            .split("<rect")
            .filter(|rect| rect.contains("height=\"18.0\""))
            .filter_map(|rect| rect.split_once(" width=\"")?.1.split_once('"')?.0.parse().ok())
            .collect();
        let (direct, dapr) = bars.split_at(4);
        let [direct, dapr] = [direct, dapr].map(|bars| bars.iter().sum::<f64>());
        assert!((dapr / direct - 0.5).abs() < 0.01, "{bars:?}");
        assert!(svg.contains(">132<") && svg.contains(">66<"));
    }

    #[test]
    fn drawings_are_small_well_formed_and_fit_a_dark_page() {
        for plot in plots(&sample::run()) {
            assert!(plot.svg.len() < 20_000, "{} {}", plot.name, plot.svg.len());
            assert!(plot.svg.contains("prefers-color-scheme:dark"));
            assert!(!plot.svg.contains("NaN") && !plot.svg.contains("inf"));
            let (opened, closed) = (plot.svg.matches('<').count(), plot.svg.matches('>').count());
            assert_eq!(opened, closed);
        }
    }

    #[test]
    fn a_stalled_or_empty_run_has_no_plot() {
        assert!(plots(&sample::invalid()).is_empty());
        let mut run = sample::run();
        run.rounds.clear();
        assert!(plots(&run).is_empty());
        run = sample::run();
        run.state = State::Partial;
        assert!(drawn(&run, "cpu").contains(">PARTIAL: Processor"));
    }
}
