// SPDX-License-Identifier: GPL-2.0
//! What is counted of each step.

use crate::problem::Problem;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Values below 2^BITS are counted exactly, greater ones with BITS significant bits.
const BITS: u32 = 6;
const SUB: usize = 1 << BITS;
/// Enough for times of 19 hours, in microseconds.
const BUCKETS: usize = (37 - BITS as usize) * SUB;

/// Counts of times, which tells quantiles with an error of less than 1 %.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    min: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
            min: u64::MAX,
            max: 0,
        }
    }
}

impl Histogram {
    /// The bucket of a value: those of each power of two are as many.
    fn bucket(value: u64) -> usize {
        let shift = (64 - value.leading_zeros()).saturating_sub(BITS + 1);
        (shift as usize * SUB + (value >> shift) as usize).min(BUCKETS - 1)
    }

    /// The value in the middle of a bucket.
    fn middle(bucket: usize) -> u64 {
        let shift = (bucket / SUB).saturating_sub(1);
        let low = ((bucket - shift * SUB) as u64) << shift;
        low + ((1 << shift) >> 1)
    }

    /// Counts a value.
    pub fn add(&mut self, value: u64) {
        self.counts[Self::bucket(value)] += 1;
        self.total += 1;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// Adds all of another one.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// The value that a part (0 to 1) of all is not above; 0 if there is none.
    pub fn quantile(&self, part: f64) -> u64 {
        let rank = ((part * self.total as f64).ceil() as u64).max(1);
        if self.total == 0 {
            return 0;
        } else if rank >= self.total {
            return self.max;
        }
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Self::middle(bucket).clamp(self.min, self.max);
            }
        }
        self.max
    }

    /// The least value, 0 if there is none.
    pub fn min(&self) -> u64 {
        if self.total == 0 {
            0
        } else {
            self.min
        }
    }

    /// The greatest value, 0 if there is none.
    pub fn max(&self) -> u64 {
        self.max
    }
}

/// How often each problem was met.
pub type Problems = BTreeMap<Problem, u64>;

/// What is counted of a step.
#[derive(Clone, Default)]
pub struct StepStats {
    /// How often it succeeded: for how many clients, or in a loop how many requests.
    pub count: u64,
    /// Clients that it failed for, by reason.
    pub failed: Problems,
    /// Requests that were made again, by reason.
    pub retried: Problems,
    /// Clients that were told that they have said RECLAIM_COMPLETE before.
    pub already: u64,
    /// How long it took, in microseconds, with all that was made again.
    pub times: Histogram,
    span: Option<(Instant, Instant)>,
}

impl StepStats {
    /// Counts one that succeeded.
    pub fn succeeded(&mut self, began: Instant, now: Instant) {
        self.count += 1;
        self.times
            .add(now.saturating_duration_since(began).as_micros() as u64);
        self.covers(began, now);
    }

    /// Counts one that failed.
    pub fn has_failed(&mut self, problem: Problem, began: Instant, now: Instant) {
        *self.failed.entry(problem).or_default() += 1;
        self.covers(began, now);
    }

    fn covers(&mut self, began: Instant, now: Instant) {
        let (first, last) = self.span.unwrap_or((began, now));
        self.span = Some((first.min(began), last.max(now)));
    }

    /// From the first begin to the last end.
    pub fn seconds(&self) -> f64 {
        let span = self
            .span
            .map_or(Duration::ZERO, |(first, last)| last - first);
        span.as_secs_f64()
    }

    /// How many succeeded in a second.
    pub fn rate(&self) -> f64 {
        let seconds = self.seconds();
        if seconds > 0.0 {
            self.count as f64 / seconds
        } else {
            0.0
        }
    }

    /// Adds what another thread has counted.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.already += other.already;
        for (into, from) in [
            (&mut self.failed, &other.failed),
            (&mut self.retried, &other.retried),
        ] {
            for (problem, number) in from {
                *into.entry(*problem).or_default() += number;
            }
        }
        self.times.merge(&other.times);
        if let Some((first, last)) = other.span {
            self.covers(first, last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_in_order_and_narrow() {
        let mut last = 0;
        for value in (0..100_000).chain((1..36).map(|n| (1 << n) + 7)) {
            let bucket = Histogram::bucket(value);
            let error = Histogram::middle(bucket).abs_diff(value);
            assert!(
                error * 100 <= value,
                "{value} is in the bucket of {}",
                Histogram::middle(bucket)
            );
            assert!(value >= 100_000 || bucket >= last);
            last = bucket;
        }
        assert_eq!(Histogram::bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles() {
        let mut histogram = Histogram::default();
        assert_eq!(
            (histogram.quantile(0.5), histogram.min(), histogram.max()),
            (0, 0, 0)
        );
        for value in 1..=10_000 {
            histogram.add(value);
        }
        assert_eq!((histogram.min(), histogram.max()), (1, 10_000));
        for (part, wanted) in [(0.5, 5_000u64), (0.95, 9_500), (0.99, 9_900)] {
            assert!(histogram.quantile(part).abs_diff(wanted) * 100 <= wanted);
        }
        assert_eq!(histogram.quantile(1.0), 10_000);
        let mut one = Histogram::default();
        one.add(777_777);
        assert_eq!((one.quantile(0.5), one.quantile(0.99)), (777_777, 777_777));
        one.merge(&histogram);
        assert_eq!((one.min(), one.max()), (1, 777_777));
        assert!(one.quantile(0.5).abs_diff(5_000) <= 50);
    }

    #[test]
    fn a_step_of_two_threads() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (mut a, mut b) = (StepStats::default(), StepStats::default());
        a.succeeded(at(1), at(3));
        b.succeeded(at(2), at(5));
        b.has_failed(Problem::GRACE, at(2), at(4));
        a.merge(&b);
        assert_eq!((a.count, a.seconds(), a.rate()), (2, 4.0, 0.5));
        assert_eq!(a.failed[&Problem::GRACE], 1);
        assert_eq!(a.times.max(), 3_000_000);
    }
}
