//! Whether a shared cache may keep an answer, and how long it stays good (RFC 9111, RFC 5861). Given what the
//! headers say it decides; storage, coalescing and the network are others'.

use std::time::Duration;

/// A guess from `Last-Modified` is good for a day at most (RFC 9111 section 4.2.2 leaves it to the cache).
const GUESS_MAX: Duration = Duration::from_secs(24 * 3600);
/// Numbers of seconds count up to this one (RFC 9111 section 1.2.2).
const SECONDS_MAX: u64 = 1 << 31;

/// What a `Cache-Control` says, of a request or of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "directives that are there or not, each for itself")]
pub struct Directives {
    /// `no-store`
    pub no_store: bool,
    /// `no-cache`, with or without names of headers.
    pub no_cache: bool,
    /// `private`, with or without names of headers.
    pub private: bool,
    /// `public`
    pub public: bool,
    /// `must-revalidate`
    pub must_revalidate: bool,
    /// `proxy-revalidate`
    pub proxy_revalidate: bool,
    /// `only-if-cached`
    pub only_if_cached: bool,
    /// `max-age`
    pub max_age: Option<Duration>,
    /// `s-maxage`
    pub s_maxage: Option<Duration>,
    /// `stale-while-revalidate`
    pub stale_while_revalidate: Option<Duration>,
    /// `stale-if-error`
    pub stale_if_error: Option<Duration>,
    /// `max-stale`; without a number the longest there is.
    pub max_stale: Option<Duration>,
    /// `min-fresh`
    pub min_fresh: Option<Duration>,
}

impl Directives {
    /// Reads the values of all `Cache-Control` headers of a message. A number that is none counts as 0, so
    /// that what is said badly is not kept long; of two numbers the smaller counts.
    pub fn read<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut all = Self::default();
        for directive in values.into_iter().flat_map(directives) {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            let least = |known: &mut Option<Duration>| {
                let digits = value.trim().trim_matches('"');
                // No number is a stale one; one too large is the largest.
                let valid = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
                let number = if valid { digits.parse().unwrap_or(SECONDS_MAX) } else { 0 };
                let said = Duration::from_secs(number.min(SECONDS_MAX));
                *known = Some(known.map_or(said, |known| known.min(said)));
            };
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" => all.no_store = true,
                "no-cache" => all.no_cache = true,
                "private" => all.private = true,
                "public" => all.public = true,
                "must-revalidate" => all.must_revalidate = true,
                "proxy-revalidate" => all.proxy_revalidate = true,
                "only-if-cached" => all.only_if_cached = true,
                "max-age" => least(&mut all.max_age),
                "s-maxage" => least(&mut all.s_maxage),
                "stale-while-revalidate" => least(&mut all.stale_while_revalidate),
                "stale-if-error" => least(&mut all.stale_if_error),
                "max-stale" if value.is_empty() => all.max_stale = Some(Duration::from_secs(SECONDS_MAX)),
                "max-stale" => least(&mut all.max_stale),
                "min-fresh" => least(&mut all.min_fresh),
                _ => {}
            }
        }
        all
    }

    /// Whether an answer with these may never be given when it is stale (RFC 9111 section 4.2.4; `s-maxage`
    /// implies `proxy-revalidate`, section 5.2.2.10).
    pub fn is_strict(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.no_cache || self.s_maxage.is_some()
    }
}

/// The directives of one value; commas may stand within quotes.
fn directives(value: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    value
        .split(move |char| {
            quoted ^= char == '"';
            char == ',' && !quoted
        })
        .map(str::trim)
        .filter(|directive| !directive.is_empty())
}

/// An answer, as far as its keeping depends on it. Times are on the wall clock, since 1970.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Its status.
    pub status: u16,
    /// Its `Cache-Control`.
    pub directives: Directives,
    /// Its `Expires`; a date that is none is in the past.
    pub expires: Option<Duration>,
    /// Its `Date`.
    pub date: Option<Duration>,
    /// Its `Last-Modified`.
    pub modified: Option<Duration>,
    /// Its `Age`.
    pub age: Duration,
    /// Whether it can be asked whether it is still good: it has an `ETag` or a `Last-Modified`.
    pub has_validator: bool,
    /// Whether it sets a cookie.
    pub sets_cookie: bool,
    /// Whether the request had an `Authorization`.
    pub authorized: bool,
    /// Whether the request said `no-store`.
    pub asked_not_to: bool,
    /// When the request was sent.
    pub asked: Duration,
    /// When the head of the answer was there.
    pub answered: Duration,
}

/// How long an answer stays good from the time it was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// So long as it is.
    pub fresh: Duration,
    /// So long after that while a new one is fetched.
    pub while_revalidated: Duration,
    /// So long after it was fresh while there are only errors.
    pub if_error: Duration,
}

impl Facts {
    /// How old the answer was when it was there (RFC 9111 section 4.2.3, `corrected_initial_age`).
    pub fn initial_age(&self) -> Duration {
        let apparent = self.date.map_or(Duration::ZERO, |date| self.answered.saturating_sub(date));
        apparent.max(self.age + self.answered.saturating_sub(self.asked))
    }

    /// Whether a shared cache may keep it and how long it stays good; `None` if it may not, or if keeping it
    /// would be of no use (RFC 9111 section 3). Answers that set cookies are not kept, though the standard
    /// would allow it: they are one user's.
    pub fn by_standard(&self) -> Option<Lifetime> {
        let Directives { no_store, private, public, must_revalidate, s_maxage, .. } = self.directives;
        if no_store || private || self.sets_cookie || self.asked_not_to {
            return None;
        }
        // RFC 9111 section 3.5.
        if self.authorized && !(public || must_revalidate || s_maxage.is_some()) {
            return None;
        }
        let explicit = self.explicit();
        if !self.is_kept(explicit.is_some() || public) {
            return None;
        }
        let lifetime =
            if self.directives.no_cache { Duration::ZERO } else { explicit.unwrap_or_else(|| self.guess()) };
        let strict = self.directives.is_strict();
        let stale = |said: Option<Duration>| said.filter(|_| !strict).unwrap_or_default();
        let good = Lifetime {
            fresh: lifetime.saturating_sub(self.initial_age()),
            while_revalidated: stale(self.directives.stale_while_revalidate),
            if_error: stale(self.directives.stale_if_error),
        };
        let useful =
            self.has_validator || good.fresh + good.while_revalidated + good.if_error > Duration::ZERO;
        useful.then_some(good)
    }

    /// What the answer itself says (RFC 9111 section 4.2.1).
    fn explicit(&self) -> Option<Duration> {
        let until = |expires: Duration| expires.saturating_sub(self.date.unwrap_or(self.answered));
        self.directives.s_maxage.or(self.directives.max_age).or(self.expires.map(until))
    }

    /// Statuses that are kept: when nothing is said (RFC 9110 section 15.1), and when something is. Parts and
    /// answers to conditions are not among them.
    fn is_kept(&self, said: bool) -> bool {
        match self.status {
            200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501 => true,
            302 | 303 | 307 | 421 | 451 => said,
            _ => false,
        }
    }

    /// A tenth of the time it has not changed.
    fn guess(&self) -> Duration {
        let Some(modified) = self.modified else { return Duration::ZERO };
        let unchanged = self.date.unwrap_or(self.answered).saturating_sub(modified);
        (unchanged / 10).min(GUESS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    const NOW: u64 = 1_700_000_000;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn facts(cache_control: &str) -> Facts {
        Facts {
            status: 200,
            directives: Directives::read([cache_control]),
            date: Some(at(NOW)),
            asked: at(NOW),
            answered: at(NOW),
            ..Facts::default()
        }
    }

    fn check(facts: &Facts, expected: Expect) {
        let text = facts.by_standard().map_or_else(
            || "not kept".to_owned(),
            |good| {
                let Lifetime { fresh, while_revalidated, if_error } = good;
                format!("{fresh:?} {while_revalidated:?} {if_error:?}")
            },
        );
        expected.assert_eq(&text);
    }

    #[test]
    fn directives_are_read_in_every_form() {
        let read = |text: &str| Directives::read([text]);
        assert_eq!(read("MAX-AGE=60").max_age, Some(at(60)));
        assert_eq!(read("max-age=\"60\"").max_age, Some(at(60)));
        assert_eq!(read("max-age=60, max-age=30").max_age, Some(at(30)));
        assert_eq!(read("max-age=x").max_age, Some(Duration::ZERO));
        assert_eq!(read("max-age=-1").max_age, Some(Duration::ZERO));
        assert_eq!(read("max-age=99999999999999999999").max_age, Some(at(SECONDS_MAX)));
        assert_eq!(read("max-stale").max_stale, Some(at(SECONDS_MAX)));
        let quoted = read("no-cache=\"set-cookie, private\" , public,,");
        assert!(quoted.no_cache && quoted.public && !quoted.private);
        let two = Directives::read(["no-store", "max-age=5"]);
        assert!(two.no_store && two.max_age == Some(at(5)));
    }

    #[test]
    fn what_is_said_decides_and_what_is_not_said_is_guessed() {
        check(&facts("max-age=60"), expect!["60s 0ns 0ns"]);
        check(&facts("max-age=60, s-maxage=10"), expect!["10s 0ns 0ns"]);
        check(&facts("max-age=60, stale-while-revalidate=5, stale-if-error=9"), expect!["60s 5s 9s"]);
        check(&facts("max-age=60, stale-while-revalidate=5, must-revalidate"), expect!["60s 0ns 0ns"]);
        check(&facts("s-maxage=60, stale-if-error=5"), expect!["60s 0ns 0ns"]);
        check(&facts(""), expect!["not kept"]);
        check(
            &Facts { modified: Some(at(NOW - 1000)), has_validator: true, ..facts("") },
            expect!["100s 0ns 0ns"],
        );
        let ancient = Facts { modified: Some(at(0)), has_validator: true, ..facts("") };
        check(&ancient, expect!["86400s 0ns 0ns"]);
        check(&Facts { expires: Some(at(NOW + 30)), ..facts("") }, expect!["30s 0ns 0ns"]);
        check(&Facts { expires: Some(at(0)), ..facts("") }, expect!["not kept"]);
        check(&Facts { expires: Some(at(NOW + 30)), ..facts("max-age=5") }, expect!["5s 0ns 0ns"]);
        check(&Facts { has_validator: true, ..facts("no-cache") }, expect!["0ns 0ns 0ns"]);
    }

    #[test]
    fn an_answer_is_as_old_as_it_was_when_it_came() {
        check(&Facts { age: at(20), ..facts("max-age=60") }, expect!["40s 0ns 0ns"]);
        check(&Facts { date: Some(at(NOW - 50)), ..facts("max-age=60") }, expect!["10s 0ns 0ns"]);
        check(&Facts { asked: at(NOW - 5), age: at(20), ..facts("max-age=60") }, expect!["35s 0ns 0ns"]);
        check(&Facts { age: at(90), ..facts("max-age=60, stale-if-error=9") }, expect!["0ns 0ns 9s"]);
    }

    #[test]
    fn what_is_one_users_is_not_kept() {
        check(&facts("private, max-age=60"), expect!["not kept"]);
        check(&facts("no-store, max-age=60"), expect!["not kept"]);
        check(&Facts { sets_cookie: true, ..facts("public, max-age=60") }, expect!["not kept"]);
        check(&Facts { asked_not_to: true, ..facts("max-age=60") }, expect!["not kept"]);
        let authorized = |text: &str| Facts { authorized: true, ..facts(text) };
        check(&authorized("max-age=60"), expect!["not kept"]);
        check(&authorized("public, max-age=60"), expect!["60s 0ns 0ns"]);
        check(&authorized("s-maxage=60"), expect!["60s 0ns 0ns"]);
        check(&authorized("must-revalidate, max-age=60"), expect!["60s 0ns 0ns"]);
    }

    #[test]
    fn parts_and_errors_are_not_kept() {
        let status = |status, text: &str| Facts { status, ..facts(text) };
        check(&status(206, "max-age=60"), expect!["not kept"]);
        check(&status(304, "max-age=60"), expect!["not kept"]);
        check(&status(500, "max-age=60"), expect!["not kept"]);
        check(&status(404, "max-age=60"), expect!["60s 0ns 0ns"]);
        check(&status(302, "max-age=60"), expect!["60s 0ns 0ns"]);
        check(&Facts { modified: Some(at(0)), has_validator: true, ..status(302, "") }, expect!["not kept"]);
    }
}
