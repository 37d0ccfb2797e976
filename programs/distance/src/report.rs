//! What was measured, for people and for programs.

use crate::Costs;
use cyanea::Distance;

/// A line for each distance, and what to do about those that are missing.
pub fn table(costs: &Costs) -> String {
    let mut text = String::from("DISTANCE      MESSAGE  OF LOCAL\n");
    for (distance, cost) in Distance::ALL.iter().zip(costs) {
        let ratio = cost.zip(costs[0]).map_or("-".into(), |(cost, local)| format!("{:.2}", cost / local));
        let cost = cost.map_or("-".into(), |ns| format!("{:.2} us", ns / 1000.0));
        text += &format!("{distance:<8}  {cost:>11}  {ratio:>8}\n");
    }
    if costs.contains(&None) {
        text += "no two activities are as far apart as where it says \"-\": run it with twice as many \
                 activities (--activities) as the machine has nodes\n";
    }
    text
}

/// One line of JSON, in nanoseconds.
pub fn json(costs: &Costs) -> String {
    let cost = |cost: Option<f64>| cost.map_or("null".into(), |ns| format!("{ns:.1}"));
    let member = |(distance, ns): (Distance, &Option<f64>)| format!("\"{distance}\": {}", cost(*ns));
    let members: Vec<_> = Distance::ALL.into_iter().zip(costs).map(member).collect();
    format!("{{{}}}\n", members.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_ratios_and_says_what_is_missing() {
        let all = table(&[Some(2000.0), Some(6100.0), Some(18_000.0)]);
        assert_eq!(all.lines().count(), 4);
        assert!(all.contains("within        6.10 us      3.05\n"), "{all}");
        let one = table(&[None, Some(6100.0), None]);
        assert!(one.contains("local               -         -\n") && one.contains("--activities"), "{one}");
    }

    #[test]
    fn json_is_one_line() {
        assert_eq!(
            json(&[Some(1.0), None, Some(2.25)]),
            "{\"local\": 1.0, \"within\": null, \"between\": 2.2}\n"
        );
    }
}
