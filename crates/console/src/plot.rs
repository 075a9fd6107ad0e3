//! A small plot of numbers over time, as SVG: the latest at the right, gaps where there was nothing to count. Its
//! words say the last and the greatest number, for who can't see the line.

use maud::{Markup, html};
use std::fmt::Write as _;

const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 80.0;
/// Room for the words above the line.
const TOP: f64 = 18.0;

/// A plot.
pub(crate) struct Plot<'a> {
    /// What is plotted.
    pub(crate) name: &'a str,
    /// From old to new.
    pub(crate) points: &'a [Option<f64>],
    /// Points of an hour.
    pub(crate) hour: usize,
    /// A number as it is read.
    pub(crate) unit: fn(f64) -> String,
    /// Whether more is worse.
    pub(crate) is_bad: bool,
}

/// Draws it.
pub(crate) fn plot(plot: &Plot) -> Markup {
    let (full, span) = stretch(plot);
    let most = plot.points.iter().flatten().copied().fold(0.0, f64::max);
    let last = plot.points.iter().rev().flatten().next().copied();
    let said = |number: Option<f64>| number.map_or_else(|| "none".to_owned(), plot.unit);
    let spoken = format!("{}: {} now, at most {} within {}", plot.name, said(last), (plot.unit)(most), span);
    let is_bad = plot.is_bad && most > 0.0;
    html! {
        figure.plot {
            figcaption { (plot.name) ": " strong { (said(last)) } }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(spoken) {
                line.base x1="0" x2=(WIDTH) y1=(HEIGHT - 1.0) y2=(HEIGHT - 1.0) {}
                line.most x1="0" x2=(WIDTH) y1=(TOP) y2=(TOP) {}
                text.small x="2" y=(TOP - 5.0) { (if most > 0.0 { (plot.unit)(most) } else { String::new() }) }
                text.small x=(WIDTH - 2.0) y=(TOP - 5.0) text-anchor="end" { (span) }
                path.run .bad[is_bad] d=(path(plot, most, full)) {}
            }
        }
    }
}

/// How many points fill the width, and how long that is: not all of an hour while there is less.
fn stretch(plot: &Plot) -> (usize, &'static str) {
    match plot.points.len() {
        few if few <= plot.hour / 12 => (plot.hour / 12, "5 minutes"),
        some if some <= plot.hour / 4 => (plot.hour / 4, "15 minutes"),
        _ => (plot.hour, "an hour"),
    }
}

/// The line, in pieces between gaps; a point alone is a short stroke.
fn path(plot: &Plot, most: f64, full: usize) -> String {
    let step = WIDTH / (full.max(2) - 1) as f64;
    let first = WIDTH - step * plot.points.len().saturating_sub(1) as f64;
    let height = HEIGHT - TOP - 2.0;
    let mut path = String::new();
    let mut is_drawing = false;
    for (nth, point) in plot.points.iter().enumerate() {
        let Some(number) = point else {
            is_drawing = false;
            continue;
        };
        let (x, share) = (first + nth as f64 * step, if most > 0.0 { number / most } else { 0.0 });
        let y = HEIGHT - 1.0 - share * height;
        let letter = if is_drawing { 'L' } else { 'M' };
        _ = write!(path, "{letter}{x:.1} {y:.1}");
        if !is_drawing {
            _ = write!(path, "h-2");
        }
        is_drawing = true;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_plot_ends_at_the_right_and_has_gaps() {
        let points = [Some(1.0), None, Some(4.0), Some(2.0)];
        let unit = |number| format!("{number:.0}/s");
        let drawn = Plot { name: "Rate", points: &points, hour: 84, unit, is_bad: false };
        expect![[r#"<figure class="plot"><figcaption>Rate: <strong>2/s</strong></figcaption><svg viewBox="0 0 300 80" role="img" aria-label="Rate: 2/s now, at most 4/s within 5 minutes"><line class="base" x1="0" x2="300" y1="79" y2="79"></line><line class="most" x1="0" x2="300" y1="18" y2="18"></line><text class="small" x="2" y="13">4/s</text><text class="small" x="298" y="13" text-anchor="end">5 minutes</text><path class="run" d="M150.0 64.0h-2M250.0 19.0h-2L300.0 49.0"></path></svg></figure>"#]].assert_eq(&plot(&drawn).into_string());
        let empty = Plot { points: &[], ..drawn };
        assert!(plot(&empty).into_string().contains("none now"));
    }
}
