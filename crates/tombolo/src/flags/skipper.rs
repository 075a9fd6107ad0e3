//! Skipper's command line, read as Skipper reads it: flags with one dash, `-flag=true`, and those of its flags
//! that mean nothing here or are not here, each with the reason. Whoever moves over starts with the line he has.

use base::{Fault, Kind};
use clap::ArgAction;
use std::ffi::OsString;

/// Flags of Skipper for which there is nothing to do, or nothing we can do.
pub(super) struct Elsewhere {
    /// Their names; one that ends with `*` stands for all that begin so.
    pub(super) names: &'static [&'static str],
    /// Whether each takes a value.
    pub(super) takes_value: bool,
    pub(super) here: Here,
}

/// What becomes of a flag.
#[derive(Clone, Copy)]
pub(super) enum Here {
    /// It is taken and says nothing, since this is so anyway.
    Anyway(&'static str),
    /// It is refused, and this is what to do.
    Absent(&'static str),
}

const METRICS: &str = "metrics are Prometheus's, by route, status, method and backend, with bounded labels";
const LOGS: &str = "the gateway writes what happens to standard error, one line each";
const CONNECTIONS: &str =
    "connections are kept while they are used: to clients for --idle-timeout-server, to backends for 20 s";
const NOT_YET: &str = "Tombolo does not do this yet";

/// All flags of Skipper that are not flags of ours and of which we know.
pub(super) const ELSEWHERE: &[Elsewhere] = &[
    Elsewhere {
        names: &[
            "enable-prometheus-metrics",
            "enable-prometheus-start-label",
            "serve-route-*",
            "serve-host-*",
            "serve-status-code-metric",
            "serve-method-metric",
            "backend-host-metrics",
            "all-filters-metrics",
            "combined-response-metrics",
            "proxy-request-metrics",
            "route-response-metrics",
            "route-backend-error-counters",
            "route-stream-error-counters",
            "route-backend-metrics",
            "runtime-metrics",
            "debug-gc-metrics",
            "metrics-exp-decay-sample",
            "disable-metrics-compat",
            "enable-connection-metrics",
            "enable-profile",
        ],
        takes_value: false,
        here: Here::Anyway(METRICS),
    },
    Elsewhere {
        names: &["metrics-flavour", "metrics-prefix", "histogram-metric-buckets", "response-size-buckets"],
        takes_value: true,
        here: Here::Anyway(METRICS),
    },
    Elsewhere {
        names: &["suppress-route-update-logs", "application-log-json-enabled"],
        takes_value: false,
        here: Here::Anyway(LOGS),
    },
    Elsewhere {
        names: &["application-log", "application-log-prefix"],
        takes_value: true,
        here: Here::Anyway(LOGS),
    },
    Elsewhere {
        names: &["wait-first-route-load"],
        takes_value: false,
        here: Here::Anyway("the gateway never serves before its routes are there"),
    },
    Elsewhere {
        names: &[
            "enable-ratelimits",
            "enable-breakers",
            "enable-advanced-validation",
            "enable-api-usage-monitoring",
        ],
        takes_value: false,
        here: Here::Anyway("filters for this are always there"),
    },
    Elsewhere {
        names: &["api-usage-monitoring-default-client-tracking-pattern"],
        takes_value: true,
        here: Here::Anyway("each `apiUsageMonitoring` says itself whom it tracks: `client_tracking_pattern`"),
    },
    Elsewhere {
        names: &["remove-hop-headers"],
        takes_value: false,
        here: Here::Anyway("headers about one hop never go further (RFC 9110 section 7.6.1)"),
    },
    Elsewhere {
        names: &["dual-stack-backend", "enable-tcp-queue"],
        takes_value: false,
        here: Here::Anyway(CONNECTIONS),
    },
    Elsewhere {
        names: &[
            "keepalive-backend",
            "keepalive-server",
            "close-idle-conns-period",
            "max-idle-connection-backend",
            "tls-handshake-timeout-backend",
            "expect-continue-timeout-backend",
            "backend-flush-interval",
            "max-tcp-listener-concurrency",
            "expected-bytes-per-request",
            "max-tcp-listener-queue",
        ],
        takes_value: true,
        here: Here::Anyway(CONNECTIONS),
    },
    Elsewhere {
        names: &["opentracing", "opentracing-*"],
        takes_value: true,
        here: Here::Anyway("traces go on by W3C Trace Context and B3 without being told to"),
    },
    Elsewhere {
        names: &["debug-listener", "metrics-listener", "insecure-metrics-*"],
        takes_value: true,
        here: Here::Absent("routes and metrics are both served at --support-listener"),
    },
    Elsewhere {
        names: &["config-file"],
        takes_value: true,
        here: Here::Absent("the file's lines are flags of the same names: write them on the command line"),
    },
    Elsewhere {
        names: &["kubernetes*", "whitelisted-healthcheck-cidr"],
        takes_value: true,
        here: Here::Absent(
            "Tombolo does not read Kubernetes' resources: a routes server (Skipper's RouteSRV) can, and \
             --routes-urls reads from that",
        ),
    },
    Elsewhere {
        names: &["etcd*"],
        takes_value: true,
        here: Here::Absent("write the routes to a file (--routes-file) or serve them (--routes-urls)"),
    },
    Elsewhere {
        names: &["swarm*", "enable-swarm", "cluster-ratelimit*"],
        takes_value: true,
        here: Here::Absent(
            "limits shared by several gateways are not there yet; each gateway limits for itself",
        ),
    },
    Elsewhere {
        names: &["oauth2*", "oidc*", "webhook*"],
        takes_value: true,
        here: Here::Absent(
            "asking a token service is not there yet; `jwtValidationKeys` checks tokens itself",
        ),
    },
    Elsewhere {
        names: &["lua-*", "enable-open-policy-agent*", "open-policy-agent*"],
        takes_value: true,
        here: Here::Absent("scripts and policies in routes are not there yet"),
    },
    Elsewhere {
        names: &["plugindir", "filter-plugin", "predicate-plugin", "dataclient-plugin", "multi-plugin"],
        takes_value: true,
        here: Here::Absent("there are no plugins: one that is missed is worth an issue"),
    },
    Elsewhere {
        names: &["reverse-source-predicate"],
        takes_value: false,
        here: Here::Absent(
            "write `SourceFromLast` in the routes where `Source` is meant to look at the last address",
        ),
    },
    Elsewhere {
        names: &["disable-http-keepalives", "insecure-metrics", "enable-dualstack-backend"],
        takes_value: false,
        here: Here::Absent(NOT_YET),
    },
];

/// The command line of `tombolo gateway` as clap takes it, and what to tell of flags that say nothing here. Fails
/// for a flag of Skipper that would be missed. What belongs to other commands is left alone.
pub(crate) fn arguments(
    all: Vec<OsString>,
    gateway: fn() -> clap::Command,
) -> Result<(Vec<OsString>, Vec<String>), Fault> {
    if all.get(1).is_none_or(|command| command != "gateway") {
        return Ok((all, Vec::new()));
    }
    words(all, &gateway())
}

/// Words of a command line as clap takes them, and what to tell of flags that say nothing here. `known` are ours.
pub(super) fn words(
    all: Vec<OsString>,
    known: &clap::Command,
) -> Result<(Vec<OsString>, Vec<String>), Fault> {
    let (mut taken, mut notes) = (Vec::with_capacity(all.len()), Vec::<(&str, Vec<String>)>::new());
    let mut rest = all.into_iter();
    while let Some(argument) = rest.next() {
        let Some((name, value)) = argument.to_str().and_then(flag) else {
            taken.push(argument);
            continue;
        };
        if let Some(known) = known.get_arguments().find(|known| known.get_long() == Some(name)) {
            // Go lets a switch be set to a value.
            match value {
                Some("true") if matches!(known.get_action(), ArgAction::SetTrue) => {
                    taken.push(format!("--{name}").into());
                }
                Some("false") if matches!(known.get_action(), ArgAction::SetTrue) => {}
                Some(value) => taken.push(format!("--{name}={value}").into()),
                None => taken.push(format!("--{name}").into()),
            }
            continue;
        }
        match find(name) {
            Some(Elsewhere { takes_value, here: Here::Anyway(why), .. }) => {
                if *takes_value && value.is_none() {
                    rest.next();
                }
                match notes.iter_mut().find(|(told, _)| told == why) {
                    Some((_, names)) => names.push(format!("-{name}")),
                    None => notes.push((why, vec![format!("-{name}")])),
                }
            }
            Some(Elsewhere { here: Here::Absent(hint), .. }) => {
                return Err(
                    Fault::new(Kind::Invalid, format!("Skipper's flag `-{name}` is not here")).hint(*hint)
                );
            }
            None => taken.push(match value {
                Some(value) => format!("--{name}={value}").into(),
                None => format!("--{name}").into(),
            }),
        }
    }
    let notes = notes.into_iter().map(|(why, names)| format!("{}: {why}", names.join(", "))).collect();
    Ok((taken, notes))
}

/// The name of a flag with one dash or two, and its value if that is joined to it. `-h` and `-V` are clap's own; a
/// negative number is a value.
pub(super) fn flag(argument: &str) -> Option<(&str, Option<&str>)> {
    let name = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'))?;
    if name.len() < 2 || !name.as_bytes()[0].is_ascii_alphabetic() {
        return None;
    }
    Some(name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value))))
}

fn find(name: &str) -> Option<&'static Elsewhere> {
    let is = |known: &&str| match known.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => **known == *name,
    };
    ELSEWHERE.iter().find(|elsewhere| elsewhere.names.iter().any(is))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::gateway_flags;
    use std::fmt::Write as _;

    fn read(line: &str) -> String {
        let words = line.split(' ').map(OsString::from).collect();
        match arguments(words, gateway_flags) {
            Ok((taken, notes)) => {
                let words: Vec<_> = taken.into_iter().map(|word| word.into_string().unwrap()).collect();
                notes.into_iter().fold(words.join(" "), |line, note| line + " | " + &note)
            }
            Err(fault) => format!("{fault}; {}", fault.hint.as_deref().unwrap_or_default()),
        }
    }

    #[test]
    fn skippers_command_lines_are_read_by_the_gateway_alone() {
        for (line, expected) in [
            (
                "tombolo gateway -address :9090 --strict -h -routes-file=a",
                "tombolo gateway --address :9090 --strict -h --routes-file=a",
            ),
            ("tombolo gateway -strict=true -insecure=false", "tombolo gateway --strict"),
            ("tombolo gateway -enable-h2c-server=false", "tombolo gateway --enable-h2c-server=false"),
            ("tombolo gateway -default-http-status -1", "tombolo gateway --default-http-status -1"),
            (
                "tombolo gateway -metrics-flavour prometheus -wait-first-route-load -strict",
                "tombolo gateway --strict | -metrics-flavour: metrics are Prometheus's, by route, status, method and \
                 backend, with bounded labels | -wait-first-route-load: the gateway never serves before its routes \
                 are there",
            ),
            (
                "tombolo gateway -kubernetes -strict",
                "Skipper's flag `-kubernetes` is not here; Tombolo does not read Kubernetes' resources: a routes \
                 server (Skipper's RouteSRV) can, and --routes-urls reads from that",
            ),
            ("tombolo gateway -no-such", "tombolo gateway --no-such"),
            ("tombolo routes -address", "tombolo routes -address"),
        ] {
            assert_eq!(read(line), expected, "{line}");
        }
    }

    #[test]
    fn what_is_a_flag_of_ours_is_not_said_to_be_elsewhere() {
        for argument in gateway_flags().get_arguments() {
            let name = argument.get_long().unwrap_or_default();
            assert!(find(name).is_none(), "{name}");
        }
    }

    #[test]
    fn the_reference_page_is_fresh() {
        let mut page =
            "# Skipper's flags\n\nWritten from the tables in the code. `tombolo gateway` takes flags with \
                        one dash or two, as `-flag value`, `-flag=value` and, for switches, `-flag=true`.\n\n\
                        ## Flags that are here\n\n| flag | value | meaning |\n|---|---|---|\n"
                .to_owned();
        for argument in gateway_flags().get_arguments() {
            let Some(name) = argument.get_long() else { continue };
            let value = match argument.get_action() {
                ArgAction::SetTrue => String::new(),
                _ => argument.get_value_names().map_or_else(String::new, |names| format!("`{}`", names[0])),
            };
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default().replace('|', "\\|");
            let _ = writeln!(page, "| `--{name}` | {value} | {} |", help.replace('\n', " "));
        }
        let list =
            |names: &[&str]| names.iter().map(|name| format!("`-{name}`")).collect::<Vec<_>>().join(", ");
        for (title, anyway) in [
            ("Flags that are taken and say nothing, since it is so anyway", true),
            ("Flags that are not here, and what to do", false),
        ] {
            let _ = writeln!(page, "\n## {title}\n\n| flags | |\n|---|---|");
            for elsewhere in ELSEWHERE {
                match elsewhere.here {
                    Here::Anyway(why) if anyway => {
                        let _ = writeln!(page, "| {} | {why} |", list(elsewhere.names));
                    }
                    Here::Absent(hint) if !anyway => {
                        let _ = writeln!(page, "| {} | {hint} |", list(elsewhere.names));
                    }
                    _ => {}
                }
            }
        }
        page += "\n## In a manifest\n\nThe key `flags` of `gateway` takes the flags that are here, but for these:\n\n\
                 | flag | there |\n|---|---|\n";
        for (name, instead) in super::super::in_manifest::ELSEWHERE {
            let _ = writeln!(page, "| `--{name}` | {instead} |");
        }
        testkit::check_generated("docs/reference/gateway-flags.md", &page);
    }
}
