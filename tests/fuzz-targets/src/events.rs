//! Events from Kafka: headers and payload.

use fiorino_proto::{
    payments::v1::{PaidTransfer, PaymentRecorded},
    topics,
};
use prost::Message as _;

/// Between headers and payload.
const END_OF_HEADERS: &[u8] = b"\n\n";

pub(crate) const DICTIONARY: &[&str] = &[
    "ce_id: 1\n",
    "ce_type: dev.fiorino.payments.v1.PaymentRecorded\n",
    "ce_time: 2026-07-14T10:42:00Z\n",
    "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n",
    "\n\n",
    "2026-07-14T10:42:00Z",
    "+999999-01-01T00:00:00Z",
    "0191e4b0-7c1d-7d0c-8f5e-0123456789ab",
    "\0",
];

/// Lines of `name: value`, an empty line, the payload.
pub(crate) fn event(data: &[u8]) {
    let end = data.windows(END_OF_HEADERS.len()).position(|window| window == END_OF_HEADERS);
    let (head, payload) = match end {
        Some(end) => (&data[..end], &data[end + END_OF_HEADERS.len()..]),
        None => (data, &[][..]),
    };
    let headers: Vec<_> = head
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            // librdkafka's names are C strings.
            let name = std::str::from_utf8(&line[..colon]).ok().filter(|name| !name.contains('\0'))?;
            Some((name, line[colon + 1..].trim_ascii()))
        })
        .collect();
    if let Ok(payment) = fiorino_reporting::fuzz::event(&headers, b"key", payload) {
        let written = PaymentRecorded::from(payment.clone());
        assert_eq!(fiorino_reporting::Payment::try_from(written).ok().as_ref(), Some(&payment), "told again");
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let payment = PaymentRecorded {
        event_id: "0191e4b0-7c1d-7d0c-8f5e-0123456789ab".into(),
        institution: "77777777777".into(),
        receipt_id: "r1".into(),
        notice_number: "312000000000471179".into(),
        iuv: "12000000000471179".into(),
        issuer: "77777777777".into(),
        amount_cents: Some(12_000),
        paid_at: "2026-07-14T10:42:00Z".into(),
        recorded_at: "2026-07-14T10:42:01Z".into(),
        psp_id: "AGID_01".into(),
        application_date: "2026-07-14".into(),
        transfer_date: "2026-07-15".into(),
        transfers: vec![PaidTransfer::default()],
        version: 1,
        ..PaymentRecorded::default()
    };
    let head = format!(
        "ce_id: {}\nce_type: {}\nce_source: fiorino/tenant\nce_time: 2026-07-14T10:42:01Z\n\
         traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        payment.event_id,
        topics::PAYMENTS.event_type
    );
    let bare = PaymentRecorded { transfers: Vec::new(), ..payment.clone() };
    [payment, bare].map(|payment| [head.as_bytes(), END_OF_HEADERS, &payment.encode_to_vec()].concat()).into()
}
