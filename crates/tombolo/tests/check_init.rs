//! `tombolo check`, `init` and `completions`: what a manifest is told before anything runs, the first manifest,
//! the scripts of shells.

mod support;

use expect_test::expect;
use nix::sys::signal::Signal;
use support::{Folder, get};

#[test]
fn a_good_manifest_is_counted_wherever_it_is() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("shop")).unwrap();
    folder.write(
        "shop/tombolo.yml",
        "services:\n  web:\n    run: ./web\n  pay:\n    at: http://10.0.0.5:8080\nroutes:\n  - shop.eskip\n  - 'a: Path(\"/a\") -> <shunt>'\n",
    );
    folder.write("shop/shop.eskip", "all: * -> \"service://web\";");
    expect![[r#"
        good shop/tombolo.yml: 2 services, 2 routes
        exit 0
    "#]]
    .assert_eq(&folder.run(&["check", "shop"]));
    assert_eq!(folder.run(&["check", "shop/tombolo.yml"]), folder.run(&["check", "shop"]));
    // Checking starts nothing and leaves nothing.
    assert!(!folder.path().join("shop/.tombolo").exists());
}

#[test]
fn every_mistake_is_told_at_once_also_to_machines() {
    let folder = Folder::with(
        "services:\n  web:\n    run: ./web\n    calls: [crat]\n    replicas: 0\nroutes: |\n  a: Path(\"/a\") -> stauts(1) -> <shunt>;\n",
    );
    let told = folder.run(&["check"]);
    assert!(told.contains("tombolo.yaml:4:13") && told.contains("tombolo.yaml:5:15"), "{told}");
    assert!(told.ends_with("2 errors\nexit 1\n"), "{told}");
    let output = folder.command(&["check", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let reports: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(reports.as_array().map(Vec::len), Some(2), "{reports}");
    assert_eq!(reports[0]["severity"], "error", "{reports}");
    assert!(output.stderr.is_empty());

    folder.write("tombolo.yaml", "routes: 'a: * -> <shunt>'\n");
    let output = folder.command(&["check", "--json"]).output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stdout).trim()), (Some(0), "[]"));
}

#[test]
fn the_first_manifest_is_good_and_runs() {
    let folder = Folder::new();
    expect![[r#"
        wrote new/shop/tombolo.yaml
        next: tombolo up new/shop
        exit 0
    "#]]
    .assert_eq(&folder.run(&["init", "new/shop"]));
    expect![[r#"
        good new/shop/tombolo.yaml: 0 services, 1 route
        exit 0
    "#]]
    .assert_eq(&folder.run(&["check", "new/shop"]));
    // As it is, but for ports that may be somebody's here.
    let text = std::fs::read_to_string(folder.path().join("new/shop/tombolo.yaml")).unwrap();
    folder.write(
        "new/shop/tombolo.yaml",
        &format!("{text}\ngateway: {{address: 127.0.0.1:0, api: 127.0.0.1:0, support: off}}\n"),
    );
    let mut up = folder.start(&["up", "new/shop"]);
    up.wait_for("Ctrl-C stops everything");
    let gateway = up.address("gateway at http://");
    assert_eq!(get(gateway, "/").body, "Hello from Tombolo.");
    up.signal(Signal::SIGINT);
    assert_eq!(up.wait(), 0);
}

#[test]
fn init_names_what_is_in_its_way() {
    let folder = Folder::new();
    folder.write("shop", "a file");
    let told = folder.run(&["init", "shop"]);
    assert_eq!(told, "error: `shop` can't be made a folder: File exists (os error 17)\nexit 1\n");
}

#[test]
fn each_shell_has_its_completions() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = folder.run(&["completions", shell]);
        assert!(script.contains("restart") && script.contains("routes"), "{shell}: {script}");
        assert!(script.ends_with("exit 0\n"));
    }
    let told = folder.run(&["completions", "tcsh"]);
    assert!(told.contains("possible values: bash, elvish, fish, powershell, zsh"), "{told}");
}

#[test]
fn help_names_each_command_in_a_line() {
    let folder = Folder::new();
    let help = folder.run(&["--help"]);
    for command in
        ["up", "gateway", "routes", "status", "logs", "restart", "stop", "init", "check", "completions"]
    {
        assert!(
            help.lines().any(|line| line.trim_start().starts_with(&format!("{command} "))),
            "{command}:\n{help}"
        );
        let own = folder.run(&[command, "--help"]);
        assert!(own.contains("Usage: tombolo") && own.ends_with("exit 0\n"), "{own}");
    }
    assert!(folder.run(&["--version"]).starts_with("tombolo "));
}
