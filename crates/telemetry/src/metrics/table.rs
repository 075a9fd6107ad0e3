//! Every metric of the gateway with its words: the exposition, the reference page and the other crates take
//! them from here. Names that begin with `skipper_` are those of Skipper's Prometheus flavour, with its
//! labels, so that its dashboards work.

use std::fmt::Write as _;

/// What a number does over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, until the process begins anew.
    Counter,
    /// It goes up and down.
    Gauge,
    /// It counts durations by how long they were.
    Histogram,
}

/// A metric in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name in the exposition.
    pub name: &'static str,
    /// What it does over time.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// One sentence for people.
    pub help: &'static str,
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, labels, help }
}

/// The reference page `docs/reference/metrics.md`.
pub fn reference() -> String {
    let mut page = String::from(
        "# Metrics\n\nGenerated from the table in the code. `GET /metrics` of the support listener serves them in \
         Prometheus' text format 0.0.4, or as OpenMetrics 1.0.0 to those whose `Accept` prefers \
         `application/openmetrics-text`. Names that begin with `skipper_` are Skipper's, labels included, so its \
         dashboards work.\n\n| name | kind | labels | meaning |\n|---|---|---|---|\n",
    );
    for metric in TABLE {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(page, "| `{}` | {kind} | {} | {} |", metric.name, labels.join(", "), metric.help);
    }
    page
}

/// All metrics of this file, in the order of the exposition.
pub const TABLE: &[Metric] = &[
    ROUTE_DURATION,
    ROUTE_COUNT,
    BACKEND_DURATION,
    EDGE_DURATION,
    BACKEND_5XX,
    BACKEND_ERRORS,
    STREAMING_ERRORS,
    LOOKUP,
    ROUTE_ERRORS,
    ROUTE_INVALID,
    PROXY_TOTAL,
    CUSTOM_GAUGES,
    CUSTOM_TOTAL,
    CUSTOM_DURATION,
    IN_FLIGHT,
    RETRIES,
    ANSWERS,
    REQUEST_BYTES,
    RESPONSE_BYTES,
    MIRRORS_DROPPED,
    BREAKER_OPEN,
    ENDPOINT_HEALTHY,
    ENDPOINT_DROP,
    BACKEND_CONNECTIONS,
    QUEUE_RUNNING,
    QUEUE_WAITING,
    CACHE_REQUESTS,
    CACHE_BYTES,
    CACHE_LEFT_OUT,
    LOG_LINES_DROPPED,
    MESSAGES_SENT,
    MESSAGES_CONSUMED,
    APPEND_DURATION,
    PROCESS_DURATION,
    DELIVERY_AGE,
    STREAMS_READ,
    STREAMS_POSITION,
    STORE_BYTES,
    STORE_GROUPS,
    CONSUMER_LAG,
    CONSUMER_AGE,
    CONSUMER_IN_FLIGHT,
    CONSUMER_FAILED,
    CONSUMER_DEAD,
    CONSUMER_DEAD_LETTERS,
    TRACES_LEFT_OUT,
    SPANS_RECORDED,
    SPANS_KEPT,
    SPANS_DROPPED,
    SPANS_REMOVED,
    SPANS_WAITING,
    BUILD_INFO,
    CPU_SECONDS,
    OPEN_FDS,
    MAX_FDS,
    VIRTUAL_MEMORY,
    RESIDENT_MEMORY,
    START_TIME,
];

/// By status, method and route.
pub const ROUTE_DURATION: Metric = histogram(
    "skipper_serve_route_duration_seconds",
    &["code", "method", "route"],
    "Duration in seconds of serving a route.",
);
/// By status, method and route.
pub const ROUTE_COUNT: Metric = counter(
    "skipper_serve_route_count",
    &["code", "method", "route"],
    "Total number of requests of serving a route.",
);
/// By backend host within a route.
pub const BACKEND_DURATION: Metric = histogram(
    "skipper_backend_duration_seconds",
    &["host", "route"],
    "Duration in seconds until a backend's answer began.",
);
/// Of all routes together.
pub const BACKEND_5XX: Metric = histogram(
    "skipper_backend_5xx_duration_seconds",
    &[],
    "Duration in seconds until a backend's answer with a status of 500 or above began.",
);
/// By route.
pub const BACKEND_ERRORS: Metric = counter(
    "skipper_backend_error_total",
    &["route"],
    "Total number of requests that no backend answered although one was asked.",
);
/// By route.
pub const STREAMING_ERRORS: Metric = counter(
    "skipper_streaming_error_total",
    &["route"],
    "Total number of answers that broke off before their end.",
);
/// Of all requests.
pub const LOOKUP: Metric =
    histogram("skipper_route_lookup_duration_seconds", &[], "Duration in seconds of a route lookup.");
/// Of all requests.
pub const ROUTE_ERRORS: Metric =
    counter("skipper_route_error_total", &[], "Total number of requests that matched no route.");
/// By route and reason.
pub const ROUTE_INVALID: Metric = gauge(
    "skipper_route_invalid",
    &["reason", "route_id"],
    "1 for each route that was left out of the table, with the reason.",
);
/// Of all requests.
pub const PROXY_TOTAL: Metric = histogram(
    "skipper_proxy_total_duration_seconds",
    &[],
    "Duration in seconds of a request outside of the backend: what the gateway itself added.",
);
/// By key: `routes.total`, `routes.updated_timestamp`, and for queues `fifo.ROUTE.active`, `fifo.ROUTE.queued`,
/// `lifo.NAME.active`, `lifo.NAME.queued`.
pub const CUSTOM_GAUGES: Metric =
    gauge("skipper_custom_gauges", &["key"], "State of the gateway under the keys Skipper gives it.");
/// By key: `passive-health-check.endpoints.dropped`, `passive-health-check.requests.passed`, and what filters count
/// (`jwtMetrics.custom.…`).
pub const CUSTOM_TOTAL: Metric =
    counter("skipper_custom_total", &["key"], "Happenings under the keys Skipper gives them.");
/// By key: `apiUsageMonitoring.custom.….latency`.
pub const CUSTOM_DURATION: Metric = histogram(
    "skipper_custom_duration_seconds",
    &["key"],
    "Duration in seconds of what filters measure, under the keys Skipper gives it.",
);
/// Of all requests.
pub const IN_FLIGHT: Metric =
    gauge("tombolo_requests_in_flight", &[], "Requests that have begun and not ended.");
/// By route.
pub const RETRIES: Metric =
    counter("tombolo_retries_total", &["route"], "Total number of attempts beyond each request's first.");
/// By cause and route.
pub const ANSWERS: Metric = counter(
    "tombolo_answers_total",
    &["cause", "route"],
    "Total number of answers that the gateway made itself, by their cause.",
);
/// By route.
pub const REQUEST_BYTES: Metric =
    counter("tombolo_request_bytes_total", &["route"], "Total number of bytes of request bodies.");
/// By route.
pub const RESPONSE_BYTES: Metric =
    counter("tombolo_response_bytes_total", &["route"], "Total number of bytes of answers' bodies.");
/// Of all routes.
pub const MIRRORS_DROPPED: Metric =
    counter("tombolo_mirrors_dropped_total", &[], "Total number of mirrored requests that found no place.");
/// By backend host.
pub const BREAKER_OPEN: Metric =
    gauge("tombolo_breaker_open", &["host"], "1 while the circuit breaker of a host is open, otherwise 0.");
/// By endpoint and the path that is probed (the filter `healthCheck`).
pub const ENDPOINT_HEALTHY: Metric = gauge(
    "tombolo_endpoint_healthy",
    &["endpoint", "path"],
    "1 while the probes of an endpoint find it healthy, otherwise 0.",
);
/// By endpoint, only those that are passed over (`-passive-health-check`).
pub const ENDPOINT_DROP: Metric = gauge(
    "tombolo_endpoint_drop_probability",
    &["endpoint"],
    "Share of choices in which an endpoint is passed over because it fails.",
);
/// By kind of queue (`fifo`, `lifoGroup`) and the route or group it belongs to.
pub const QUEUE_RUNNING: Metric =
    gauge("tombolo_queue_running", &["kind", "name"], "Requests that have a place behind a queue.");
/// By kind of queue (`fifo`, `lifoGroup`) and the route or group it belongs to.
pub const QUEUE_WAITING: Metric =
    gauge("tombolo_queue_waiting", &["kind", "name"], "Requests that wait in a queue for a place.");
/// By what became of the request: `hit`, `stale` or `miss`.
pub const CACHE_REQUESTS: Metric = counter(
    "tombolo_cache_requests_total",
    &["outcome"],
    "Total number of requests that the filter cache answered, answered with something stale, or passed on.",
);
/// Of this process.
pub const CACHE_BYTES: Metric =
    gauge("tombolo_cache_bytes", &[], "Bytes that the filter cache keeps, what it is recording included.");
/// By why: `evicted` or `oversized`.
pub const CACHE_LEFT_OUT: Metric = counter(
    "tombolo_cache_left_out_total",
    &["why"],
    "Total number of answers that had to go from the filter cache, or were too large for it.",
);
/// Of this process.
pub const LOG_LINES_DROPPED: Metric = counter(
    "tombolo_log_lines_dropped_total",
    &[],
    "Total number of log lines that were not written because the disk or terminal was slow or full.",
);
/// By category, and why they were not appended; empty where they were.
pub const MESSAGES_SENT: Metric = counter(
    "messaging_client_sent_messages_total",
    &["error_type", "messaging_destination_name"],
    "Total number of messages that were appended, or were to be, by their category.",
);
/// By consumer.
pub const MESSAGES_CONSUMED: Metric = counter(
    "messaging_client_consumed_messages_total",
    &["messaging_consumer_group_name"],
    "Total number of messages that a consumer has handled.",
);
/// By status, by who is called and by who calls.
pub const EDGE_DURATION: Metric = histogram(
    "http_client_request_duration_seconds",
    &["http_response_status_code", "server_address", "service_name"],
    "Duration in seconds of requests to a service (`server_address`) by who called it: a service that declares the call, or `gateway` for what came in from outside.",
);
/// By endpoint, and by what connections carry.
pub const BACKEND_CONNECTIONS: Metric = gauge(
    "tombolo_backend_connections",
    &["endpoint", "state"],
    "Connections that are kept to an endpoint: `idle` ones for one request at a time, and `shared` ones that carry many.",
);
/// By category.
pub const APPEND_DURATION: Metric = histogram(
    "messaging_client_operation_duration_seconds",
    &["messaging_destination_name"],
    "Duration of appends in seconds, until their messages were durable; one to several categories is counted to each.",
);
/// By consumer.
pub const PROCESS_DURATION: Metric = histogram(
    "messaging_process_duration_seconds",
    &["messaging_consumer_group_name"],
    "Duration in seconds of deliveries that were pushed to a consumer's handler, well or not.",
);
/// By consumer.
pub const DELIVERY_AGE: Metric = histogram(
    "tombolo_consumer_handled_after_seconds",
    &["consumer"],
    "Time in seconds from a message's append until a consumer had handled it.",
);
/// Of this process.
pub const STREAMS_READ: Metric = counter(
    "tombolo_streams_read_messages_total",
    &[],
    "Total number of messages that were read from the store, by whomever.",
);
/// Of the store.
pub const STREAMS_POSITION: Metric =
    gauge("tombolo_streams_position", &[], "Global position of the last message.");
/// Of the data directory.
pub const STORE_BYTES: Metric =
    gauge("tombolo_store_bytes", &[], "Bytes of the files in the data directory of streams.");
/// Of the data directory, since it was opened.
pub const STORE_GROUPS: Metric = counter(
    "tombolo_store_groups_total",
    &[],
    "Total number of groups of appended messages that one sync of the disk made durable together.",
);
/// By consumer.
pub const CONSUMER_LAG: Metric = gauge(
    "tombolo_consumer_lag_messages",
    &["consumer"],
    "Messages that a consumer has not handled; estimated by the distance of positions where they are many.",
);
/// By consumer, where it is counted.
pub const CONSUMER_AGE: Metric = gauge(
    "tombolo_consumer_lag_seconds",
    &["consumer"],
    "Age of the oldest message that a consumer has not handled.",
);
/// By consumer.
pub const CONSUMER_IN_FLIGHT: Metric =
    gauge("tombolo_consumer_deliveries_in_flight", &["consumer"], "Deliveries under way.");
/// By consumer.
pub const CONSUMER_FAILED: Metric = counter(
    "tombolo_consumer_failed_attempts_total",
    &["consumer"],
    "Total number of attempts to handle a message that failed; all but the last are repeated.",
);
/// By consumer.
pub const CONSUMER_DEAD: Metric = counter(
    "tombolo_consumer_given_up_total",
    &["consumer"],
    "Total number of messages that became dead letters.",
);
/// By consumer, as far as they are counted.
pub const CONSUMER_DEAD_LETTERS: Metric =
    gauge("tombolo_consumer_dead_letters", &["consumer"], "Dead letters that wait for somebody.");
/// Of this process.
pub const TRACES_LEFT_OUT: Metric = counter(
    "tombolo_traces_left_out_total",
    &[],
    "Total number of requests, appends and deliveries whose traces began here and are not recorded whole.",
);
/// Of this process.
pub const SPANS_RECORDED: Metric = counter(
    "tombolo_spans_recorded_total",
    &[],
    "Total number of spans of what was carried that were given to the store.",
);
/// Of this process.
pub const SPANS_KEPT: Metric =
    counter("tombolo_spans_kept_total", &[], "Total number of spans that were written to the store.");
/// Of this process.
pub const SPANS_DROPPED: Metric = counter(
    "tombolo_spans_dropped_total",
    &[],
    "Total number of spans that were not kept because too many came at once or the disk failed.",
);
/// Of this process.
pub const SPANS_REMOVED: Metric = counter(
    "tombolo_spans_removed_total",
    &[],
    "Total number of spans that were removed because they were too old or too many.",
);
/// Of this process.
pub const SPANS_WAITING: Metric =
    gauge("tombolo_spans_waiting_bytes", &[], "Bytes of spans that wait to be written.");
/// By version.
pub const BUILD_INFO: Metric = gauge("tombolo_build_info", &["version"], "Always 1.");
/// Of this process.
pub const CPU_SECONDS: Metric =
    counter("process_cpu_seconds_total", &[], "Total user and system CPU time spent in seconds.");
/// Of this process.
pub const OPEN_FDS: Metric = gauge("process_open_fds", &[], "Number of open file descriptors.");
/// Of this process.
pub const MAX_FDS: Metric = gauge("process_max_fds", &[], "Maximum number of open file descriptors.");
/// Of this process.
pub const VIRTUAL_MEMORY: Metric =
    gauge("process_virtual_memory_bytes", &[], "Virtual memory size in bytes.");
/// Of this process.
pub const RESIDENT_MEMORY: Metric =
    gauge("process_resident_memory_bytes", &[], "Resident memory size in bytes.");
/// Of this process.
pub const START_TIME: Metric =
    gauge("process_start_time_seconds", &[], "Start time of the process since unix epoch in seconds.");
