//! Metrics: for the gateway and each service the rate, the errors and the durations of requests over the last hour, as
//! small plots. `/metrics` of the support listener has all numbers for Prometheus.

use crate::access::Viewer;
use crate::asked::segment;
use crate::bounds::SAMPLES_MAX;
use crate::history::Point;
use crate::pages::View;
use crate::plot::{Plot, plot};
use crate::problem::Problem;
use crate::{Console, answer, units};
use maud::{Markup, html};
use serde::Serialize;
use telemetry::GATEWAY;

#[derive(Serialize)]
pub(crate) struct Charts {
    /// Seconds between points.
    every_s: u64,
    series: Vec<Series>,
}

#[derive(Serialize)]
struct Series {
    name: String,
    /// From old to new.
    points: Vec<Point>,
}

/// The page.
pub(crate) fn show(console: &Console) -> Result<Charts, Problem> {
    let series = console.history().series();
    Ok(Charts {
        every_s: crate::bounds::SAMPLE_EVERY.as_secs(),
        series: series.into_iter().map(|(name, points)| Series { name, points }).collect(),
    })
}

impl View for Charts {
    fn title(&self) -> String {
        "Metrics".to_owned()
    }

    fn body(&self, _viewer: &Viewer) -> Markup {
        html! {
            h1 { "Metrics" }
            p.note {
                "What came through Tombolo within the last hour, counted every " (self.every_s) " seconds and kept in \
                 memory. Durations lie between the bounds of their buckets."
            }
            (self.plots())
        }
    }

    fn live(&self, _viewer: &Viewer) -> Vec<(&'static str, Markup)> {
        vec![("plots", self.plots())]
    }

    fn json(&self) -> String {
        answer::json_of(self)
    }
}

impl Charts {
    fn plots(&self) -> Markup {
        html! {
            div #plots {
                @if self.series.is_empty() {
                    p.empty {
                        "No requests so far. Send one through the gateway, and within seconds its plots are here: "
                        code { "curl http://127.0.0.1:9090/" }
                    }
                }
                @for series in &self.series {
                    section {
                        h2 {
                            @if series.name == GATEWAY { "Gateway" }
                            @else { a href=(format!("/services/{}", segment(&series.name))) { (series.name) } }
                        }
                        div.plots { (of(&series.points)) }
                    }
                }
            }
        }
    }
}

fn of(points: &[Point]) -> Markup {
    let of = |number: fn(&Point) -> Option<f64>| points.iter().map(number).collect::<Vec<_>>();
    let one = |name, points: &[Option<f64>], unit, is_bad| {
        plot(&Plot { name, points, hour: SAMPLES_MAX, unit, is_bad })
    };
    let ms = |ms: f64| units::bucketed(Some(ms));
    html! {
        (one("Requests", &of(|point| Some(f64::from(point.rate))), units::rate, false))
        (one("Errors", &of(|point| Some(f64::from(point.errors))), units::share, true))
        (one("p50", &of(|point| point.p50_ms.map(f64::from)), ms, false))
        (one("p99", &of(|point| point.p99_ms.map(f64::from)), ms, false))
    }
}
