use super::*;

const COST: u64 = 10_000;

#[test]
fn short_waits_are_polled_for_a_little_longer_than_they_take() {
    let mut pause = Pause::new(COST);
    (0..REMEMBERED).for_each(|_| pause.waited(700, false));
    assert_eq!(pause.budget(), 2 * (COST / 8));
}

#[test]
fn long_waits_are_not_polled_for() {
    let mut pause = Pause::new(COST);
    (0..REMEMBERED).for_each(|_| pause.waited(100 * COST, true));
    assert_eq!(pause.budget(), 0);
}

#[test]
fn after_long_waits_short_ones_are_noticed() {
    let mut pause = Pause::new(COST);
    (0..REMEMBERED).for_each(|_| pause.waited(100 * COST, true));
    // It sleeps at once, so a wait of 500 is measured with the waking.
    (0..REMEMBERED).for_each(|_| pause.waited(500 + COST, true));
    assert_eq!(pause.budget(), 2 * (COST / 16));
}

#[test]
fn few_short_waits_among_long_ones_are_polled_for_if_that_is_cheap() {
    let mut pause = Pause::new(COST);
    for _ in 0..REMEMBERED {
        pause.waited(100, false);
        pause.waited(100 * COST, true);
    }
    assert_eq!(pause.budget(), 2 * (COST / 32));
}

/// What waits of these lengths cost with a budget for each.
fn cost_with(waits: &[u64], budget: impl FnMut(u64) -> u64) -> u64 {
    let mut budget = budget;
    let one = |&wait: &u64| {
        let budget = budget(wait);
        if wait <= budget { wait } else { budget + COST }
    };
    waits.iter().map(one).sum()
}

/// Runs of similar waits, and runs of waits that spite each decision: never more
/// than three times what the best fixed budget would have cost.
#[test]
fn even_spite_costs_at_most_three_times_the_best_fixed_budget() {
    use proptest::prelude::*;
    let kind =
        prop_oneof![Just(100_u64), Just(COST / 2), Just(COST), Just(2 * COST), Just(50 * COST), 0..2 * COST];
    let run = (kind, any::<bool>(), 1..40_usize);
    proptest!(ProptestConfig::with_cases(2000), |(runs in proptest::collection::vec(run, 1..20))| {
        let (mut pause, mut waits) = (Pause::new(COST), Vec::new());
        let mut total = 0;
        for (wait, spite, length) in runs {
            for _ in 0..length {
                // Spite: just longer than polled for, or short when not polled for.
                let wait = match (spite, pause.budget()) {
                    (false, _) => wait,
                    (true, 0) => 1,
                    (true, budget) => budget + 1,
                };
                waits.push(wait);
                total += cost_with(&[wait], |_| pause.budget());
                let slept = wait > pause.budget();
                pause.waited(if slept { wait + COST } else { wait }, slept);
            }
        }
        let best = waits.iter().copied().chain([0]).filter(|&wait| wait <= COST)
            .map(|budget| cost_with(&waits, |_| budget)).min().unwrap_or(0);
        prop_assert!(total <= 3 * best + 2 * COST * REMEMBERED as u64, "{total} against {best}");
    });
}

#[test]
fn waits_that_were_polled_for_a_little_too_long_are_no_sleeps() {
    let mut pause = Pause::new(COST);
    for _ in 0..3 * REMEMBERED {
        let wait = pause.budget() + 1;
        pause.waited(wait.min(COST / 10), false);
        assert!(pause.budget() >= COST / 10, "the next wait like this is slept through");
    }
}
