//! Randomness for jitter; nothing secret.

use std::hash::{BuildHasher, RandomState};

/// A number from 0 up to, not including, 1.
pub(crate) fn fraction() -> f64 {
    // Every `RandomState` has keys of its own; 53 bits are what a double holds.
    let bits = RandomState::new().hash_one(0_u8) >> 11;
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
    let bits = bits as f64;
    bits / 9_007_199_254_740_992.0
}

#[cfg(test)]
mod tests {
    #[test]
    fn fractions_stay_below_one_and_differ() {
        let drawn: Vec<f64> = (0..1000).map(|_| super::fraction()).collect();
        assert!(drawn.iter().all(|x| (0.0..1.0).contains(x)));
        assert!(drawn.iter().any(|x| *x < 0.2) && drawn.iter().any(|x| *x > 0.8));
    }
}
