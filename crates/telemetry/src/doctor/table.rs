//! The rules, one entry each: what is told, why, and how much has to be seen before it is. The reference page follows
//! from this table.

use super::rules::{availability, calls, chains, cycles, policies, retries};
use super::{Case, Observed, Severity};
use std::fmt::Write as _;

/// One thing that is looked for.
#[derive(Debug)]
pub struct Rule {
    /// Its name for machines; never changed.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it is, in a few words.
    pub title: &'static str,
    /// Why it is bad, and when it is not.
    pub explanation: &'static str,
    /// What to do about it.
    pub advice: &'static str,
    /// What has to be seen before it is told.
    pub minimums: &'static [Minimum],
    pub(crate) find: fn(&Observed) -> Vec<Case>,
}

/// How much has to be seen.
#[derive(Debug)]
pub struct Minimum {
    /// Of what.
    pub of: &'static str,
    /// How much.
    pub least: f64,
    /// Why not less.
    pub why: &'static str,
}

/// All of them.
pub const RULES: &[Rule] = &[
    Rule {
        code: "retried-retries",
        severity: Severity::Error,
        title: "retries within retries",
        explanation: "A call was tried again while a call that it waits for was tried again, too. Each level multiplies \
                      the tries of the next: when the last service is in trouble, it gets many times the calls that it \
                      gets in good times, and can't recover.",
        advice: "Retry at one level only, next to the service that fails, and let the levels above take its failure \
                 for an answer.",
        minimums: &[Minimum {
            of: "traces in which both levels retried",
            least: retries::RETRIED_TRACES_MIN as f64,
            why: "one may be chance: two failures that had nothing to do with each other",
        }],
        find: retries::retried,
    },
    Rule {
        code: "cyclic-dependency",
        severity: Severity::Warning,
        title: "services wait for each other in a circle",
        explanation: "Services that call each other in a circle can't be started, deployed or understood one by one, and \
                      when each waits for the next with all its threads, none goes on. Calls are counted, messages are \
                      not: who takes a message waits for nobody.",
        advice: "Turn one of the calls into a message, or move what both need into a service of its own.",
        minimums: &[Minimum {
            of: "traces that show each call of the circle",
            least: cycles::CALL_TRACES_MIN as f64,
            why: "a single odd request, such as one by hand, makes no dependency",
        }],
        find: cycles::find,
    },
    Rule {
        code: "deep-chain",
        severity: Severity::Warning,
        title: "a long chain of calls that wait for each other",
        explanation: "Each service of the chain waits for all below it: their times add up, and each of their failures \
                      is a failure of the whole. Databases and others that report nothing of their own are not counted.",
        advice: "Let the first service ask several others itself, give data along instead of having it asked for again, \
                 or end the chain with a message where nobody needs the answer at once.",
        minimums: &[
            Minimum {
                of: "calls that wait for each other",
                least: chains::DEEP_CALLS_MIN as f64,
                why: "four levels are usual: an edge, a service for a page, one for a part of it, one for its data",
            },
            Minimum {
                of: "traces that show the chain",
                least: chains::TRACES_MIN as f64,
                why: "a chain that came about once may be an experiment",
            },
        ],
        find: chains::find,
    },
    Rule {
        code: "chatty-calls",
        severity: Severity::Warning,
        title: "many calls of one kind where one might do",
        explanation: "To serve one request a service makes the same kind of call again and again, often one for each \
                      entry of a list (N+1). Its time grows with the list. Calls that follow more than 100 ms after the \
                      last one are not counted, as whoever polls or works off a queue makes such; nor are retries.",
        advice: "Ask for all entries in one call, or keep what was asked for.",
        minimums: &[
            Minimum {
                of: "calls of one kind in a row for one request",
                least: calls::BURST_CALLS_MIN as f64,
                why: "a handful of calls may be a handful of different things",
            },
            Minimum {
                of: "traces that show it",
                least: calls::BURST_TRACES_MIN as f64,
                why: "one large list may be one large customer",
            },
        ],
        find: calls::bursts,
    },
    Rule {
        code: "retries-multiply",
        severity: Severity::Warning,
        title: "retries that would multiply down a chain",
        explanation: "Several calls of a chain are tried again when they fail. If the last service fails, the calls that \
                      it gets are the product of all of them. What the budget of a `retry` filter allows is counted, \
                      not how often one call may be tried: with a budget of 0.2 a level adds a fifth.",
        advice: "Keep `retry` at the last level, or give the levels above a small budget, such as `retry(2, \
                 \"connect\", 0.1)`.",
        minimums: &[
            Minimum {
                of: "times the calls of good times",
                least: retries::FACTOR_MIN,
                why: "twice as many is what one level may add by itself",
            },
            Minimum {
                of: "traces that show the chain",
                least: retries::CHAIN_TRACES_MIN as f64,
                why: "a chain that is never gone down multiplies nothing",
            },
        ],
        find: retries::multiply,
    },
    Rule {
        code: "no-timeout",
        severity: Severity::Warning,
        title: "calls without a timeout of their own",
        explanation: "No `backendTimeout` bounds the calls to a service, only the carrier's general patience. When it \
                      hangs, all that call it hang with it. Only calls that Tombolo carries are judged.",
        advice: "Give the service `filters: backendTimeout(\"2s\")`, with a time that its longest good answer needs.",
        minimums: &[Minimum {
            of: "traces with such a call",
            least: policies::TIMEOUT_TRACES_MIN as f64,
            why: "what is hardly ever called hangs hardly anybody",
        }],
        find: policies::no_timeout,
    },
    Rule {
        code: "no-breaker",
        severity: Severity::Warning,
        title: "a service that everything depends on, without a breaker",
        explanation: "Most services depend on this one, directly or by others. When it fails, all of them wait for \
                      it, and keep it from recovering by calling on. A breaker answers for it at once until it is well. \
                      Only calls that Tombolo carries are judged.",
        advice: "Give the service `filters: consecutiveBreaker(20)`.",
        minimums: &[
            Minimum {
                of: "services that depend on it",
                least: policies::DEPENDENTS_MIN as f64,
                why: "in a smaller system everything depends on everything",
            },
            Minimum {
                of: "share of all services that call others",
                least: policies::DEPENDENTS_SHARE_MIN,
                why: "what fails for a part of a system is no matter of all of it",
            },
            Minimum {
                of: "traces that come to it",
                least: policies::BREAKER_TRACES_MIN as f64,
                why: "a breaker counts failures: without traffic it knows nothing",
            },
        ],
        find: policies::no_breaker,
    },
    Rule {
        code: "unbounded-fan-out",
        severity: Severity::Warning,
        title: "many calls at once without a deadline",
        explanation: "A request is answered when the slowest of the calls that it makes at once is. The more there are, \
                      the more likely one of them is slow, and nothing bounds how long: neither the calls nor the \
                      request have a `backendTimeout`. Only calls that Tombolo carries are judged.",
        advice: "Give the services that are called, or the one that calls them, a `backendTimeout`, and answer without \
                 the parts that come too late.",
        minimums: &[
            Minimum {
                of: "calls under way at the same time for one request",
                least: calls::AT_ONCE_MIN as f64,
                why: "with a few, the slowest is seldom much slower than the others",
            },
            Minimum {
                of: "traces that show it",
                least: calls::FAN_TRACES_MIN as f64,
                why: "calls that overlap once may overlap by chance",
            },
        ],
        find: calls::fans,
    },
    Rule {
        code: "availability",
        severity: Severity::Warning,
        title: "an entry that fails with what it needs",
        explanation: "An entry can't be available more often than all the services that it calls in sequence together: \
                      their availabilities multiply. Counted are failures that came through to the entry, each where \
                      it began; those that a retry or an answer in their place made good are not. Each availability is \
                      taken as high as the traces allow (Wilson's bound at 95 %), and the product of these is judged.",
        advice: "Begin with the service that costs most: retry what may be repeated, answer without it where that will \
                 do, or take it out of the way by a message.",
        minimums: &[
            Minimum {
                of: "traces of the entry",
                least: availability::ENTRY_TRACES_MIN as f64,
                why: "a share of a hundred is no more exact than a hundredth",
            },
            Minimum {
                of: "failures among them",
                least: availability::FAILURES_MIN as f64,
                why: "a few failures are one bad minute",
            },
            Minimum {
                of: "services that it needs",
                least: availability::NEEDS_MIN as f64,
                why: "of one service the number is its own and no matter of what calls what",
            },
            Minimum {
                of: "share of the entry's traces in which it needs a service",
                least: availability::NEEDED_SHARE_MIN,
                why: "what is called now and then is not in sequence with the rest",
            },
            Minimum {
                of: "share of requests that fails at best",
                least: availability::LOST_MIN,
                why: "more than 99 of 100 is what most can live with",
            },
        ],
        find: availability::find,
    },
    Rule {
        code: "undeclared-call",
        severity: Severity::Warning,
        title: "a call that nobody declared",
        explanation: "A service of the manifest calls another one that it does not name in `calls`. The call goes around \
                      what the manifest gives it: its address, its filters, the order of starts.",
        advice: "Declare it in `calls`, and let the service use the address that it is given for it.",
        minimums: &[Minimum {
            of: "traces with the call",
            least: policies::UNDECLARED_TRACES_MIN as f64,
            why: "a single one may be somebody trying something by hand",
        }],
        find: policies::undeclared,
    },
    Rule {
        code: "no-retry",
        severity: Severity::Note,
        title: "failures that another try might have made good",
        explanation: "Some calls to a service fail, most do not, and no `retry` tries those that failed again. Answers \
                      that blame the caller (4xx) are no failures. Only calls that Tombolo carries are judged.",
        advice: "Give the service `filters: retry(2)`: it repeats by itself only what is safe to repeat.",
        minimums: &[
            Minimum {
                of: "failed calls",
                least: policies::FAILURES_MIN as f64,
                why: "what hardly ever fails needs no second try",
            },
            Minimum {
                of: "traces with such a failure",
                least: policies::FAILED_TRACES_MIN as f64,
                why: "many failures of one request have one cause, which another try would meet again",
            },
            Minimum {
                of: "share of calls that go well",
                least: policies::GOOD_SHARE_MIN,
                why: "what fails most of the time fails again",
            },
        ],
        find: policies::no_retry,
    },
    Rule {
        code: "unused-call",
        severity: Severity::Note,
        title: "a declared call that is never made",
        explanation: "A service names another one in `calls` and was busy without ever calling it. What is declared and \
                      not needed gives a service more reach than it uses, and makes others wait at the start. Calls at \
                      any time that is still kept count, not only those of the traces that are looked at.",
        advice: "Take it out of `calls`, or find out why it is not made any more.",
        minimums: &[Minimum {
            of: "traces in which the caller was at work",
            least: policies::UNUSED_TRACES_MIN as f64,
            why: "some calls are rare; of a service that was hardly asked nothing can be said",
        }],
        find: policies::unused,
    },
];

/// The reference page, made of the table.
pub fn reference() -> String {
    let mut page = String::from(
        "# What the doctor looks for\n\nGenerated from the table in the code. `tombolo doctor` tells each with its code. \
         Nothing is told before enough was seen: the least of it stands with each rule. Counted are the traces that \
         were looked at: [the guide](../guides/doctor.md) says which.\n",
    );
    for rule in RULES {
        let Rule { code, title, explanation, advice, .. } = rule;
        _ = write!(
            page,
            "\n## {code}\n\n**{}**: {title}.\n\n{explanation}\n\n{advice}\n\n| at least | of | because |\n|---|---|---|\n",
            rule.severity.name()
        );
        for Minimum { of, least, why } in rule.minimums {
            _ = writeln!(page, "| {least} | {of} | {why} |");
        }
    }
    page
}
