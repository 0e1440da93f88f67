//! Takes faults and events away from a failing world, as long as it still breaks the same promise.

use std::collections::BTreeSet;

use crate::{
    fault::StruckFault,
    run::{WorldReport, run},
};

/// How many worlds a shrinking runs at most.
const MAX_RUNS: usize = 400;

/// A failing world with few faults and events.
pub(crate) struct ShrunkWorld {
    pub(crate) report: WorldReport,
    pub(crate) runs: usize,
}

/// Shrinks a failing world: tries to do without half of its faults and events, then without smaller
/// parts.
pub(crate) fn shrink(failed: &WorldReport) -> ShrunkWorld {
    let promise = failed.broken[0].promise;
    let (mut removed, mut left) = (BTreeSet::new(), list(failed));
    let (mut runs, mut part) = (0, left.len().div_ceil(2));
    while part > 0 && runs < MAX_RUNS {
        let (mut start, mut is_smaller) = (0, false);
        while start < left.len() && runs < MAX_RUNS {
            let mut trial = removed.clone();
            trial.extend(left.iter().skip(start).take(part).cloned());
            let report = run(failed.seed, &trial, false);
            runs += 1;
            if report.broken.iter().any(|broken| broken.promise == promise) {
                (removed, left, is_smaller) = (trial, list(&report), true);
            } else {
                start += part;
            }
        }
        part = match (part, is_smaller) {
            (1, false) => 0,
            (1, true) => 1,
            _ => part / 2,
        };
    }
    ShrunkWorld {
        report: run(failed.seed, &removed, true),
        runs,
    }
}

fn list(report: &WorldReport) -> Vec<StruckFault> {
    report.struck.iter().cloned().collect()
}
