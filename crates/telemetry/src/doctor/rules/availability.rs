//! What the best availability of an entry can be, given the services that it needs one after the other.

use super::{called, evidence};
use crate::doctor::observed::{Entry, Need};
use crate::doctor::{Case, Observed};

/// Traces of the entry.
pub(in crate::doctor) const ENTRY_TRACES_MIN: u64 = 100;
/// Failures among them.
pub(in crate::doctor) const FAILURES_MIN: u64 = 5;
/// Services that it needs, and the share of its traces in which it needs one.
pub(in crate::doctor) const NEEDS_MIN: usize = 2;
pub(in crate::doctor) const NEEDED_SHARE_MIN: f64 = 0.95;
/// Share of requests that fails at best.
pub(in crate::doctor) const LOST_MIN: f64 = 0.01;

/// Wilson's bound covers the truth in 95 of 100 cases.
const Z: f64 = 1.96;

pub(in crate::doctor) fn find(observed: &Observed) -> Vec<Case> {
    let mut cases = Vec::new();
    for ((service, name), entry) in &observed.entries {
        if let Some((lost, case)) = judge(service, name, entry) {
            cases.push((lost, case));
        }
    }
    cases.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    cases.into_iter().map(|(_, case)| case).collect()
}

fn judge(service: &str, name: &str, entry: &Entry) -> Option<(f64, Case)> {
    let traces = entry.seen.traces;
    if traces < ENTRY_TRACES_MIN {
        return None;
    }
    let is_needed = |need: &Need| need.seen.traces as f64 >= NEEDED_SHARE_MIN * traces as f64;
    let mut needs: Vec<_> = entry.needs.iter().filter(|(_, need)| is_needed(need)).collect();
    needs.sort_by_key(|(_, need)| std::cmp::Reverse(need.failed.traces));
    let failures: u64 = needs.iter().map(|(_, need)| need.failed.traces).sum();
    let best: f64 =
        needs.iter().map(|(_, need)| 1.0 - least_share(need.failed.traces, need.seen.traces)).product();
    if needs.len() < NEEDS_MIN || failures < FAILURES_MIN || 1.0 - best < LOST_MIN {
        return None;
    }
    let good = |need: &Need| 100.0 * (1.0 - need.failed.traces as f64 / need.seen.traces.max(1) as f64);
    let failing = needs.iter().filter(|(_, need)| need.failed.traces > 0);
    let told: Vec<String> = failing.map(|(name, need)| format!("`{name}` {:.2} %", good(need))).collect();
    let (worst, _) = needs.first()?;
    let case = Case {
        what: format!(
            "{} of `{service}` needs {} services one after the other and can be available {:.2} % of the time at best: {} \
             ({failures} of {traces} traces failed)",
            called(name),
            needs.len(),
            100.0 * best,
            told.join(", ")
        ),
        evidence: evidence(needs.iter().map(|(_, need)| &need.failed)),
        remedy: format!("begin with `{worst}`: retry it where a call may be repeated, or answer without it"),
    };
    Some((1.0 - best, case))
}

/// The least share of failures that so many of so many can be a sample of (Wilson's lower bound).
fn least_share(failed: u64, all: u64) -> f64 {
    if failed == 0 || all == 0 {
        return 0.0;
    }
    let (failed, all) = (failed as f64, all as f64);
    let share = failed / all;
    let middle = share + Z * Z / (2.0 * all);
    let spread = Z * (share * (1.0 - share) / all + Z * Z / (4.0 * all * all)).sqrt();
    ((middle - spread) / (1.0 + Z * Z / all)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_no_more_exact_than_its_sample() {
        let rounded = |failed, all| format!("{:.4}", least_share(failed, all));
        // Wilson's interval of 5 of 100 is 2.15 % to 11.18 %, that of 50 of 1,000 is 3.81 % to 6.53 %.
        assert_eq!([rounded(5, 100), rounded(50, 1_000), rounded(0, 100)], ["0.0215", "0.0381", "0.0000"]);
    }
}
