//! Who comes when, and what the service can carry.

use std::time::Duration;

use tidegate_lab::load::{Arrivals, Crowd, LoadSettings};
use tidegate_lab::origin::OriginSettings;

/// The crowd, in multiples of what the service can carry.
pub(crate) const CROWD: u32 = 5;

/// When its clients give up, as an impatient caller does.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(1);

/// The story that both halves tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Story {
    /// Seconds of each half.
    pub(crate) seconds: u32,
    /// Seconds of it with just as many requests as the service can carry.
    pub(crate) calm: u32,
}

impl Story {
    /// Two ninths are calm: 4 s of 18.
    pub(crate) fn new(seconds: u32) -> Self {
        Self { seconds, calm: (seconds * 2 / 9).max(1) }
    }

    /// The fragile service.
    pub(crate) fn origin() -> OriginSettings {
        OriginSettings::default()
    }

    /// Requests a second that it can carry.
    pub(crate) fn capacity() -> f64 {
        let OriginSettings { workers, mean, .. } = Self::origin();
        workers as f64 / mean.as_secs_f64()
    }

    /// Seconds of the crowd.
    pub(crate) fn crowded(self) -> u32 {
        self.seconds - self.calm
    }

    /// The requests, the same in both halves.
    ///
    /// # Errors
    /// A sentence, if what was made here were not a rate or an address.
    pub(crate) fn load(self, address: &str) -> Result<LoadSettings, String> {
        let (calm, crowd) = (Self::capacity(), Self::capacity() * f64::from(CROWD));
        let target =
            format!("http://{address}/").parse().map_err(|_| format!("`{address}` is no address"))?;
        let rate = format!("{calm},{}s:{crowd}", self.calm).parse()?;
        let mut settings = LoadSettings::new(target, Crowd::Open { rate, arrivals: Arrivals::Poisson });
        settings.duration = Duration::from_secs(self.seconds.into());
        settings.timeout = TIMEOUT;
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_has_both_parts() {
        for (seconds, calm, crowded) in [(18, 4, 14), (3, 1, 2), (600, 133, 467)] {
            let story = Story::new(seconds);
            assert_eq!((story.calm, story.crowded()), (calm, crowded));
            let Crowd::Open { rate, .. } = story.load("127.0.0.1:1").unwrap().crowd else { panic!() };
            let at = |seconds: u32| rate.at(Duration::from_secs(seconds.into()));
            assert_eq!((at(0), at(calm)), (500.0, 2500.0));
        }
    }
}
