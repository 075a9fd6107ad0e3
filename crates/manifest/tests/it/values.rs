//! Good manifests and what they are read as.

use crate::good;
use expect_test::expect;
use manifest::{Check, LogFormat, RestartWhen, RoutesEntry, ServiceSource, StartWhen};

fn command(text: &str) -> manifest::Command {
    let manifest = good(&format!(
        "services:\n  other: {{at: 'http://x:80'}}\n  web:\n    {}\n",
        text.replace('\n', "\n    ")
    ));
    match manifest.services.into_iter().nth(1).expect("two services").source {
        ServiceSource::Run(command) => *command,
        ServiceSource::At(urls) => panic!("found at {urls:?}"),
    }
}

#[test]
fn the_first_manifest_is_without_a_fault_and_answers() {
    let first = good(manifest::FIRST);
    assert_eq!((first.services.len(), first.routes.len()), (0, 1));
    assert!(
        manifest::FIRST.starts_with(&format!("# yaml-language-server: $schema={}\n", manifest::SCHEMA_URL))
    );
    assert!(manifest::FIRST.lines().count() < 20, "it is to be read, not studied");
    // What it says to do next must work as well.
    let next = manifest::FIRST.replace("\n  # ", "\n  ").replace("  Your first", "  # Your first");
    let next = good(&next);
    assert_eq!(next.services.len(), 2);
}

#[test]
fn the_example_is_read_whole() {
    expect![[r#"
        Manifest {
            name: Some(
                "shop",
            ),
            services: [
                Service {
                    name: "web",
                    span: 24..27,
                    source: Run(
                        Command {
                            run: [
                                "/bin/sh",
                                "-c",
                                "npm start",
                            ],
                            build: Some(
                                [
                                    "/bin/sh",
                                    "-c",
                                    "npm install",
                                ],
                            ),
                            dir: Some(
                                "services/web",
                            ),
                            env: {
                                "LOG_LEVEL": "debug",
                            },
                            env_file: [
                                ".env",
                            ],
                            port: None,
                            health: Some(
                                Health {
                                    check: Http(
                                        "/healthz",
                                    ),
                                    interval: 1s,
                                    timeout: 2s,
                                    failures: 3,
                                    start_period: 30s,
                                },
                            ),
                            depends_on: [
                                DependsOn {
                                    service: "cart",
                                    when: Healthy,
                                },
                            ],
                            restart: Restart {
                                when: Always,
                                backoff: 500ms,
                                backoff_max: 30s,
                                limit: 5,
                            },
                            replicas: 1,
                            stop_grace: 10s,
                            watch: [
                                "src",
                                "package.json",
                            ],
                        },
                    ),
                    calls: [
                        "cart",
                        "payment-api",
                    ],
                    filters: "",
                    filters_span: 27..27,
                },
                Service {
                    name: "cart",
                    span: 253..257,
                    source: Run(
                        Command {
                            run: [
                                "./cart",
                                "--listen",
                                "127.0.0.1:4000",
                            ],
                            build: None,
                            dir: None,
                            env: {},
                            env_file: [],
                            port: Some(
                                4000,
                            ),
                            health: Some(
                                Health {
                                    check: Command(
                                        [
                                            "/bin/sh",
                                            "-c",
                                            "./cart --ping",
                                        ],
                                    ),
                                    interval: 5s,
                                    timeout: 2s,
                                    failures: 5,
                                    start_period: 30s,
                                },
                            ),
                            depends_on: [],
                            restart: Restart {
                                when: OnFailure,
                                backoff: 1s,
                                backoff_max: 30s,
                                limit: 5,
                            },
                            replicas: 1,
                            stop_grace: 30s,
                            watch: [],
                        },
                    ),
                    calls: [],
                    filters: "retry(2) -> backendTimeout(\"2s\")",
                    filters_span: 485..517,
                },
                Service {
                    name: "worker",
                    span: 521..527,
                    source: Run(
                        Command {
                            run: [
                                "/bin/sh",
                                "-c",
                                "./worker",
                            ],
                            build: None,
                            dir: None,
                            env: {},
                            env_file: [],
                            port: None,
                            health: None,
                            depends_on: [
                                DependsOn {
                                    service: "cart",
                                    when: Started,
                                },
                            ],
                            restart: Restart {
                                when: Always,
                                backoff: 500ms,
                                backoff_max: 30s,
                                limit: 5,
                            },
                            replicas: 3,
                            stop_grace: 10s,
                            watch: [],
                        },
                    ),
                    calls: [],
                    filters: "",
                    filters_span: 527..527,
                },
                Service {
                    name: "payment-api",
                    span: 602..613,
                    source: At(
                        [
                            "http://10.0.0.5:8080",
                            "http://10.0.0.6:8080",
                        ],
                    ),
                    calls: [],
                    filters: "",
                    filters_span: 613..613,
                },
            ],
            routes: [
                Inline {
                    text: "shop: Path(\"/\") -> \"service://web\";\napi: PathSubtree(\"/api\") -> modPath(\"^/api\", \"\") -> \"service://cart\";\n",
                    span: 687..799,
                },
                File {
                    path: "routes.eskip",
                    span: 801..813,
                },
            ],
            gateway: Gateway {
                address: 0.0.0.0:8080,
                support: None,
                api: 127.0.0.1:4600,
                ignore_trailing_slash: false,
                strict: false,
                workers: None,
                tls_cert: Some(
                    "tls/server.pem",
                ),
                tls_key: Some(
                    "tls/server.key",
                ),
                flags: [],
            },
            streams: None,
            traces: None,
            consumers: [],
            log: Log {
                format: Json,
                access: true,
                strip_query: true,
            },
            limits: Limits {
                header_bytes: 65536,
                body_bytes: Some(
                    10485760,
                ),
                header_timeout: 60s,
                read_timeout: 30s,
                write_timeout: 60s,
                idle_timeout: 60s,
                connections: 10000,
                drain_timeout: 10s,
            },
            texts: [
                TextMap {
                    span: 687..799,
                    runs: [
                        (
                            0,
                            687,
                        ),
                        (
                            36,
                            727,
                        ),
                    ],
                },
                TextMap {
                    span: 485..517,
                    runs: [
                        (
                            0,
                            485,
                        ),
                    ],
                },
            ],
        }
    "#]].assert_debug_eq(&good(manifest::EXAMPLE));
}

#[test]
fn what_is_left_out_has_its_default() {
    assert_eq!(good("name: x\n"), manifest::Manifest { name: Some("x".to_owned()), ..Default::default() });
    let shell = ["/bin/sh", "-c", "npm start"].map(str::to_owned).to_vec();
    assert_eq!(command("run: npm start"), manifest::Command::of(shell));
    assert_eq!(good("gateway:\nlog:\nlimits:\nservices:\nroutes:\n"), manifest::Manifest::default());
}

#[test]
fn scalars_are_what_yaml_1_2_says_and_variables_as_written() {
    let env =
        command("run: a\nenv: {A: on, B: 0755, C: 1.50, D: True, E: ~a, F: 'x', G: 0x1F, H: '', I: 1_000}")
            .env;
    let env: Vec<String> = env.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(env.join(" "), "A=on B=0755 C=1.50 D=True E=~a F=x G=0x1F H= I=1_000");
    assert_eq!(command("run: [sleep, 100, true, -1.0]").run, ["sleep", "100", "true", "-1.0"]);
    assert_eq!(command("run: a\nreplicas: 0x10").replicas, 16);
    assert_eq!(command("run: >-\n  npm\n  start\ndir: !!str 5").run[2], "npm start");
    assert_eq!(good("name: on\n").name.as_deref(), Some("on"));
}

#[test]
fn forms_of_health_restart_and_dependencies() {
    let check =
        |text: &str| command(&format!("run: a\nhealth: {text}")).health.expect("a health check").check;
    assert_eq!(check("/x"), Check::Http("/x".to_owned()));
    assert_eq!(check("tcp"), Check::Tcp);
    assert_eq!(check("{tcp: true, interval: 5s}"), Check::Tcp);
    assert_eq!(check("{interval: 5s}"), Check::Tcp);
    assert_eq!(check("{command: [a, b]}"), Check::Command(vec!["a".to_owned(), "b".to_owned()]));
    let restart = |text: &str| command(&format!("run: a\nrestart: {text}")).restart;
    assert_eq!(restart("never").when, RestartWhen::Never);
    assert_eq!(restart("{limit: 0}").limit, 0);
    assert_eq!(restart("{when: on-failure}").when, RestartWhen::OnFailure);
    let depends_on = |text: &str| command(&format!("run: a\ndepends_on: {text}")).depends_on[0].when;
    assert_eq!(depends_on("[other]"), StartWhen::Healthy);
    assert_eq!(depends_on("{other: started}"), StartWhen::Started);
    assert_eq!(depends_on("{other: }"), StartWhen::Healthy);
}

#[test]
fn routes_are_inline_or_files() {
    let kinds = |text: &str| -> String {
        let routes = good(text).routes;
        let kind = |entry: &RoutesEntry| match entry {
            RoutesEntry::Inline { text, .. } => format!("inline {text:?}"),
            RoutesEntry::File { path, .. } => format!("file {}", path.display()),
        };
        routes.iter().map(kind).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(kinds("routes: r.eskip"), "file r.eskip");
    assert_eq!(kinds("routes: 'a: * -> <shunt>'"), "inline \"a: * -> <shunt>\"");
    assert_eq!(kinds("routes: |\n  # later\n"), "inline \"# later\\n\"");
    assert_eq!(kinds("routes: [{file: '->'}, {inline: a}, b]"), "file ->, inline \"a\", file b");
}

#[test]
fn settings_of_the_gateway_the_log_and_limits() {
    let manifest = good(
        "gateway: {address: 'localhost:80', support: false, workers: 2}\nlog: {format: json}\n\
         limits: {body_bytes: 1.5MiB, header_bytes: 4096, drain_timeout: 0}\n",
    );
    assert_eq!(manifest.gateway.address, ([127, 0, 0, 1], 80).into());
    assert_eq!((manifest.gateway.support, manifest.gateway.workers), (None, Some(2)));
    assert_eq!(manifest.log.format, LogFormat::Json);
    assert_eq!((manifest.limits.body_bytes, manifest.limits.header_bytes), (Some(1_572_864), 4096));
    assert!(manifest.limits.drain_timeout.is_zero());
    assert_eq!(good("gateway: {address: '[::]:80', api: '[::1]:4600'}").gateway.api.port(), 4600);
}

#[test]
fn anchors_and_merges_bring_in_what_is_not_given() {
    let manifest = good(
        "
x-one: &one {stop_grace: 1s, restart: never}
x-two: &two {stop_grace: 2s, replicas: 3}
services:
  a: {run: a, <<: *one, restart: always}
  b: {<<: [*one, *two], run: b}
",
    );
    let runs: Vec<_> = manifest
        .services
        .iter()
        .map(|service| match &service.source {
            ServiceSource::Run(command) => {
                (command.stop_grace.as_secs(), command.restart.when, command.replicas)
            }
            ServiceSource::At(_) => panic!("run here"),
        })
        .collect();
    assert_eq!(runs, [(1, RestartWhen::Always, 1), (1, RestartWhen::Never, 3)]);
}
