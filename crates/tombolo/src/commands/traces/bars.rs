//! Durations as people read them, and bars of text that show how long something took and when.

/// Parts of a cell from its left edge, an eighth each.
const FROM_LEFT: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// A duration with three digits: `812µs`, `12.3ms`, `1.52s`, `4m10s`.
pub(crate) fn duration(us: u64) -> String {
    let digits = |value: f64, unit: &str| match value {
        ..9.995 => format!("{value:.2}{unit}"),
        ..99.95 => format!("{value:.1}{unit}"),
        _ => format!("{value:.0}{unit}"),
    };
    match us {
        0..1_000 => format!("{us}µs"),
        1_000..999_500 => digits(us as f64 / 1e3, "ms"),
        999_500..59_950_000 => digits(us as f64 / 1e6, "s"),
        _ => {
            let seconds = us.saturating_add(500_000) / 1_000_000;
            match seconds {
                ..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
                _ => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
            }
        }
    }
}

/// A bar of at most `width` cells that shows a share of the whole; something is never nothing.
pub(super) fn share(part: u64, whole: u64, width: usize) -> String {
    let eighths = eighths(part, whole, width).max(usize::from(part > 0));
    format!("{}{}", "█".repeat(eighths / 8), FROM_LEFT[eighths % 8])
}

/// A bar of `width` cells for what began and ended within a whole of a length, and nothing behind it.
pub(super) fn span(began: u64, ended: u64, whole: u64, width: usize) -> String {
    if width == 0 {
        return String::new();
    }
    let (from, to) = (eighths(began, whole, width), eighths(ended, whole, width));
    // A bar begins with a cell; what is shorter than an eighth of one is a line.
    let first = (from / 8).min(width - 1);
    let length = to.saturating_sub(first * 8).clamp(1, (width - first) * 8);
    format!("{}{}{}", " ".repeat(first), "█".repeat(length / 8), FROM_LEFT[length % 8])
}

fn eighths(part: u64, whole: u64, width: usize) -> usize {
    let all = width as u128 * 8;
    // At most `width * 8`.
    (u128::from(part) * all).checked_div(u128::from(whole)).map_or(0, |part| part.min(all)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits() {
        let cases = [
            (0, "0µs"),
            (999, "999µs"),
            (1_000, "1.00ms"),
            (9_994, "9.99ms"),
            (9_996, "10.0ms"),
            (99_960, "100ms"),
            (999_499, "999ms"),
            (999_500, "1.00s"),
            (59_949_000, "59.9s"),
            (59_950_000, "1m00s"),
            (250_000_000, "4m10s"),
            (3_599_600_000, "1h00m"),
            (u64::MAX, "5124095576h01m"),
        ];
        for (us, shown) in cases {
            assert_eq!(duration(us), shown, "{us}");
        }
    }

    #[test]
    fn bars_stay_within_their_width() {
        assert_eq!(share(1, 1, 4), "████");
        assert_eq!(share(1, 1_000_000, 4), "▏");
        assert_eq!((share(0, 5, 4), share(5, 0, 4)), (String::new(), "▏".into()));
        assert_eq!(share(9, 16, 1), "▌");
        assert_eq!(span(0, 100, 100, 4), "████");
        assert_eq!(span(50, 75, 100, 4), "  █");
        assert_eq!(span(100, 100, 100, 4), "   █");
        assert_eq!(span(60, 60, 100, 5), "   ▏");
        assert_eq!(span(0, 0, 0, 3), "▏");
        assert_eq!(span(0, 5, 5, 0), "");
    }
}
