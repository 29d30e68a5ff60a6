//! Random numbers and service times.

/// xorshift64* (Vigna 2016).
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xd1b5_4a32_d192_ed03)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Uniform between 0 and 1, neither of them included.
    pub(super) fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Exponential with this mean.
    pub(super) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.uniform().ln()
    }

    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (2.0 * std::f64::consts::PI * self.uniform()).cos()
    }
}

/// How long a worker works on a request, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Work {
    Exponential(f64),
    /// Always the same: answers come back in waves.
    Constant(f64),
    /// Lognormal with this mean and a coefficient of variation of 1.
    Lognormal(f64),
    /// A share of `slow`, the rest `fast`, both exponential; their kinds are told apart.
    Bimodal {
        share: f64,
        fast: f64,
        slow: f64,
    },
}

impl Work {
    pub(super) fn mean(self) -> f64 {
        match self {
            Self::Exponential(mean) | Self::Constant(mean) | Self::Lognormal(mean) => mean,
            Self::Bimodal { share, fast, slow } => (1.0 - share) * fast + share * slow,
        }
    }

    /// Seconds and kind.
    pub(super) fn draw(self, chance: &mut Chance) -> (f64, u8) {
        match self {
            Self::Exponential(mean) => (chance.exponential(mean), 0),
            Self::Constant(mean) => (mean, 0),
            Self::Lognormal(mean) => {
                let variance = std::f64::consts::LN_2;
                ((chance.normal() * variance.sqrt() + mean.ln() - variance / 2.0).exp(), 0)
            }
            Self::Bimodal { share, fast, slow } => {
                if chance.uniform() < share {
                    (chance.exponential(slow), 1)
                } else {
                    (chance.exponential(fast), 0)
                }
            }
        }
    }
}
