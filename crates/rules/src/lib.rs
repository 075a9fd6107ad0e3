//! Decisions as pure state machines given the time: limits, breakers, backoff, balancing
