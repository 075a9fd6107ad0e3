//! The order of starting, and what is different between two manifests.

use crate::good;
use expect_test::{Expect, expect};

const OLD: &str = "
services:
  web: {run: npm start, calls: [cart]}
  cart: {run: ./cart, replicas: 2}
  pay: {at: 'http://x:80'}
routes: '* -> <shunt>'
";

#[expect(clippy::needless_pass_by_value, reason = "so that a test may write its expectation in place")]
fn check(new: &str, expected: Expect) {
    let changes = manifest::diff(&good(OLD), &good(new));
    expected.assert_debug_eq(&changes);
}

fn changed(from: &str, to: &str) -> String {
    assert!(OLD.contains(from), "{from}");
    OLD.replace(from, to)
}

#[test]
fn a_comment_is_no_change() {
    let changes = manifest::diff(&good(OLD), &good(&format!("# new\n{OLD}\n\n")));
    assert!(changes.is_empty(), "{changes:?}");
}

#[test]
fn services_come_go_and_change_hands() {
    check(
        "services:\n  web: {run: npm start, calls: [pay]}\n  pay: {run: ./pay}\n  new: {at: 'http://y:80'}\nroutes: '* -> <shunt>'\n",
        expect![[r#"
            Changes {
                added: [
                    "pay",
                    "new",
                ],
                removed: [
                    "cart",
                    "pay",
                ],
                restart: [],
                resized: [],
                tended: [],
                calls: [
                    "web",
                ],
                rerouted: [],
                routes: false,
                rebind: false,
                lookup: false,
                consumers: false,
                log: false,
                limits: false,
            }
        "#]],
    );
}

#[test]
fn each_kind_of_change_has_its_consequence() {
    for (from, to, expected) in [
        ("npm start", "npm run dev", "restart: [web]"),
        ("run: npm start", "run: npm start, env: {A: b}", "restart: [web]"),
        ("run: npm start", "run: npm start, port: 1", "restart: [web]"),
        ("replicas: 2", "replicas: 3", "resized: [cart]"),
        ("run: ./cart", "run: ./other", "restart: [cart]"),
        ("replicas: 2", "replicas: 2, health: /x", "tended: [cart]"),
        ("replicas: 2", "replicas: 3, stop_grace: 1s", "resized: [cart] tended: [cart]"),
        ("calls: [cart]", "calls: [cart, pay]", "calls: [web]"),
        ("http://x:80", "http://x:81", "rerouted: [pay]"),
        ("at: 'http://x:80'", "at: 'http://y:80', filters: retry(2)", "rerouted: [pay]"),
        ("calls: [cart]", "calls: [cart], filters: retry(2)", "rerouted: [web]"),
        ("<shunt>", "status(200) -> <shunt>", "routes"),
        ("routes:", "gateway: {address: '127.0.0.1:1'}\nroutes:", "rebind"),
        ("routes:", "gateway: {strict: true}\nroutes:", "lookup"),
        ("routes:", "log: {access: false}\nroutes:", "log"),
        ("routes:", "limits: {connections: 5}\nroutes:", "limits"),
    ] {
        let c = manifest::diff(&good(OLD), &good(&changed(from, to)));
        let lists = [
            ("added", &c.added),
            ("removed", &c.removed),
            ("restart", &c.restart),
            ("resized", &c.resized),
            ("tended", &c.tended),
            ("calls", &c.calls),
            ("rerouted", &c.rerouted),
        ];
        let flags = [
            ("routes", c.routes),
            ("rebind", c.rebind),
            ("lookup", c.lookup),
            ("log", c.log),
            ("limits", c.limits),
        ];
        let lists = lists
            .iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(name, names)| format!("{name}: [{}]", names.join(", ")));
        let flags = flags.iter().filter(|(_, set)| *set).map(|(name, _)| (*name).to_owned());
        let got: Vec<String> = lists.chain(flags).collect();
        assert_eq!(got.join(" "), expected, "{from} -> {to}");
    }
}

#[test]
fn services_start_in_levels() {
    let manifest = good(
        "
services:
  web: {run: a, depends_on: [cart, pay]}
  cart: {run: a, depends_on: [db]}
  db: {run: a}
  pay: {at: 'http://x:80'}
  log: {run: a}
",
    );
    assert_eq!(manifest::start_order(&manifest), [vec![2, 3, 4], vec![1], vec![0]]);
    assert_eq!(manifest::start_order(&manifest::Manifest::default()), Vec::<Vec<usize>>::new());
    // No manifest that was read goes in a circle; one that was made by hand may.
    let mut circle = manifest;
    if let manifest::ServiceSource::Run(db) = &mut circle.services[2].source {
        db.depends_on
            .push(manifest::DependsOn { service: "web".to_owned(), when: manifest::StartWhen::Healthy });
    }
    assert_eq!(manifest::start_order(&circle), [vec![3, 4], vec![0, 1, 2]]);
}

#[test]
fn the_variable_of_a_service() {
    assert_eq!(manifest::url_variable("my-svc"), "MY_SVC_URL");
}
