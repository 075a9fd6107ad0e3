//! A secret that a name tells of is never shown: the properties of the fuzz target, on bytes of chance.

#[path = "../../../fuzz/mask.rs"]
mod mask_properties;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn a_secret_is_never_shown(bytes in proptest::collection::vec(any::<u8>(), 0..160)) {
        mask_properties::any_body(&bytes);
    }
}
