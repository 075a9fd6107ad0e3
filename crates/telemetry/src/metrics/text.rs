//! The Prometheus text format, version 0.0.4, and `OpenMetrics`, version 1.0.0: the same but for a few words.

use super::histogram::{BUCKETS, Counts};
use super::table::{Kind, Metric};
use std::fmt::Write as _;

/// How a page is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4.
    #[default]
    Text,
    /// `OpenMetrics` 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The format that a scraper prefers, by the `Accept` that it sent, if any (RFC 9110 section 12.5.1).
    pub fn wanted(accept: &str) -> Self {
        let quality = |name: &str| {
            let of = |element: &str| {
                let mut parts = element.split(';').map(str::trim);
                let version =
                    element.split(';').map(str::trim).find_map(|part| part.strip_prefix("version="));
                let is_it = parts.next()?.eq_ignore_ascii_case(name)
                    && (name != OPEN_METRICS || version.is_none_or(|version| version == "1.0.0"));
                let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
                is_it.then(|| quality.unwrap_or(1.0))
            };
            accept.split(',').filter_map(of).fold(0.0, f32::max)
        };
        match quality(OPEN_METRICS) {
            open if open > 0.0 && open >= quality("text/plain") => Self::OpenMetrics,
            _ => Self::Text,
        }
    }

    /// The value of `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

const OPEN_METRICS: &str = "application/openmetrics-text";

/// A page under construction.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    format: Format,
}

impl Page {
    pub(super) fn new(format: Format) -> Self {
        Self { text: String::new(), format }
    }

    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    /// The words of a metric; its samples must follow.
    pub(super) fn head(&mut self, metric: Metric) {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let mut help = metric.help.replace('\\', "\\\\").replace('\n', "\\n");
        let (mut name, mut kind) = (metric.name, kind);
        if self.format == Format::OpenMetrics {
            help = help.replace('"', "\\\"");
            // There a counter's samples end in `_total`, and its name does not.
            match name.strip_suffix("_total") {
                Some(alone) if metric.kind == Kind::Counter => name = alone,
                None if metric.kind == Kind::Counter => kind = "unknown",
                _ => {}
            }
        }
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
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
            let _ = match self.format {
                _ if bound.is_infinite() => write!(self.text, "{before}le=\"+Inf\""),
                Format::Text => write!(self.text, "{before}le=\"{bound}\""),
                // Always with a fraction.
                Format::OpenMetrics => write!(self.text, "{before}le=\"{bound:?}\""),
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

    #[test]
    fn open_metrics_has_its_own_words() {
        let mut page = Page::new(Format::OpenMetrics);
        let counter = Metric { name: "m_total", kind: Kind::Counter, labels: &[], help: "\"One\"." };
        page.head(counter);
        page.count(counter, &[] as &[&str], 3);
        page.head(Metric { name: "skipper_count", ..counter });
        let histogram = Metric { name: "h", kind: Kind::Histogram, ..counter };
        page.head(histogram);
        page.histogram(histogram, &[] as &[&str], &Counts::default());
        let page = page.finish();
        for line in [
            "# HELP m \\\"One\\\".",
            "# TYPE m counter",
            "m_total 3",
            "# TYPE skipper_count unknown",
            "# TYPE h histogram",
            "h_bucket{le=\"1.0\"} 0",
            "h_bucket{le=\"0.005\"} 0",
            "h_bucket{le=\"+Inf\"} 0",
        ] {
            assert!(page.lines().any(|known| known == line), "{line}: {page}");
        }
        assert!(page.ends_with("# EOF\n"));
    }

    #[test]
    fn a_scraper_gets_what_it_prefers() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, wanted) in [
            (prometheus, Format::OpenMetrics),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("text/plain, Application/OpenMetrics-Text", Format::OpenMetrics),
            ("application/openmetrics-text;version=0.0.1,text/plain;q=0.5", Format::Text),
            ("application/openmetrics-text;q=0.1, text/plain", Format::Text),
            ("application/openmetrics-text; q=0", Format::Text),
            ("*/*", Format::Text),
            ("", Format::Text),
        ] {
            assert_eq!(Format::wanted(accept), wanted, "{accept}");
        }
    }
}
