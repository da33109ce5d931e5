//! What the stages allow together: the sum of each side, and the slower side.

use super::stopwatch::Cost;
use super::{Origin, Step};

/// What was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Costs([Option<Cost>; Step::ALL.len()]);

impl Costs {
    /// Notes what a stage costs.
    pub fn set(&mut self, step: Step, cost: Cost) {
        self.0[step.index()] = Some(cost);
    }

    /// What a stage costs; `None` when that was not measured.
    pub fn get(&self, step: Step) -> Option<Cost> {
        self.0[step.index()]
    }

    /// Processor seconds per 10^9 bytes of all `steps` together; `None` when one was not measured.
    pub fn sum(&self, steps: &[Step]) -> Option<f64> {
        steps.iter().map(|step| self.get(*step).map(Cost::seconds_per_gb)).sum()
    }
}

/// A kind of transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// Where content comes from: a file, or memory that stays in the cache or does not.
    pub from: Origin,
    /// Content is sealed.
    pub encrypted: bool,
    /// Content is hashed by both ends.
    pub verified: bool,
}

impl Case {
    /// From memory to memory, not from file to file.
    pub fn is_memory(&self) -> bool {
        self.from != Origin::Chunks
    }

    /// What the sending end does with a byte.
    pub fn sender(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        steps.extend((!self.is_memory()).then_some(Step::Read));
        steps.extend(self.verified.then_some(Step::Hash));
        steps.extend(self.encrypted.then_some(Step::Seal(self.from)));
        steps.push(Step::Send);
        steps
    }

    /// What the receiving end does with a byte. Plain content of files needs no copy: frames can be written from where they were
    /// received.
    pub fn receiver(&self) -> Vec<Step> {
        let mut steps = vec![Step::Receive];
        if self.encrypted {
            steps.push(Step::Open);
        } else if self.is_memory() {
            steps.push(Step::Copy);
        }
        steps.extend(self.verified.then_some(Step::Hash));
        steps.extend((!self.is_memory()).then_some(Step::Write));
        steps
    }

    /// Bits of content a second that both sides can do, each on one core; `None` when a stage was not measured.
    pub fn limit(&self, costs: &Costs) -> Option<f64> {
        let slower = costs.sum(&self.sender())?.max(costs.sum(&self.receiver())?);
        Some(8e9 / slower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(from: Origin, encrypted: bool, verified: bool) -> Case {
        Case { from, encrypted, verified }
    }

    #[test]
    fn stages_that_a_case_does_not_have_drop_out() {
        let names = |steps: Vec<Step>| steps.iter().map(|s| s.name()).collect::<Vec<_>>().join(" ");
        for (case, sender, receiver) in [
            (case(Origin::Chunks, true, true), "read hash seal send", "receive open hash write"),
            (case(Origin::Chunks, false, false), "read send", "receive write"),
            (case(Origin::Cache, true, false), "seal send", "receive open"),
            (case(Origin::Memory, true, true), "hash seal send", "receive open hash"),
            (case(Origin::Cache, false, false), "send", "receive copy"),
        ] {
            assert_eq!((names(case.sender()).as_str(), names(case.receiver()).as_str()), (sender, receiver));
        }
    }

    #[test]
    fn the_slower_side_is_the_limit() {
        let mut costs = Costs::default();
        let whole = case(Origin::Chunks, true, true);
        assert_eq!(whole.limit(&costs), None);
        for (step, seconds) in [
            (Step::Read, 0.2),
            (Step::Hash, 0.1),
            (Step::Seal(Origin::Chunks), 0.1),
            (Step::Send, 0.1),
            (Step::Receive, 0.1),
            (Step::Open, 0.1),
        ] {
            costs.set(step, Cost::of_seconds_per_gb(seconds));
        }
        assert_eq!(whole.limit(&costs), None, "writing was not measured");
        costs.set(Step::Write, Cost::of_seconds_per_gb(0.1));
        assert!((whole.limit(&costs).unwrap() - 16e9).abs() < 1.0);
        costs.set(Step::Write, Cost::of_seconds_per_gb(0.7));
        assert!((whole.limit(&costs).unwrap() - 8e9).abs() < 1.0);
    }

    #[test]
    fn every_step_has_a_place_of_its_own() {
        let places: Vec<usize> = Step::ALL.iter().map(|step| step.index()).collect();
        assert_eq!(places, (0..Step::ALL.len()).collect::<Vec<_>>());
    }
}
