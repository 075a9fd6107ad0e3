//! The reference pages of metrics and of APIs agree with their tables.

#[test]
fn the_reference_page_is_committed() {
    testkit::check_generated("docs/reference/metrics.md", &telemetry::metrics::reference());
}

#[test]
fn the_reference_page_of_zipkin_s_api_is_committed() {
    testkit::check_generated("docs/reference/zipkin-http.md", &telemetry::zipkin::reference());
}

#[test]
fn the_reference_page_of_the_doctor_is_committed() {
    testkit::check_generated("docs/reference/doctor.md", &telemetry::doctor::reference());
}
