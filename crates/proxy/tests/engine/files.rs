//! Files of a folder over real sockets: parts, conditions, addresses, and every way out of the folder.

use crate::world::{World, message, why};
use std::fs;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

/// A folder with files, and a secret beside what is served.
fn folder() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let served = root.path().join("www");
    fs::create_dir_all(served.join("sub/deep")).unwrap();
    fs::write(served.join("a.txt"), "0123456789").unwrap();
    fs::write(served.join("b c.html"), "<p>spaced").unwrap();
    fs::write(served.join("empty"), "").unwrap();
    fs::write(served.join("sub/index.html"), "<h1>sub").unwrap();
    let large: Vec<u8> = (0..300_000u32).map(|at| (at % 251) as u8).collect();
    fs::write(served.join("large.bin"), large).unwrap();
    fs::write(root.path().join("secret.txt"), "secret").unwrap();
    symlink("../secret.txt", served.join("leak.txt")).unwrap();
    symlink("a.txt", served.join("link.txt")).unwrap();
    root
}

async fn world(root: &TempDir) -> World {
    let served = root.path().join("www");
    World::new(&format!(r#"r: * -> static("/files", {:?}) -> <shunt>"#, served.to_str().unwrap())).await
}

#[tokio::test]
async fn files_come_whole_in_parts_or_not_at_all() {
    let root = folder();
    let world = world(&root).await;
    let mut client = world.client().await;
    let whole = client.ask(message("GET /files/a.txt")).await;
    assert_eq!(whole.brief(), "200 0123456789");
    assert_eq!(whole.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!((whole.header("accept-ranges"), whole.header("content-length")), (Some("bytes"), Some("10")));
    let (etag, date) = (whole.header("etag").unwrap(), whole.header("last-modified").unwrap());
    for (headers, expected, range) in [
        ("Range: bytes=2-4".to_owned(), "206 234", Some("bytes 2-4/10")),
        ("Range: bytes=-3".to_owned(), "206 789", Some("bytes 7-9/10")),
        ("Range: bytes=7-".to_owned(), "206 789", Some("bytes 7-9/10")),
        ("Range: bytes=10-".to_owned(), "416 Range Not Satisfiable", Some("bytes */10")),
        ("Range: bytes=0-1,4-5".to_owned(), "200 0123456789", None),
        (format!("Range: bytes=2-4\nIf-Range: {etag}"), "206 234", Some("bytes 2-4/10")),
        ("Range: bytes=2-4\nIf-Range: \"other\"".to_owned(), "200 0123456789", None),
        (format!("If-None-Match: {etag}"), "304 ", None),
        (format!("If-Modified-Since: {date}"), "304 ", None),
        ("If-None-Match: \"other\"".to_owned(), "200 0123456789", None),
        ("If-Match: \"other\"".to_owned(), "412 Precondition Failed", None),
    ] {
        let answer = client.ask(message(&format!("GET /files/a.txt\n{headers}"))).await;
        assert_eq!((answer.brief().as_str(), answer.header("content-range")), (expected, range), "{headers}");
        if answer.status < 400 {
            assert_eq!(answer.header("etag"), Some(etag));
        }
    }
    let head = client.ask(message("HEAD /files/large.bin")).await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("300000"), 0));
    let large = client.ask(message("GET /files/large.bin")).await;
    assert!(large.complete && large.body.len() == 300_000 && large.body[250_000] == (250_000 % 251) as u8);
    let part = client.ask(message("GET /files/large.bin\nRange: bytes=100000-299998")).await;
    assert_eq!((part.status, part.header("content-range")), (206, Some("bytes 100000-299998/300000")));
    assert!(part.body == large.body[100_000..299_999]);
    assert_eq!(client.ask(message("GET /files/empty")).await.brief(), "200 ");
    assert_eq!(client.ask(message("GET /files/b%20c.html")).await.brief(), "200 <p>spaced");
    let posted = client.ask(message("POST /files/a.txt\n\nx")).await;
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD")));
}

#[tokio::test]
async fn a_folder_has_one_address_and_shows_its_page_or_its_names() {
    let root = folder();
    let world = world(&root).await;
    for (target, location) in [
        ("/files/sub", "sub/"),
        ("/files/sub?x=1", "sub/?x=1"),
        ("/files/sub/index.html", "./"),
        ("/files/sub/index.html?y", "./?y"),
    ] {
        let answer = world.ask(&format!("GET {target}")).await;
        assert_eq!((answer.status, answer.header("location")), (301, Some(location)), "{target}");
    }
    let page = world.ask("GET /files/sub/").await;
    assert_eq!(
        (page.brief().as_str(), page.header("content-type")),
        ("200 <h1>sub", Some("text/html; charset=utf-8"))
    );
    let list = world.ask("GET /files/").await.text();
    assert!(
        list.contains("<a href=\"./b%20c.html\">b c.html</a>\n")
            && list.contains("<a href=\"./sub/\">sub/</a>")
    );
}

#[tokio::test]
async fn nothing_outside_of_the_folder_is_served() {
    let root = folder();
    let world = world(&root).await;
    let outside = root.path().join("secret.txt");
    let targets = [
        "/files/../secret.txt",
        "/files/sub/../../secret.txt",
        "/files/%2e%2e/secret.txt",
        "/files/%2E%2E%2Fsecret.txt",
        "/files/..%2fsecret.txt",
        "/files/sub%2f..%2f..%2fsecret.txt",
        "/files/.%2e/secret.txt",
        "/files/..%5csecret.txt",
        "/files/%252e%252e/secret.txt",
        "/files/a.txt%00",
        "/files/%00",
        "/files/..;/secret.txt",
        "/files/%c0%ae%c0%ae/secret.txt",
        "/files/%ff",
        "/files/leak.txt",
        "/files//etc/passwd",
        "/files%2f%2fetc%2fpasswd",
        "/files/sub/nothing",
        "/files/a.txt/",
        "/other/a.txt",
    ]
    .map(str::to_owned);
    let absolute = format!("/files/{}", outside.display());
    for target in targets.into_iter().chain([absolute]) {
        let answer = world.client().await.ask(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
        assert!(matches!(answer.status, 400 | 404), "{target}: {}", answer.brief());
        assert!(!answer.text().contains("secret") && !answer.text().contains("root:"), "{target}");
        assert!(why(&answer).starts_with("cause=filter") || answer.status == 400, "{}", why(&answer));
    }
    // What stays within is served: a link, and a slash in either form.
    for target in ["/files/link.txt", "/files/./a.txt", "/files//a.txt", "/files%2fa.txt", "/files/sub%2f"] {
        assert_eq!(world.ask(&format!("GET {target}")).await.status, 200, "{target}");
    }
}
