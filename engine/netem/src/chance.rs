//! Probability as an integer threshold, so that no platform's floating point changes a run.

use crate::Rng;

/// A probability between never and always, in steps of 2^-32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chance(u64);

impl Chance {
    const ONE: u64 = 1 << 32;
    /// Never happens, and draws no random number.
    pub const NEVER: Self = Self(0);
    /// Always happens.
    pub const ALWAYS: Self = Self(Self::ONE);

    /// A fraction from 0 to 1; what lies outside is clamped, NaN is never. A fraction above zero
    /// never becomes zero.
    #[must_use]
    pub fn from_fraction(fraction: f64) -> Self {
        let scaled = (fraction.clamp(0.0, 1.0) * Self::ONE as f64) as u64;
        Self(if fraction > 0.0 { scaled.max(1) } else { 0 })
    }

    /// Parts of a million; more than a million is always.
    #[must_use]
    pub const fn ppm(parts: u32) -> Self {
        let parts = if parts > 1_000_000 { 1_000_000 } else { parts };
        Self(parts as u64 * Self::ONE / 1_000_000)
    }

    /// The probability as a fraction from 0 to 1.
    #[must_use]
    pub fn fraction(self) -> f64 {
        self.0 as f64 / Self::ONE as f64
    }

    /// Whether it can never happen.
    #[must_use]
    pub const fn is_never(self) -> bool {
        self.0 == 0
    }

    /// Draws once. [`Chance::NEVER`] leaves the generator untouched.
    pub fn draw(self, rng: &mut Rng) -> bool {
        self.0 != 0 && (rng.next_u64() >> 32) < self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_and_always_are_exact() {
        let mut rng = Rng::new(1);
        assert!((0..1000).all(|_| !Chance::NEVER.draw(&mut rng)));
        assert!((0..1000).all(|_| Chance::ALWAYS.draw(&mut rng)));
    }

    #[test]
    fn never_draws_nothing() {
        let (mut a, mut b) = (Rng::new(5), Rng::new(5));
        Chance::NEVER.draw(&mut a);
        assert_eq!(a.next_u64(), b.next_u64());
    }

    #[test]
    fn fractions_are_clamped_and_never_vanish() {
        assert_eq!(Chance::from_fraction(-1.0), Chance::NEVER);
        assert_eq!(Chance::from_fraction(f64::NAN), Chance::NEVER);
        assert_eq!(Chance::from_fraction(2.0), Chance::ALWAYS);
        assert!(!Chance::from_fraction(1e-15).is_never());
        assert_eq!(Chance::ppm(2_000_000), Chance::ALWAYS);
        assert_eq!(Chance::ppm(0), Chance::NEVER);
    }

    #[test]
    fn one_percent_is_one_percent() {
        let mut rng = Rng::new(9);
        let hits = (0..100_000).filter(|_| Chance::ppm(10_000).draw(&mut rng)).count();
        assert!((900..1100).contains(&hits), "{hits}");
    }
}
