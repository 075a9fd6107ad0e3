//! Why a request takes the route it takes: all routes that could have served it, and what kept the others
//! from it.

use super::rule::{Rule, Said};
use super::{Lookup, ROOT};
use crate::question::Question;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};

/// Longest list in an explanation.
pub const LISTED_MAX: usize = 100;

/// Why a request takes the route it takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The path as routes see it.
    pub path: String,
    /// How many routes there are.
    pub routes: usize,
    /// The route that serves.
    pub winner: Option<Matched>,
    /// Routes that would serve if those before them were not there, in order.
    pub runners_up: Vec<Matched>,
    /// Routes that do not match, in the order in which they would be tried: first those whose path matches.
    pub refused: Vec<Refused>,
    /// How many routes more there would be in the lists, were they not limited.
    pub unlisted: usize,
}

/// A route that matches.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Matched {
    /// Its id.
    pub id: String,
    /// Its precedence among the routes of its place.
    pub weight: i64,
    /// The predicate of its path; `None` for a route without, which comes after all that have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Its path parameters.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
}

/// A route that does not match.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Refused {
    /// Its id.
    pub id: String,
    /// Its precedence among the routes of its place.
    pub weight: i64,
    /// Whether its path matches, or it has none.
    pub path_matches: bool,
    /// The first predicate that refuses the request.
    pub predicate: String,
    /// Where that stands in the route's source, in bytes.
    pub start: usize,
    /// See `start`.
    pub end: usize,
}

impl<T> Lookup<T> {
    /// Why a request takes the route it takes. Looks at every route: for people, not for every request.
    /// Predicates of chance are drawn anew, so two explanations of one request may differ.
    pub fn explain(&self, question: &Question<'_>) -> Explanation {
        let path = self.path_of(question);
        let mut places = Vec::new();
        self.tree.search(path, &mut (), &mut |leaf, &mut ()| {
            places.push(leaf);
            None::<()>
        });
        places.push(ROOT);
        let mut explanation = Explanation {
            path: question.path().to_owned(),
            routes: self.rules.len(),
            winner: None,
            runners_up: Vec::new(),
            refused: Vec::new(),
            unlisted: 0,
        };
        let mut seen = HashSet::new();
        for at in places.into_iter().flat_map(|leaf| self.leaves.ranked(leaf)) {
            if seen.insert(at) {
                let rule = self.rule(at);
                match rule.refused_by(question) {
                    Some(said) => explanation.refuse(rule, said, true),
                    None => explanation.accept(self.matched(at, question)),
                }
            }
        }
        for (at, rule) in (0..).zip(&self.rules) {
            if let Some(place) = rule.place.as_ref().filter(|_| !seen.contains(&at)) {
                explanation.refuse(rule, place, false);
            }
        }
        explanation
    }

    fn matched(&self, at: u32, question: &Question<'_>) -> Matched {
        let rule = self.rule(at);
        let params = self.params(&self.served[at as usize].captures, question);
        Matched {
            id: rule.id.to_string(),
            weight: rule.weight,
            place: rule.place.as_ref().map(|place| place.text.to_string()),
            params: params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        }
    }
}

impl Explanation {
    fn accept(&mut self, matched: Matched) {
        if self.winner.is_none() {
            self.winner = Some(matched);
        } else if self.runners_up.len() < LISTED_MAX {
            self.runners_up.push(matched);
        } else {
            self.unlisted += 1;
        }
    }

    fn refuse(&mut self, rule: &Rule, by: &Said, path_matches: bool) {
        if self.refused.len() >= LISTED_MAX {
            self.unlisted += 1;
            return;
        }
        self.refused.push(Refused {
            id: rule.id.to_string(),
            weight: rule.weight,
            path_matches,
            predicate: by.text.to_string(),
            start: by.span.start,
            end: by.span.end,
        });
    }
}
