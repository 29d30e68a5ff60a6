//! Durations, rates and distributions as people write them.

use std::str::FromStr;
use std::time::Duration;

use crate::random::Random;

/// Longest duration that is understood: a day.
const LONGEST: f64 = 86_400.0;

/// Reads `20ms`, `1.5s`, `300us` or `2m`; a number alone needs a unit, except 0.
///
/// # Errors
/// A sentence that says what is wrong and what would be right.
pub fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "" if number == "0" => 1.0,
        _ => {
            return Err(format!(
                "`{text}` is not a duration: write it with a unit, such as 20ms, 1.5s or 2m"
            ));
        }
    };
    let seconds =
        number.parse::<f64>().map_err(|_| format!("`{text}` does not begin with a number"))? * scale;
    if seconds > LONGEST {
        return Err(format!("`{text}` is longer than a day"));
    }
    Duration::try_from_secs_f64(seconds).map_err(|error| format!("`{text}`: {error}"))
}

/// How service times scatter around their mean.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Distribution {
    /// `exp`: memoryless, squared coefficient of variation 1.
    Exponential,
    /// `fixed`: always the mean.
    Fixed,
    /// `lognormal:CV`: skewed, with this coefficient of variation.
    Lognormal(f64),
    /// `bimodal:P,FAST,SLOW`: a share `P` takes `FAST`, the rest `SLOW`. The mean is theirs.
    Bimodal(f64, Duration, Duration),
}

impl Distribution {
    /// The next service time.
    pub(crate) fn draw(&self, mean: Duration, random: &mut Random) -> Duration {
        match *self {
            Self::Exponential => mean.mul_f64(random.exponential()),
            Self::Fixed => mean,
            Self::Lognormal(cv) => {
                let variance = (1.0 + cv * cv).ln();
                // At most e^20: a sane bound on a tail that has none.
                mean.mul_f64((random.normal() * variance.sqrt() - variance / 2.0).min(20.0).exp())
            }
            Self::Bimodal(share, fast, slow) => {
                if random.unit() <= share {
                    fast
                } else {
                    slow
                }
            }
        }
    }
}

impl FromStr for Distribution {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is not a distribution: use exp, fixed, lognormal:CV or bimodal:P,FAST,SLOW");
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|value| value.is_finite());
        match (name, rest) {
            ("exp", "") => Ok(Self::Exponential),
            ("fixed", "") => Ok(Self::Fixed),
            ("lognormal", cv) => {
                number(cv).filter(|cv| (0.0..=100.0).contains(cv)).map(Self::Lognormal).ok_or_else(wrong)
            }
            ("bimodal", rest) => {
                let mut parts = rest.split(',');
                let (Some(share), Some(fast), Some(slow), None) =
                    (parts.next(), parts.next(), parts.next(), parts.next())
                else {
                    return Err(wrong());
                };
                let share = number(share).filter(|share| (0.0..=1.0).contains(share)).ok_or_else(wrong)?;
                Ok(Self::Bimodal(share, duration(fast)?, duration(slow)?))
            }
            _ => Err(wrong()),
        }
    }
}

/// Arrivals per second over time: `250`, or in steps `250,5s:2500,10s:0,12s:400`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rate {
    steps: Vec<(Duration, f64)>,
}

impl Rate {
    /// Arrivals per second at `at` after the start.
    #[must_use]
    pub fn at(&self, at: Duration) -> f64 {
        self.steps.iter().rev().find(|(from, _)| *from <= at).map_or(0.0, |(_, rate)| *rate)
    }

    /// When, from `at` on, `arrivals` more are due: where the integral of the rate has grown by that much.
    /// A gap that begins in a slow step is so not carried at its slow pace through the next one. `None` if
    /// they never are, because the last step is idle.
    pub(crate) fn after(&self, at: Duration, arrivals: f64) -> Option<Duration> {
        let (mut at, mut left) = (at, arrivals);
        loop {
            let rate = self.at(at);
            let step_ends = self.steps.iter().map(|(from, _)| *from).find(|from| *from > at);
            match step_ends {
                Some(end) if left >= rate * (end - at).as_secs_f64() => {
                    left -= rate * (end - at).as_secs_f64();
                    at = end;
                }
                None if rate <= 0.0 => return None,
                _ => {
                    return Duration::try_from_secs_f64(left / rate).ok().and_then(|gap| at.checked_add(gap));
                }
            }
        }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut steps: Vec<(Duration, f64)> = Vec::new();
        for part in text.split(',') {
            let (from, rate) = match part.split_once(':') {
                Some((from, rate)) => (duration(from)?, rate),
                None => (Duration::ZERO, part),
            };
            let rate = rate.trim().parse::<f64>().ok().filter(|rate| (0.0..=1e6).contains(rate)).ok_or_else(
                || format!("`{part}` is not a rate: write arrivals per second, such as 250 or 250,5s:2500"),
            )?;
            if steps.last().map_or(from > Duration::ZERO, |(last, _)| from <= *last) {
                return Err(format!("`{text}`: the first rate has no time, the next ones rise: 250,5s:2500"));
            }
            steps.push((from, rate));
        }
        if steps.iter().all(|(_, rate)| *rate <= 0.0) {
            return Err(format!("`{text}` sends nothing: let at least one step be above 0"));
        }
        Ok(Self { steps })
    }
}

/// Clients that give up: `30%@60ms`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Leave {
    /// Share of the clients, 0 to 1.
    pub share: f64,
    /// How long they wait.
    pub after: Duration,
}

impl FromStr for Leave {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}`: write the share and the time of those who leave, such as 30%@60ms");
        let (share, after) = text.split_once("%@").ok_or_else(wrong)?;
        let share =
            share.parse::<f64>().ok().filter(|share| (0.0..=100.0).contains(share)).ok_or_else(wrong)?;
        Ok(Self { share: share / 100.0, after: duration(after)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_mistakes_explained() {
        assert_eq!(duration("20ms"), Ok(Duration::from_millis(20)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for wrong in ["", "5", "ms", "5h", "-1s", "1e9s", "9999m", "1.2.3s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert!(duration("5").unwrap_err().contains("unit"));
    }

    #[test]
    fn rates_step() {
        let rate: Rate = "250,5s:2500,10s:400".parse().unwrap();
        let at = |seconds| rate.at(Duration::from_secs(seconds));
        assert_eq!((at(0), at(4), at(5), at(30)), (250.0, 250.0, 2500.0, 400.0));
        assert_eq!("0,5s:100".parse::<Rate>().unwrap().at(Duration::from_secs(4)), 0.0, "idle at first");
        for wrong in ["", "0", "0,5s:0", "-1", "nan", "x", "5s:100", "100,5s:200,3s:100", "1,2"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_gap_is_spent_across_steps() {
        let rate: Rate = "1,10s:0,20s:100,30s:0".parse().unwrap();
        let after = |at, arrivals| rate.after(Duration::from_secs_f64(at), arrivals);
        assert_eq!(after(0.0, 2.0), Some(Duration::from_secs(2)));
        // One from the slow step, none while idle, fifty at 100 a second.
        assert_eq!(after(9.0, 51.0), Some(Duration::from_millis(20_500)));
        assert_eq!((after(12.0, 1000.0), after(12.0, 1000.1), after(30.0, 0.1)), (None, None, None));
        assert_eq!(after(12.0, 999.0), Some(Duration::from_millis(29_990)));
    }

    #[test]
    fn distributions_keep_their_mean() {
        let mean = Duration::from_millis(20);
        for text in ["exp", "fixed", "lognormal:1.5", "bimodal:0.5,10ms,30ms"] {
            let distribution: Distribution = text.parse().unwrap();
            let mut random = Random::new(7);
            let sum: Duration = (0..100_000).map(|_| distribution.draw(mean, &mut random)).sum();
            let measured = sum.as_secs_f64() / 100_000.0;
            assert!((measured / 0.020 - 1.0).abs() < 0.03, "{text}: {measured}");
        }
        for wrong in
            ["", "exp:1", "lognormal", "lognormal:-1", "bimodal:2,1ms,2ms", "bimodal:0.5,1ms", "pareto"]
        {
            assert!(wrong.parse::<Distribution>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn those_who_leave() {
        assert_eq!("30%@60ms".parse(), Ok(Leave { share: 0.3, after: Duration::from_millis(60) }));
        assert!("30@60ms".parse::<Leave>().is_err() && "130%@60ms".parse::<Leave>().is_err());
    }
}
