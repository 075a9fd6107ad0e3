//! Requests for services outside: secrets that go along, and paths that stay as they were sent.

use crate::world::{Setup, World};
use proxy::{Handles, Secrets, Settings};
use std::sync::Arc;
use testkit::Backend;

#[tokio::test]
async fn secrets_from_files_go_into_headers_and_what_the_caller_sent_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let (token, key) = (folder.path().join("token"), folder.path().join("key"));
    std::fs::write(&token, "t0k3n\n").unwrap();
    let secrets = Arc::new(Secrets::read(vec![folder.path().to_owned()]).unwrap());
    let backend = Backend::echo().await;
    let world = World::with(
        Setup { handles: Handles { secrets: secrets.clone(), ..Handles::default() }, ..Setup::default() },
        &format!(
            r#"r: * -> bearerinjector("{}") -> setRequestHeaderFromSecret("X-Key", "{}", "<", ">") -> "{}""#,
            token.display(),
            key.display(),
            backend.url()
        ),
    )
    .await;
    let request = "GET /\nAuthorization: Bearer mine\nX-Key: mine";
    world.ask(request).await;
    std::fs::write(&key, "k").unwrap();
    std::fs::write(&token, "a\nb").unwrap();
    assert!(secrets.refresh().is_empty());
    world.ask(request).await;
    let seen = backend.wait_for(2).await;
    let headers = |at: usize| ["authorization", "x-key"].map(|name| seen[at].header(name));
    assert_eq!(headers(0), [Some("Bearer t0k3n"), None]);
    assert_eq!(headers(1), [None, Some("<k>")], "no header can carry a line break");
    let records = world.records(2).await;
    assert_eq!(records[0]["tags"]["secret.missing"], key.to_str().unwrap());
    assert_eq!(records[1]["tags"]["secret.missing"], token.to_str().unwrap());
    assert!(!records[0].to_string().contains("t0k3n"));
}

#[tokio::test]
async fn an_encoded_slash_stays_what_it_was_where_a_route_or_the_gateway_says_so() {
    let backend = Backend::echo().await;
    let url = backend.url();
    let routes = format!(
        r#"api: Path("/api/:id") -> setPath("/api/${{id}}/summary") -> "{url}";
           patch: Path("/api/*id") -> rfcPath() -> <loopback>;
           plain: Path("/plain/*rest") -> modPath("plain", "p") -> "{url}";
           asis: Path("/asis/*rest") -> "{url}";"#
    );
    let world = World::new(&routes).await;
    for target in ["/api/foo%2Fbar", "/plain/a%2fb%20c", "/asis/a%2Fb"] {
        assert_eq!(world.ask(&format!("GET {target}")).await.status, 200);
    }
    let settings = Settings { keeps_reserved: true, ..Settings::default() };
    let whole = World::with(Setup { settings, ..Setup::default() }, &routes).await;
    for target in ["/api/foo%2Fbar", "/plain/a%2fb%20c"] {
        assert_eq!(whole.ask(&format!("GET {target}")).await.status, 200);
    }
    let seen: Vec<_> = backend.wait_for(5).await.into_iter().map(|seen| seen.target).collect();
    assert_eq!(
        seen,
        ["/api/foo%2Fbar/summary", "/p/a/b%20c", "/asis/a%2Fb", "/api/foo%2Fbar/summary", "/p/a%2fb%20c"]
    );
}
