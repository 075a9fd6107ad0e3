//! `tombolo.yaml`: what the user wrote, as values with diagnostics. Pure: it opens no file and starts
//! nothing; whoever calls it gives it texts.

mod values;

pub use values::{
    Check, Command, DependsOn, Gateway, Health, Limits, Log, LogFormat, Manifest, Restart, RestartWhen, RoutesEntry,
    Service, Source as ServiceSource, StartWhen,
};
