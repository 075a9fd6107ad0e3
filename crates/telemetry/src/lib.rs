//! One record of each thing carried: metrics, access log, trace context
