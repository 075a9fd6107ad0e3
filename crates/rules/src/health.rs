//! Active health: an endpoint whose probes fail so many times in a row is unhealthy, until so many succeed.

/// How many probes in a row change what is thought of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Thresholds {
    /// Failures that make it unhealthy, at least one.
    pub unhealthy_after: u32,
    /// Successes that make it healthy again, at least one.
    pub healthy_after: u32,
}

/// What is thought of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    healthy: bool,
    /// Probes in a row that speak against it.
    against: u32,
}

impl Default for Health {
    /// Healthy: an endpoint that nobody has probed yet serves.
    fn default() -> Self {
        Self { healthy: true, against: 0 }
    }
}

impl Health {
    /// A probe ended. Answers whether the endpoint is healthy now, if that has changed.
    pub fn probed(&mut self, succeeded: bool, thresholds: Thresholds) -> Option<bool> {
        if succeeded == self.healthy {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let needed = if self.healthy { thresholds.unhealthy_after } else { thresholds.healthy_after };
        if self.against < needed {
            return None;
        }
        *self = Self { healthy: succeeded, against: 0 };
        Some(succeeded)
    }

    /// Whether it is healthy.
    pub fn is_healthy(&self) -> bool {
        self.healthy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays probes (`s` and `f`) with 3 failures and 2 successes needed; answers `U` and `H` for changes.
    fn check(probes: &str, expected: &str) {
        let (mut health, mut told) = (Health::default(), String::new());
        for probe in probes.chars() {
            let change = health.probed(probe == 's', Thresholds { unhealthy_after: 3, healthy_after: 2 });
            told.push(match change {
                None => '.',
                Some(true) => 'H',
                Some(false) => 'U',
            });
            assert_eq!(health.is_healthy(), !told.contains('U') || told.rfind('H') > told.rfind('U'));
        }
        assert_eq!(told, expected, "{probes}");
    }

    #[test]
    fn probes_in_a_row_change_it_and_others_in_between_do_not() {
        check("ssfffss", "....U.H");
        check("ffsffsfff", "........U");
        check("fffsfsfss", "..U.....H");
        check("fffffffss", "..U.....H");
    }
}
