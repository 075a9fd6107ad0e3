//! The reference page of metrics agrees with their table.

#[test]
fn the_reference_page_is_committed() {
    testkit::check_generated("docs/reference/metrics.md", &telemetry::metrics::reference());
}
