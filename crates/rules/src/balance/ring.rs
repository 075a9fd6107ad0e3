//! The hash ring of `consistentHash`, point for point that of Skipper (and of Zalando's own clients, which
//! rely on it): xxHash64 with seed 0 of `<endpoint>-<j>`, j from 0 to 99, and of the key.

use super::Candidates;
use xxhash_rust::xxh64::xxh64;

/// Points of each endpoint on the ring.
pub const POINTS_PER_ENDPOINT: usize = 100;

/// Where the endpoints of a route are on the ring: 16 bytes for each point.
#[derive(Debug)]
pub struct Ring {
    /// Hash and endpoint, sorted.
    points: Box<[(u64, u32)]>,
}

impl Ring {
    /// The ring of these endpoints, as they are written in the route without the zone.
    pub fn new(endpoints: &[impl AsRef<str>]) -> Self {
        let mut points: Vec<_> = (0u32..)
            .zip(endpoints)
            .flat_map(|(number, endpoint)| {
                (0..POINTS_PER_ENDPOINT)
                    .map(move |j| (xxh64(format!("{}-{j}", endpoint.as_ref()).as_bytes(), 0), number))
            })
            .collect();
        points.sort_unstable();
        Self { points: points.into() }
    }

    /// The eligible endpoint whose point comes first at or after the key's hash.
    pub fn pick(&self, key: &[u8], candidates: &impl Candidates) -> Option<usize> {
        self.walk(key).find(|endpoint| candidates.is_eligible(*endpoint))
    }

    /// Likewise, but passing by endpoints with more than `factor` times the average of requests in flight,
    /// the one asked for included.
    pub fn pick_bounded(&self, key: &[u8], candidates: &impl Candidates, factor: f64) -> Option<usize> {
        let eligible = || (0..candidates.count()).filter(|endpoint| candidates.is_eligible(*endpoint));
        let in_flight: f64 = eligible().map(|endpoint| f64::from(candidates.in_flight(endpoint))).sum();
        let most = factor * (1.0 + in_flight) / eligible().count() as f64;
        self.walk(key)
            .find(|endpoint| {
                candidates.is_eligible(*endpoint) && f64::from(candidates.in_flight(*endpoint)) <= most
            })
            // A factor below 1 may leave nobody: then the load decides nothing.
            .or_else(|| self.pick(key, candidates))
    }

    /// The endpoints of all points, once around, from the key's hash on.
    fn walk(&self, key: &[u8]) -> impl Iterator<Item = usize> {
        let hash = xxh64(key, 0);
        let (before, from) = self.points.split_at(self.points.partition_point(|(point, _)| *point < hash));
        from.iter().chain(before).map(|(_, endpoint)| *endpoint as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Endpoints;
    use super::*;
    use proptest::prelude::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|i| format!("http://10.0.0.{i}:8080")).collect()
    }

    fn all(count: usize) -> Endpoints {
        Endpoints(vec![(Some(0), 1.0); count])
    }

    proptest! {
        #[test]
        fn only_the_keys_of_an_endpoint_that_leaves_move(count in 2usize..12, gone in 0usize..12, keys in prop::collection::vec(any::<u64>(), 50)) {
            let gone = gone % count;
            let names = names(count);
            let (ring, all) = (Ring::new(&names), all(count));
            let mut rest = names.clone();
            rest.remove(gone);
            let less = Ring::new(&rest);
            let without = Endpoints((0..count).map(|i| ((i != gone).then_some(0), 1.0)).collect());
            for key in keys {
                let key = key.to_le_bytes();
                let before = ring.pick(&key, &all).unwrap();
                let after = less.pick(&key, &self::all(count - 1)).unwrap();
                // Taken out of the route or only passed by: the same.
                let passed_by = ring.pick(&key, &without).unwrap();
                prop_assert_eq!(&rest[after], &names[passed_by]);
                if before != gone {
                    prop_assert_eq!(&names[before], &rest[after]);
                }
            }
        }

        #[test]
        fn no_endpoint_is_chosen_above_its_bound(
            in_flight in prop::collection::vec(0u32..50, 2..10),
            factor in 1.0f64..3.0,
            key in any::<u64>(),
        ) {
            let candidates = Endpoints(in_flight.iter().map(|n| (Some(*n), 1.0)).collect());
            let ring = Ring::new(&names(in_flight.len()));
            let chosen = ring.pick_bounded(&key.to_le_bytes(), &candidates, factor).unwrap();
            let average = f64::from(1 + in_flight.iter().sum::<u32>()) / in_flight.len() as f64;
            prop_assert!(f64::from(in_flight[chosen]) <= average * factor);
        }
    }

    #[test]
    fn keys_spread_over_all_endpoints() {
        let (ring, all) = (Ring::new(&names(5)), all(5));
        let mut shares = [0; 5];
        for key in 0..10_000u64 {
            shares[ring.pick(&key.to_le_bytes(), &all).unwrap()] += 1;
        }
        assert!(shares.iter().all(|share| (1400..2800).contains(share)), "{shares:?}");
    }

    #[test]
    fn a_factor_that_leaves_nobody_leaves_the_ring_as_it_is() {
        let (ring, busy) = (Ring::new(&names(3)), Endpoints(vec![(Some(100), 1.0); 3]));
        assert_eq!(ring.pick_bounded(b"key", &busy, 0.1), ring.pick(b"key", &busy));
    }
}
