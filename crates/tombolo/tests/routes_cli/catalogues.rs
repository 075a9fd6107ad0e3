//! `tombolo routes filters` and `predicates`: the tables in the terminal.

use super::desk::{Desk, check, expect};

#[test]
fn one_filter_or_predicate_whole() {
    check(
        "filters setPath",
        "",
        expect![[r#"
        setPath(path)

        Sets the path. The query stays. A placeholder that has no value is empty.

        example   * -> setPath("/v2${request.path}") -> "http://backend"
        request   GET /carts?id=7
        backend   GET /v2/carts?id=7
        response  200
        exit 0
    "#]],
    );
    check(
        "filters redirectTo",
        "",
        expect![[r#"
        redirectTo(code[, location])

        Answers with a redirect; the backend is not asked. Host, path and query that the location
        does not give are the request's own. The scheme is `https` unless the location gives
        another, also for requests that came without TLS.

        example   * -> redirectTo(302, "/new") -> "http://backend"
        request   GET /old?a=1
                  host: shop.example
        backend   (is not asked)
        response  302
                  location: https://shop.example/new?a=1
        exit 0
    "#]],
    );
    check(
        "predicates Methods",
        "",
        expect![[r#"
        Methods(method, ...)

        Matches any of these methods, in upper or lower case. Known are GET, HEAD, POST, PUT,
        PATCH, DELETE, CONNECT, OPTIONS and TRACE.

        example   Methods("GET", "head") -> <shunt>
        matches   GET /
        matches   HEAD /
        matches   get /
        refuses   POST /
        exit 0
    "#]],
    );
    check(
        "predicates ClientIP",
        "",
        expect![[r#"
        ClientIP(network, ...)

        Matches if the other end of the connection is in one of these networks, whatever the
        headers say.

        example   ClientIP("127.0.0.1") -> <shunt>
        matches   GET /, X-Forwarded-For: 9.9.9.9, @remote 127.0.0.1
        refuses   GET /, X-Forwarded-For: 127.0.0.1, @remote 9.9.9.9
        exit 0
    "#]],
    );
}

#[test]
fn a_name_that_is_none_is_answered_with_the_nearest() {
    check(
        "filters setpath",
        "",
        expect![[r#"
        --
        error: there is no filter `setpath`
        hint: did you mean `setPath`?
        exit 1
    "#]],
    );
    check(
        "predicates Path2Nowhere",
        "",
        expect![[r#"
        --
        error: there is no predicate `Path2Nowhere`
        hint: `tombolo routes predicates` lists them
        exit 1
    "#]],
    );
}

#[test]
fn all_of_them_one_a_line() {
    let desk = Desk::with(&[]);
    let filters = desk.run("filters", "");
    let line = "setPath(path)                             Sets the path.\n";
    assert!(filters.starts_with("Answers\nstatus(code)") && filters.contains(line), "{filters}");
    let predicates = desk.run("predicates", "");
    assert!(predicates.starts_with("Path(path)"), "{predicates}");
    assert!(predicates.lines().count() > 30 && filters.lines().count() > 80);
}
