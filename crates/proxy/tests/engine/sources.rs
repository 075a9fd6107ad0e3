//! Where routes come from, while they change: files, addresses, and the steps between them and the table.

use crate::world::World;
use proxy::{RouteSource, RouteSources, RouteStep};
use std::sync::Arc;
use std::sync::Mutex;
use testkit::{Backend, Reply};
use wire::Dialer;

/// Reads the sources again and puts their table in force, as whoever serves does.
async fn reload(sources: &mut RouteSources, world: &World) -> (bool, Vec<String>) {
    let refreshed = sources.refresh(&Dialer::default()).await;
    let mut codes: Vec<_> =
        refreshed.diagnostics.iter().map(|diagnostic| diagnostic.code.to_string()).collect();
    if refreshed.changed {
        let (table, told) = sources.build(world.plane.builder());
        codes.extend(told.iter().map(|diagnostic| diagnostic.code.to_string()));
        world.plane.put(table);
    }
    (refreshed.changed, codes)
}

#[tokio::test]
async fn a_file_is_read_again_and_a_bad_one_takes_nothing_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routes.eskip");
    let world = World::new("").await;
    let mut sources = RouteSources::new(vec![RouteSource::File(path.clone())], Vec::new());
    assert_eq!(sources.files().collect::<Vec<_>>(), [path.as_path()]);
    let (changed, told) = reload(&mut sources, &world).await;
    assert_eq!((changed, told.len()), (false, 1), "a missing file is told once");
    assert_eq!(reload(&mut sources, &world).await, (false, vec![]));
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    write("a: * -> status(201) -> <shunt>");
    assert_eq!(reload(&mut sources, &world).await, (true, vec![]));
    assert_eq!(world.ask("GET /").await.status, 201);
    assert_eq!(reload(&mut sources, &world).await, (false, vec![]), "the same text is no news");
    write("a: * -> status(202 -> <shunt>");
    let (_, told) = reload(&mut sources, &world).await;
    assert!(!told.is_empty());
    assert_eq!(world.ask("GET /").await.status, 201, "the last good one is in force");
    write(r#"a: * -> status(203) -> <shunt>; b: Path("/b") -> nope() -> <shunt>"#);
    let (_, told) = reload(&mut sources, &world).await;
    assert_eq!(told, ["unknown_filter"]);
    assert_eq!(world.ask("GET /b").await.status, 203, "one bad route is left out, the others serve");
    std::fs::write(&path, [b'a', 0xff]).unwrap();
    let (changed, told) = reload(&mut sources, &world).await;
    assert_eq!((changed, told.len()), (false, 1));
    std::fs::remove_file(&path).unwrap();
    reload(&mut sources, &world).await;
    assert_eq!(world.ask("GET /").await.status, 203);
}

#[tokio::test]
async fn an_address_is_asked_with_its_tag_and_keeps_its_routes_when_it_fails() {
    let served = Arc::new(Mutex::new(("\"1\"", "r: * -> status(201) -> <shunt>", 200)));
    let script = served.clone();
    let backend = Backend::start(move |seen| {
        let (tag, text, status) = *script.lock().unwrap();
        if status != 200 {
            return Reply::status(status);
        }
        if seen.header("if-none-match") == Some(tag) {
            return Reply::status(304).header("ETag", tag);
        }
        Reply::ok(text).header("ETag", tag)
    })
    .await;
    let world = World::new("").await;
    let url = format!("{}/routes?a=b", backend.url());
    let mut sources = RouteSources::new(vec![RouteSource::Url(url)], Vec::new());
    assert!(sources.has_urls());
    assert_eq!(reload(&mut sources, &world).await, (true, vec![]));
    assert_eq!(world.ask("GET /").await.status, 201);
    assert_eq!(reload(&mut sources, &world).await, (false, vec![]));
    assert_eq!(backend.seen()[1].header("if-none-match"), Some("\"1\""));
    assert_eq!(backend.seen()[1].line(), "GET /routes?a=b");
    *served.lock().unwrap() = ("\"2\"", "r: * -> status(202) -> <shunt>", 200);
    assert_eq!(reload(&mut sources, &world).await, (true, vec![]));
    assert_eq!(world.ask("GET /").await.status, 202);
    served.lock().unwrap().2 = 500;
    assert_eq!(reload(&mut sources, &world).await, (false, vec!["unreadable_routes".to_owned()]));
    assert_eq!(reload(&mut sources, &world).await, (false, vec![]), "told once");
    assert_eq!(world.ask("GET /").await.status, 202);
    drop(backend);
    assert_eq!(reload(&mut sources, &world).await.1, ["unreadable_routes"]);
    assert_eq!(world.ask("GET /").await.status, 202);
}

#[tokio::test]
async fn steps_change_every_table_on_its_way() {
    let steps = vec![
        RouteStep::Edit(eskip::Edit::parse("/Source[(](.*)[)]/ClientIP($1)/").unwrap()),
        RouteStep::Around(eskip::DefaultFilters {
            prepend: eskip::parse_filters(&base::Source::new("p", r#"setResponseHeader("X-First", "1")"#))
                .unwrap(),
            append: eskip::parse_filters(&base::Source::new("a", r#"setResponseHeader("X-Last", "1")"#))
                .unwrap(),
        }),
        RouteStep::Without(eskip::DisabledFilters { names: ["latency".to_owned()].into() }),
    ];
    let world = World::new("").await;
    let text = r#"a: Path("/a") && Source("127.0.0.0/8") -> status(201) -> <shunt>; b: Path("/b") -> latency(1) -> <shunt>;"#;
    let source = RouteSource::Text(base::Source::new("inline", text));
    let mut sources = RouteSources::new(vec![source], steps);
    let (changed, told) = reload(&mut sources, &world).await;
    assert!(changed && told.len() == 1, "{told:?}");
    let answer = world.ask("GET /a").await;
    assert_eq!(answer.status, 201);
    assert_eq!((answer.header("x-first"), answer.header("x-last")), (Some("1"), Some("1")));
    assert_eq!(world.ask("GET /b").await.status, 404, "a route with a disabled filter is left out");
    assert_eq!(world.plane.table().routes[0].source.predicates[1].name, "ClientIP");
}

#[tokio::test]
async fn sources_that_stay_keep_what_they_read() {
    let world = World::new("").await;
    let text = |name: &str, text: &str| RouteSource::Text(base::Source::new(name, text));
    let (a, b) = (
        text("a", r#"a: Path("/a") -> status(201) -> <shunt>"#),
        text("b", r#"b: Path("/b") -> status(202) -> <shunt>"#),
    );
    let mut sources = RouteSources::new(vec![a.clone()], Vec::new());
    reload(&mut sources, &world).await;
    sources.replace(vec![b, a]);
    reload(&mut sources, &world).await;
    assert_eq!((world.ask("GET /a").await.status, world.ask("GET /b").await.status), (201, 202));
}
