//! One half of the story: a fresh service, perhaps a gate before it, and the crowd.

use std::path::Path;
use std::time::Duration;

use tidegate_lab::load::{Report, Run, Second};
use tidegate_lab::origin::{Origin, OriginStats};
use tokio::time::sleep;

use super::gate::start_gate;
use super::story::{CROWD, Story, TIMEOUT};

/// What a half came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Half {
    /// What its clients saw.
    pub(crate) report: Report,
    /// What its service had done when the last client had its answer or had given up.
    pub(crate) origin: OriginStats,
}

/// Runs one half, with `gate` before the service if there is one.
///
/// # Errors
/// A sentence: no address, no gate.
pub(crate) async fn run(story: Story, gate: Option<&Path>, say: impl Fn(&str)) -> Result<Half, String> {
    let origin = Origin::bind(([127, 0, 0, 1], 0).into(), Story::origin())
        .await
        .map_err(|error| format!("the service cannot listen: {error}"))?;
    let address = origin.local_addr().map_err(|error| error.to_string())?;
    let watch = origin.watch();
    let serving = tokio::spawn(origin.serve());
    let gate = match gate {
        Some(program) => Some(start_gate(program, address).await?),
        None => None,
    };
    let target = gate.as_ref().map_or_else(|| address.to_string(), |gate| gate.address.clone());

    let run = Run::prepare(story.load(&target)?).await.map_err(|error| error.to_string())?;
    let live = run.live();
    say(COLUMNS);
    let show = async {
        for number in 0..story.seconds as usize {
            // A second can be told when the last of its clients must have given up.
            let until = if number == 0 { TIMEOUT + Duration::from_millis(1100) } else { TIMEOUT };
            sleep(until.max(Duration::from_secs(1))).await;
            say(&line(story, number, &live.seconds().get(number).copied().unwrap_or_default()));
        }
    };
    let (report, ()) = tokio::join!(run.send(), show);
    let origin = watch.stats();
    if let Some(gate) = gate {
        gate.stop().await;
    }
    serving.abort();
    Ok(Half { report, origin })
}

/// Names the columns of [`line()`].
const COLUMNS: &str = "                              in time   99 % within   refused   gave up";

/// One second for the terminal: the bar is full at what the service can carry.
fn line(story: Story, number: usize, second: &Second) -> String {
    const WIDTH: usize = 16;
    let filled = (WIDTH as f64 * second.ok as f64 / Story::capacity()).round();
    let bar: String = (0..WIDTH).map(|place| if (place as f64) < filled { '█' } else { '·' }).collect();
    let times = if number < story.calm as usize { 1 } else { CROWD };
    let slowest = if second.ok > 0 { format!("{:.0} ms", second.p99) } else { "-".to_owned() };
    format!(
        "{:>4} s  {times}x  {bar}  {:>7}{slowest:>14}{:>10}{:>10}",
        number + 1,
        second.ok,
        second.refused,
        second.failed
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_fits_on_a_line() {
        let mut second = Second::default();
        let idle = line(Story::new(18), 17, &second);
        assert!(idle.contains("  18 s  5x  ········"), "{idle}");
        (second.ok, second.p99, second.refused, second.failed) = (2500, 999.6, 99_999, 12);
        let full = line(Story::new(18), 0, &second);
        assert!(full.contains("   1 s  1x  ████████") && full.contains("1000 ms"), "{full}");
        let widths = [idle, full, COLUMNS.to_owned()].map(|line| line.chars().count());
        assert_eq!(widths, [71; 3], "columns stand under each other, within 80");
    }
}
