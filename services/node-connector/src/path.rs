//! The station that a URL means. Pure.

/// Digits of a broker's fiscal code, and of the number of its station.
const BROKER_DIGITS: usize = 11;
const NUMBER_DIGITS: usize = 2;

/// The first part of a path, percent-decoded, that has the shape of a station's id. Parts end where an id cannot go on: at a slash, a question
/// mark, a semicolon, white space.
pub(crate) fn station_in(path: &str) -> Option<&str> {
    path.split(|char: char| matches!(char, '/' | '?' | ';') || char.is_whitespace()).find(|part| is_station(part))
}

/// Percent-decoded; what is no UTF-8 is replaced.
pub(crate) fn decoded(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        match (first, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(hex(*high) << 4 | hex(*low));
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit.to_ascii_lowercase() - b'a') + 10,
    }
}

/// `<broker's fiscal code>_NN` (pagopa.md 1.3).
fn is_station(part: &str) -> bool {
    let digits = |text: &str, length: usize| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    part.split_once('_').is_some_and(|(broker, number)| digits(broker, BROKER_DIGITS) && digits(number, NUMBER_DIGITS))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const STATION: &str = "91073550427_01";

    #[rstest]
    #[case("/node/v1/91073550427_01")]
    #[case("/node/v1/91073550427_01/")]
    #[case("/node/v1/91073550427_01//")]
    #[case("//node/v1/91073550427_01")]
    #[case("/node/v1/91073550427_01/soap")]
    #[case("/node/v2/91073550427_01")]
    #[case("/NODE/V1/91073550427_01")]
    #[case("/node/v1/91073550427%5F01")]
    #[case("/node/v1/91073550427_01%3Fwsdl")]
    #[case("/node/v1/91073550427_01%2Fsoap")]
    #[case("/node/v1/91073550427_01;jsessionid=1")]
    #[case("/node/v1/91073550427_01%20")]
    #[case("/node/v1/%20%FF/91073550427_01")]
    fn what_cannot_belong_to_an_id_is_cut(#[case] path: &str) {
        assert_eq!(station_in(&decoded(path)), Some(STATION));
    }

    #[rstest]
    #[case("/")]
    #[case("/node/v1")]
    #[case("/node/v1/%FF")]
    #[case("/node/v1/91073550427")]
    #[case("/node/v1/91073550427_1")]
    #[case("/node/v1/91073550427_011")]
    #[case("/node/v1/x91073550427_01")]
    #[case("%9")]
    #[case("%")]
    fn what_names_no_station_names_none(#[case] path: &str) {
        assert_eq!(station_in(&decoded(path)), None);
    }

    proptest! {
        #[test]
        fn any_path_is_read(path in any::<String>()) {
            let decoded = decoded(&path);
            if let Some(station) = station_in(&decoded) {
                prop_assert!(decoded.contains(station) && is_station(station));
            }
        }
    }
}
