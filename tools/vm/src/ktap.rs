// SPDX-License-Identifier: GPL-2.0
//! Counts the KTAP results that a test prints, and says what is wrong with them.

/// One result line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `ok`
    Passed,
    /// `not ok`
    Failed,
    /// either of them with `# SKIP`
    Skipped,
}

/// Results so far. It lives as long as the test does, across resets of its VM.
#[derive(Debug, Default)]
pub struct Ktap {
    plan: Option<u32>,
    /// Result lines seen.
    pub count: u32,
    /// Those that are `not ok`.
    pub failed: u32,
    out_of_order: Option<String>,
    plans: u32,
}

impl Ktap {
    /// Takes a line of the test's output; returns its outcome if it is a result.
    ///
    /// Indented lines belong to a subtest, whose own result line counts.
    pub fn line(&mut self, line: &str) -> Option<Outcome> {
        if let Some(plan) = line.strip_prefix("1..") {
            let mut words = plan.splitn(2, '#');
            if let Ok(plan) = words.next().unwrap_or("").trim().parse() {
                self.plan = Some(plan);
                self.plans += 1;
                return (plan == 0).then_some(Outcome::Skipped);
            }
        }
        let (failed, rest) = match line.strip_prefix("not ok ") {
            Some(rest) => (true, rest),
            None => (false, line.strip_prefix("ok ")?),
        };
        let number: u32 = rest.split_whitespace().next()?.parse().ok()?;
        self.count += 1;
        if number != self.count && self.out_of_order.is_none() {
            self.out_of_order = Some(format!("result {number} where {} was due", self.count));
        }
        Some(match directive(rest) {
            Some("SKIP") => Outcome::Skipped,
            _ if failed => {
                self.failed += 1;
                Outcome::Failed
            }
            _ => Outcome::Passed,
        })
    }

    /// Whether the test was skipped as a whole.
    pub fn all_skipped(&self) -> bool {
        self.plan == Some(0)
    }

    /// What is wrong with the results, now that no more will come.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        match self.plan {
            None if self.count == 0 => problems.push("no KTAP result and no plan".into()),
            None => problems.push(format!("no plan (1..N) for {} results", self.count)),
            Some(plan) if plan != self.count => {
                problems.push(format!("planned {plan} results, got {}", self.count));
            }
            Some(_) => {}
        }
        if self.plans > 1 {
            problems.push(format!("{} plans", self.plans));
        }
        problems.extend(self.out_of_order.clone());
        problems
    }
}

/// The word after `#` in a result line.
fn directive(rest: &str) -> Option<&str> {
    rest.rsplit_once('#')?.1.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(lines: &[&str]) -> (Vec<Outcome>, Vec<String>) {
        let mut ktap = Ktap::default();
        let outcomes = lines.iter().filter_map(|l| ktap.line(l)).collect();
        (outcomes, ktap.problems())
    }

    #[test]
    fn counts_outcomes() {
        use Outcome::*;
        let (outcomes, problems) = feed(&[
            "KTAP version 1",
            "1..3",
            "# ok 9 - a comment",
            "  ok 1 - of a subtest",
            "ok 1 - a # hash",
            "not ok 2 - b",
            "ok 3 - c # SKIP no such file",
        ]);
        assert_eq!(outcomes, [Passed, Failed, Skipped]);
        assert!(problems.is_empty());
    }

    #[test]
    fn plan_may_come_last_and_skip_everything() {
        assert!(feed(&["ok 1 a", "1..1"]).1.is_empty());
        let (outcomes, problems) = feed(&["1..0 # SKIP no module"]);
        assert_eq!(outcomes, [Outcome::Skipped]);
        assert!(problems.is_empty());
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(feed(&[]).1, ["no KTAP result and no plan"]);
        assert_eq!(feed(&["ok 1 a"]).1, ["no plan (1..N) for 1 results"]);
        assert_eq!(feed(&["1..2", "ok 1 a"]).1, ["planned 2 results, got 1"]);
        assert_eq!(feed(&["1..1", "ok 2 a"]).1, ["result 2 where 1 was due"]);
    }

    #[test]
    fn other_output_is_not_a_result() {
        let (outcomes, _) = feed(&["ok", "ok then", "not ok", "1..x", "okay 1"]);
        assert!(outcomes.is_empty());
    }
}
