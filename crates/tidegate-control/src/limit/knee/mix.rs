//! [`Newest`]: shares in a mix that forgets, of which each sample changes one.

/// What a sample weighs in the mix beside the next one: the mix is that of the last thousand.
const KEEP: f64 = 0.999;
/// From here on (some 20,000 samples) weights are taken down, long before they lose digits.
const HEAVY: f64 = 1e9;

/// What the newest sample weighs. Shares that are compared only with each other need not all shrink at each sample: the
/// next weighs more instead, which is the same, and writes to one share and not to all.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Newest(f64);

impl Newest {
    /// What one more sample weighs, beside these `shares`.
    pub(super) fn weight<'a>(&mut self, shares: impl Iterator<Item = &'a mut f64>) -> f64 {
        self.0 = (self.0 / KEEP).max(1.0);
        if self.0 > HEAVY {
            shares.for_each(|share| *share /= self.0);
            self.0 = 1.0;
        }
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_mix_of_which_every_share_shrinks() {
        let (mut newest, mut shares, mut shrunk) = (Newest::default(), [0.0; 3], [0.0; 3]);
        for sample in 0_u32..100_000 {
            // Now the one, now the other, and one that has long gone.
            let kind = if sample < 100 { 2 } else { usize::from(sample / 700 % 3 == 0) };
            shares[kind] += newest.weight(shares.iter_mut());
            shrunk.iter_mut().for_each(|share| *share *= KEEP);
            shrunk[kind] += 1.0 - KEEP;
            let (sum, other): (f64, f64) = (shares.iter().sum(), shrunk.iter().sum());
            for (share, same) in shares.iter().zip(&shrunk) {
                assert!((share / sum - same / other).abs() < 1e-9, "{sample}: {shares:?} {shrunk:?}");
            }
        }
    }
}
