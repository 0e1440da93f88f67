//! Choices that follow from the seed and from what they are about.
//!
//! Each choice is a hash of the seed and of the place at which it is made, and not the next number
//! of a stream: if one fault is taken away, the others stay where they are.

/// Makes the choices of one world.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SeededChoices {
    seed: u64,
}

impl SeededChoices {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// A number that only the seed and the place decide.
    pub(crate) fn number(self, place: &str) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in place.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        mix(hash ^ mix(self.seed))
    }

    /// A number from 0 to below the limit.
    pub(crate) fn below(self, place: &str, limit: u64) -> u64 {
        self.number(place) % limit.max(1)
    }

    /// A number from 0 to below 1.
    #[allow(clippy::cast_precision_loss, reason = "53 bits are exact")]
    pub(crate) fn fraction(self, place: &str) -> f64 {
        (self.number(place) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether something happens that has this probability.
    pub(crate) fn happens(self, place: &str, probability: f64) -> bool {
        self.fraction(place) < probability
    }
}

/// The finalizer of splitmix64.
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
