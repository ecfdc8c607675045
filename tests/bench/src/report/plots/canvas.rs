//! Drawing by hand: lines, bars and words as SVG, in colours for a light and for a dark page.

use std::fmt::Write as _;

/// Colours of the series: on a light page, on a dark one.
const COLOURS: [(&str, &str); 9] = [
    ("#2a6fdb", "#6cb6ff"),
    ("#c2570c", "#f69d50"),
    ("#1a7f37", "#57ab5a"),
    ("#8250df", "#b083f0"),
    ("#bf3989", "#e275ad"),
    ("#0b7285", "#39c5cf"),
    ("#8a5a00", "#daaa3f"),
    ("#5b4bc4", "#9a94f5"),
    ("#6e7781", "#909dab"),
];

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dash {
    /// Without gaps.
    Solid,
    /// In long strokes.
    Long,
    /// In short strokes.
    Short,
}

impl Dash {
    const fn attribute(self) -> &'static str {
        match self {
            Self::Solid => "",
            Self::Long => " stroke-dasharray=\"8 4\"",
            Self::Short => " stroke-dasharray=\"2 4\"",
        }
    }
}

/// What a line that shows no figure is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Helps the eye.
    Grid,
    /// Bounds or explains.
    Axis,
}

/// The side of a text at which its place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Its place is where it begins.
    Left,
    /// Its place is in its middle.
    Middle,
    /// Its place is where it ends.
    Right,
}

/// A logarithmic axis: figures of the run are orders of magnitude apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Axis {
    /// The smallest figure with a place.
    pub(crate) from: f64,
    /// The largest.
    pub(crate) to: f64,
    /// Where both are drawn.
    pixels: (f64, f64),
}

impl Axis {
    /// An axis on which all these positive figures have a place and some air around them.
    pub(crate) fn around(figures: impl Iterator<Item = f64>, pixels: (f64, f64)) -> Option<Self> {
        let ends = figures.fold(None, |ends: Option<(f64, f64)>, figure| {
            Some(ends.map_or((figure, figure), |(low, high)| (low.min(figure), high.max(figure))))
        });
        let (low, high) = ends?;
        Some(Self { from: low / 1.3, to: high * 1.3, pixels })
    }

    fn at(&self, figure: f64) -> f64 {
        let share = (figure / self.from).ln() / (self.to / self.from).ln();
        self.pixels.0 + share * (self.pixels.1 - self.pixels.0)
    }

    /// The figures 1, 2 and 5 of each order of magnitude that have a place.
    pub(crate) fn ticks(&self) -> Vec<f64> {
        let orders = (-4..=9).flat_map(|order| [1.0, 2.0, 5.0].map(|one| one * 10_f64.powi(order)));
        orders.filter(|tick| (self.from..=self.to).contains(tick)).collect()
    }
}

/// Where points lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Frame {
    /// From left to right.
    pub(crate) x: Axis,
    /// From the foot to the head.
    pub(crate) y: Axis,
}

impl Frame {
    /// The place of a point.
    pub(crate) fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (self.x.at(x), self.y.at(y))
    }
}

/// A drawing.
#[derive(Debug)]
pub(crate) struct Canvas {
    svg: String,
}

impl Canvas {
    /// An empty drawing with its title.
    pub(crate) fn new(width: f64, height: f64, title: &str) -> Self {
        let title = escaped(title);
        let style = style();
        let svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\">\n<title>{title}</title>\n\
             <style>{style}</style>\n\
             <rect class=\"page\" width=\"100%\" height=\"100%\"/>\n\
             <text x=\"20\" y=\"22\" class=\"title\">{title}</text>\n"
        );
        Self { svg }
    }

    /// A line that shows no figure.
    pub(crate) fn line(&mut self, ends: [(f64, f64); 2], style: Style, dash: Dash) {
        let [(x1, y1), (x2, y2)] = ends;
        let class = match style {
            Style::Grid => "grid",
            Style::Axis => "axis",
        };
        let dash = dash.attribute();
        self.put(format_args!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" \
             class=\"{class}\"{dash}/>"
        ));
    }

    /// Points joined by a line.
    pub(crate) fn series(&mut self, points: &[(f64, f64)], colour: usize, dash: Dash) {
        let colour = colour % COLOURS.len();
        let places: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let (places, dash) = (places.join(" "), dash.attribute());
        self.put(format_args!("<polyline points=\"{places}\" class=\"line l{colour}\"{dash}/>"));
        for (x, y) in points {
            self.put(format_args!(
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" class=\"f{colour}\"/>"
            ));
        }
    }

    /// A filled rectangle.
    pub(crate) fn bar(&mut self, corner: (f64, f64), size: (f64, f64), colour: usize) {
        let ((x, y), (width, height), colour) = (corner, size, colour % COLOURS.len());
        self.put(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             class=\"f{colour}\"/>"
        ));
    }

    /// Words.
    pub(crate) fn text(&mut self, place: (f64, f64), side: Side, words: &str) {
        let ((x, y), words) = (place, escaped(words));
        let anchor = match side {
            Side::Left => "start",
            Side::Middle => "middle",
            Side::Right => "end",
        };
        self.put(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
        ));
    }

    /// The whole drawing.
    pub(crate) fn svg(mut self) -> String {
        self.svg.push_str("</svg>\n");
        self.svg
    }

    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        writeln!(self.svg, "{element}").expect("a string takes whatever is written");
    }
}

/// The rules of both pages; a viewer that knows no dark page shows the light one.
fn style() -> String {
    let page =
        |page: &str, ink: &str, grid: &str, pick: fn((&'static str, &'static str)) -> &str| {
            let mut rules = format!(
                ".page{{fill:{page}}}text{{fill:{ink}}}.axis{{stroke:{ink}}}.grid{{stroke:{grid}}}"
            );
            for (at, pair) in COLOURS.into_iter().enumerate() {
                let colour = pick(pair);
                rules.push_str(&format!(".l{at}{{stroke:{colour}}}.f{at}{{fill:{colour}}}"));
            }
            rules
        };
    let light = page("#ffffff", "#1f2328", "#d8dee4", |pair| pair.0);
    let dark = page("#0d1117", "#e6edf3", "#30363d", |pair| pair.1);
    format!(
        "text{{font:12px sans-serif}}.title{{font-size:14px;font-weight:bold}}\
         .line{{fill:none;stroke-width:2}}{light}@media(prefers-color-scheme:dark){{{dark}}}"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_times_as_much_is_as_far_everywhere() {
        let axis = Axis::around([1.0, 1_000.0].into_iter(), (0.0, 300.0)).unwrap();
        let steps = [1.0, 10.0, 100.0, 1_000.0].map(|figure| axis.at(figure));
        assert!((steps[1] - steps[0] - (steps[3] - steps[2])).abs() < 1e-6);
        assert!(steps[0] > 0.0 && steps[3] < 300.0, "with air around");
        assert_eq!(axis.ticks()[..4], [1.0, 2.0, 5.0, 10.0]);
        assert_eq!(Axis::around(std::iter::empty(), (0.0, 1.0)), None);
    }

    #[test]
    fn words_cannot_break_the_drawing() {
        let mut canvas = Canvas::new(10.0, 10.0, "a < b");
        canvas.text((1.0, 1.0), Side::Left, "<script> & co");
        let svg = canvas.svg();
        assert!(svg.contains("&lt;script&gt; &amp; co") && svg.contains("<title>a &lt; b</title>"));
    }
}
