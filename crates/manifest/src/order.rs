//! In which order services start: those that wait for nobody first, then those that wait for them only.

use crate::values::{Manifest, Source};
use std::collections::HashMap;

/// Levels of indexes into `manifest.services`: all that a service depends on stands in earlier levels, and the
/// services of one level may start at the same time. What goes in a circle, which no manifest that was read
/// without errors holds, comes last.
pub fn start_order(manifest: &Manifest) -> Vec<Vec<usize>> {
    let services = &manifest.services;
    let index: HashMap<&str, usize> =
        services.iter().enumerate().map(|(at, service)| (service.name.as_str(), at)).collect();
    let waits_for: Vec<Vec<usize>> = services
        .iter()
        .map(|service| match &service.source {
            Source::Run(command) => {
                command.depends_on.iter().filter_map(|on| index.get(on.service.as_str()).copied()).collect()
            }
            Source::At(_) => Vec::new(),
        })
        .collect();
    let mut placed = vec![false; services.len()];
    let mut left: Vec<usize> = (0..services.len()).collect();
    let mut levels = Vec::new();
    while !left.is_empty() {
        let (mut ready, mut later): (Vec<usize>, Vec<usize>) =
            left.into_iter().partition(|at| waits_for[*at].iter().all(|on| placed[*on]));
        if ready.is_empty() {
            std::mem::swap(&mut ready, &mut later);
        }
        for at in &ready {
            placed[*at] = true;
        }
        levels.push(ready);
        left = later;
    }
    levels
}
