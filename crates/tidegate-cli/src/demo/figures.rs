//! What a half came to, and the table at the end.

use std::fmt;

use super::half::Half;
use super::story::Story;

/// The figures of one half. Shares are of 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figures {
    /// Requests a second answered in time while the crowd was there.
    pub(crate) goodput: f64,
    /// The same as a share of what the service can carry.
    pub(crate) of_capacity: f64,
    /// Half of all the successes took at most so long, in milliseconds; `None` without any.
    pub(crate) p50: Option<f64>,
    /// 99 of 100 took at most so long.
    pub(crate) p99: Option<f64>,
    /// Share of the requests that was refused.
    pub(crate) refused: f64,
    /// Refused ones had their answer within so long, 99 of 100; `None` without any.
    pub(crate) refused_p99: Option<f64>,
    /// Share of the requests that was given up or failed.
    pub(crate) given_up: f64,
    /// Share of the service's finished requests whose client had left.
    pub(crate) for_nobody: f64,
    /// Requests still waiting inside at the end, for clients that have all left.
    pub(crate) left_inside: u64,
}

impl Figures {
    pub(crate) fn of(half: &Half, story: Story) -> Self {
        let Half { report, origin } = half;
        let crowded = report.seconds.iter().skip(story.calm as usize);
        let answered: u64 = crowded.map(|second| second.ok).sum();
        let goodput = answered as f64 / f64::from(story.crowded());
        let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
        let some = |count: u64, value: f64| (count > 0).then_some(value);
        Self {
            goodput,
            of_capacity: goodput / Story::capacity(),
            p50: some(report.ok, report.ok_ms.p50),
            p99: some(report.ok, report.ok_ms.p99),
            refused: share(report.refused, report.offered),
            refused_p99: some(report.refused, report.refused_ms.p99),
            given_up: share(report.timed_out + report.failed, report.offered),
            for_nobody: share(origin.served_gone, origin.served + origin.served_gone),
            left_inside: origin.waiting,
        }
    }
}

/// Both halves side by side: for the terminal by `Display`, for the page by [`rows`](Self::rows).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    pub(crate) without: Figures,
    pub(crate) with: Figures,
}

impl Table {
    /// What each row is about, without the gate, with it.
    pub(crate) fn rows(&self) -> Vec<[String; 3]> {
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let time = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0} ms"));
        let row = |name: &str, of: &dyn Fn(&Figures) -> String| {
            [name.to_owned(), of(&self.without), of(&self.with)]
        };
        vec![
            row("answered in time, at 5x", &|half| {
                format!("{:.0}/s, {:.0} %", half.goodput, 100.0 * half.of_capacity)
            }),
            row("half of these within", &|half| time(half.p50)),
            row("99 % of these within", &|half| time(half.p99)),
            row("refused", &|half| percent(half.refused)),
            row("99 % of refusals within", &|half| time(half.refused_p99)),
            row("gave up or failed", &|half| percent(half.given_up)),
            row("work done for nobody", &|half| percent(half.for_nobody)),
            row("left waiting inside", &|half| half.left_inside.to_string()),
        ]
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<26}{:>18}{:>18}", "", "without the gate", "with it")?;
        for [name, without, with] in self.rows() {
            writeln!(f, "{name:<26}{without:>18}{with:>18}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use tidegate_lab::load::Second;

    use super::*;

    /// A half of three seconds, the first calm, with so many successes in each.
    pub(crate) fn half(ok: [u64; 3]) -> Half {
        let mut half = Half::default();
        for (number, ok) in ok.into_iter().enumerate() {
            let mut second = Second::default();
            second.offered = if number == 0 { 500 } else { 2500 };
            (second.ok, second.refused) = (ok, second.offered - ok);
            (second.p50, second.p99) = (20.0, 90.0);
            half.report.offered += second.offered;
            half.report.ok += second.ok;
            half.report.refused += second.refused;
            half.report.seconds.push(second);
        }
        half
    }

    #[test]
    fn figures_are_of_the_crowd() {
        let mut half = half([500, 450, 350]);
        (half.origin.served, half.origin.served_gone, half.origin.waiting) = (300, 100, 7);
        let figures = Figures::of(&half, Story::new(3));
        assert_eq!((figures.goodput, figures.of_capacity), (400.0, 0.8));
        assert_eq!((figures.for_nobody, figures.left_inside, figures.given_up), (0.25, 7, 0.0));
        assert!((figures.refused - 4200.0 / 5500.0).abs() < 1e-9);
    }

    #[test]
    fn the_table_stands_in_columns() {
        let story = Story::new(3);
        let (without, with) = (Figures::of(&Half::default(), story), Figures::of(&half([500; 3]), story));
        let table = Table { without, with }.to_string();
        let widths: Vec<_> = table.lines().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == 62), "{table}");
        assert!(table.contains("0/s, 0 %      500/s, 100 %"), "{table}");
        assert!(table.lines().nth(2).is_some_and(|line| line.contains(" - ")), "no time of nothing: {table}");
    }
}
