//! The Prometheus text format, version 0.0.4.

use super::histogram::{BUCKETS, Counts};
use super::table::{Kind, Metric};
use std::fmt::Write as _;

/// A page under construction.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
}

impl Page {
    pub(super) fn finish(self) -> String {
        self.text
    }

    /// The words of a metric; its samples must follow.
    pub(super) fn head(&mut self, metric: Metric) {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let help = metric.help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = write!(self.text, "# HELP {0} {help}\n# TYPE {0} {kind}\n", metric.name);
    }

    /// A number with the values of its labels.
    pub(super) fn sample(&mut self, metric: Metric, labels: &[impl AsRef<str>], value: f64) {
        self.name(metric, "", labels, None);
        // Rust writes infinity as `inf`, the format wants `+Inf`.
        let _ = match value {
            f64::INFINITY => writeln!(self.text, " +Inf"),
            f64::NEG_INFINITY => writeln!(self.text, " -Inf"),
            _ => writeln!(self.text, " {value}"),
        };
    }

    /// A whole number, exact however large.
    pub(super) fn count(&mut self, metric: Metric, labels: &[impl AsRef<str>], value: u64) {
        self.name(metric, "", labels, None);
        let _ = writeln!(self.text, " {value}");
    }

    /// A histogram: its buckets, each including the smaller ones, the sum and the count.
    pub(super) fn histogram(&mut self, metric: Metric, labels: &[impl AsRef<str>], counts: &Counts) {
        let mut below = 0;
        for (bound, count) in BUCKETS.iter().zip(counts.buckets) {
            below += count;
            self.name(metric, "_bucket", labels, Some(*bound));
            let _ = writeln!(self.text, " {below}");
        }
        self.name(metric, "_bucket", labels, Some(f64::INFINITY));
        let _ = writeln!(self.text, " {}", counts.count());
        self.name(metric, "_sum", labels, None);
        let _ = writeln!(self.text, " {}", counts.sum_ns as f64 / 1e9);
        self.name(metric, "_count", labels, None);
        let _ = writeln!(self.text, " {}", counts.count());
    }

    fn name(&mut self, metric: Metric, suffix: &str, labels: &[impl AsRef<str>], bound: Option<f64>) {
        self.text.push_str(metric.name);
        self.text.push_str(suffix);
        let mut before = '{';
        for (name, value) in metric.labels.iter().zip(labels) {
            let _ = write!(self.text, "{before}{name}=\"");
            before = ',';
            for char in value.as_ref().chars() {
                match char {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    _ => self.text.push(char),
                }
            }
            self.text.push('"');
        }
        if let Some(bound) = bound {
            let _ = if bound.is_finite() {
                write!(self.text, "{before}le=\"{bound}\"")
            } else {
                write!(self.text, "{before}le=\"+Inf\"")
            };
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn values_of_labels_are_escaped() {
        let metric = Metric { name: "m", kind: Kind::Gauge, labels: &["a", "b"], help: "One\n\\two." };
        let mut page = Page::default();
        page.head(metric);
        page.sample(metric, &["\"x\"\\\n", "é"], 1.5);
        page.sample(metric, &["", ""], f64::INFINITY);
        page.sample(metric, &["", ""], f64::NAN);
        page.count(Metric { labels: &[], ..metric }, &[] as &[&str], u64::MAX);
        expect![[r#"
            # HELP m One\n\\two.
            # TYPE m gauge
            m{a="\"x\"\\\n",b="é"} 1.5
            m{a="",b=""} +Inf
            m{a="",b=""} NaN
            m 18446744073709551615
        "#]]
        .assert_eq(&page.finish());
    }
}
