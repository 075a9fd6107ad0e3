//! "Did you mean": the nearest known word to one that is not known.

/// The known name nearest to `word`, if it is near enough to be a slip of the keyboard. Letter case is
/// ignored, so `setpath` finds `setPath`.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let length = lower.chars().count();
    let most = (length / 3).clamp(1, 3);
    known
        .into_iter()
        // A table of a hundred thousand mistakes asks so often: what can't be near is not compared.
        .filter(|name| name.chars().count().abs_diff(length) <= most)
        .map(|name| (strsim::osa_distance(&lower, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, name)| (*distance, *name))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn a_slip_is_found_and_a_stranger_is_not() {
        let known = ["setQuery", "setPath", "status", "redirectTo"];
        assert_eq!(did_you_mean("setQurey", known), Some("setQuery"));
        assert_eq!(did_you_mean("setpath", known), Some("setPath"));
        assert_eq!(did_you_mean("banana", known), None);
        assert_eq!(did_you_mean("", known), None);
    }
}
