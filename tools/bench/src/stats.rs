// SPDX-License-Identifier: GPL-2.0
//! What many values say.

/// A median, and how far the values spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// How many values there are.
    pub count: usize,
    /// The one in the middle.
    pub median: f64,
    /// The quartile below it.
    pub low: f64,
    /// The quartile above it.
    pub high: f64,
}

impl Summary {
    /// Of at least one value.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        // Between the two nearest values, as far from each as the place is.
        let at = |share: f64| {
            let place = share * last as f64;
            let below = place.floor();
            let (a, b) = (sorted[below as usize], sorted[place.ceil() as usize]);
            a + (b - a) * (place - below)
        };
        Some(Self {
            count: sorted.len(),
            median: at(0.5),
            low: at(0.25),
            high: at(0.75),
        })
    }
}

/// A value in words, of a row's unit.
pub fn text(value: f64, unit: &str) -> String {
    match unit {
        "s" | "us" => {
            let seconds = if unit == "s" { value } else { value / 1e6 };
            let (scaled, unit) = match seconds {
                s if s >= 1.0 => (s, "s"),
                s if s >= 1e-3 => (s * 1e3, "ms"),
                s => (s * 1e6, "us"),
            };
            format!("{} {unit}", digits(scaled))
        }
        "B" => format!("{} MB", digits(value / 1e6)),
        _ => format!("{}{unit}", digits(value)),
    }
}

/// Three digits, or more before the point.
fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries() {
        assert_eq!(Summary::of(&[]), None);
        let of = |values: &[f64]| {
            let s = Summary::of(values).unwrap();
            (s.low, s.median, s.high)
        };
        assert_eq!(of(&[7.0]), (7.0, 7.0, 7.0));
        assert_eq!(of(&[3.0, 1.0]), (1.5, 2.0, 2.5));
        assert_eq!(of(&[5.0, 1.0, 3.0, 2.0, 4.0]), (2.0, 3.0, 4.0));
    }

    #[test]
    fn texts() {
        for (value, unit, wanted) in [
            (307.4, "s", "307 s"),
            (1.488, "s", "1.49 s"),
            (0.0134, "s", "13.4 ms"),
            (23.5, "us", "23.5 us"),
            (2500.0, "us", "2.50 ms"),
            (85_487_616.0, "B", "85.5 MB"),
            (1234.0, "/s", "1234/s"),
        ] {
            assert_eq!(text(value, unit), wanted);
        }
    }
}
