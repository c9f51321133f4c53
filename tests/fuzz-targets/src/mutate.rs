//! A mutator that makes the same inputs of the same seed, everywhere and always.

/// Longest input that is made.
const LENGTH_MAX: usize = 64 * 1024;
/// Changes of one input.
const CHANGES_MAX: usize = 6;
/// Bytes at which readers turn.
const INTERESTING: [u8; 16] =
    [0, 1, 0x0a, 0x0d, b' ', b'"', b'&', b'/', b'0', b':', b'<', b'>', 0x7f, 0x80, 0xef, 0xff];

/// Makes inputs of others.
#[derive(Debug, Clone)]
pub struct Mutator {
    state: u64,
}

// === impl Mutator ===

impl Mutator {
    /// The row of inputs that belongs to `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// One of the seeds, changed a few times.
    pub fn input(&mut self, seeds: &[Vec<u8>], dictionary: &[&str]) -> Vec<u8> {
        let mut input = self.pick(seeds).cloned().unwrap_or_default();
        for _ in 0..=self.below(CHANGES_MAX) {
            self.change(&mut input, seeds, dictionary);
        }
        input.truncate(LENGTH_MAX);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>], dictionary: &[&str]) {
        let at = self.below(input.len() + 1);
        let end = (at + 1 + self.below(32)).min(input.len());
        match self.below(8) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = INTERESTING[self.below(INTERESTING.len())],
            2 => input.insert(at, INTERESTING[self.below(INTERESTING.len())]),
            3 if at < end => drop(input.drain(at..end)),
            4 if at < end => {
                let piece = input[at..end].repeat(1 + self.below(8));
                input.splice(at..at, piece);
            }
            5 => input.truncate(at),
            6 => {
                if let Some(word) = self.pick(dictionary) {
                    input.splice(at..end.max(at), word.bytes());
                }
            }
            _ => {
                if let Some(other) = self.pick(seeds) {
                    let from = self.below(other.len() + 1);
                    input.splice(at.., other[from..].iter().copied());
                }
            }
        }
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        if all.is_empty() { None } else { all.get(self.below(all.len())) }
    }

    /// Below `bound`, which is not zero.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap_or_default()
    }

    /// `SplitMix64`: Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014.
    const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
