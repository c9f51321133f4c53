//! Names that are unique over all tests and processes.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A prefix for topics and consumer groups: `t<32 hex digits>.`
pub fn topic_prefix() -> String {
    format!("t{}.", uuid::Uuid::new_v4().simple())
}

/// A name for a namespace: `t-<32 hex digits>`
pub fn namespace() -> String {
    format!("t-{}", uuid::Uuid::new_v4().simple())
}

/// 11 digits, the last of which is right.
pub fn fiscal_code() -> String {
    const RANGE: u64 = 10_000_000_000;
    static START: OnceLock<u64> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let start = START.get_or_init(|| rand::random_range(0..RANGE));
    let number = (start + NEXT.fetch_add(1, Ordering::Relaxed)) % RANGE;
    let digits = format!("{number:010}");
    format!("{digits}{}", check_digit(&digits))
}

/// The eleventh digit of an organisation's fiscal code (DM 23 December 1976, annex: Luhn over ten digits).
pub fn check_digit(ten_digits: &str) -> u32 {
    let sum: u32 = ten_digits
        .chars()
        .filter_map(|digit| digit.to_digit(10))
        .enumerate()
        .map(|(index, digit)| match (index % 2, digit * 2) {
            (0, _) => digit,
            (_, double) if double > 9 => double - 9,
            (_, double) => double,
        })
        .sum();
    (10 - sum % 10) % 10
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Regione Lombardia, Comune di Milano, Regione Toscana, INPS.
    #[test]
    fn check_digits_of_real_institutions() {
        for code in ["80050050154", "01199250158", "01386030488", "80078750587"] {
            let (digits, last) = code.split_at(10);
            assert_eq!(check_digit(digits).to_string(), last, "{code}");
        }
    }

    #[test]
    fn fiscal_codes_differ_and_have_eleven_digits() {
        let codes: std::collections::HashSet<String> = (0..1_000).map(|_| fiscal_code()).collect();
        assert_eq!(codes.len(), 1_000);
        assert!(codes.iter().all(|code| code.len() == 11));
    }
}
