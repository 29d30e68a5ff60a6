//! Criticality: how much it hurts to lose a request (the names of the SRE book, chapter 21).

/// The class of a request. Higher classes are admitted first; the lowest keeps a floor of 5 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Criticality {
    /// Partial loss is expected: crawlers, prefetching, batch.
    Sheddable,
    /// Loss is tolerated, a retry comes later: background work.
    SheddablePlus,
    /// What users see. The default.
    #[default]
    Critical,
    /// What must not fail: sign-in, payment.
    CriticalPlus,
}

impl Criticality {
    /// Every class, lowest first.
    pub const ALL: [Self; 4] = [Self::Sheddable, Self::SheddablePlus, Self::Critical, Self::CriticalPlus];

    /// Position in [`Criticality::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name used in metrics, logs and configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sheddable => "sheddable",
            Self::SheddablePlus => "sheddable_plus",
            Self::Critical => "critical",
            Self::CriticalPlus => "critical_plus",
        }
    }
}
