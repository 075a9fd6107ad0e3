//! Keeps the wished state: processes, health, restarts, logs
