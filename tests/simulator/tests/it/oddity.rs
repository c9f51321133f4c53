//! A receipt is as odd as it was asked to be, and nothing else about it is; the answer is judged as ever.

use fiorino_simulator::{
    judge::{
        Operation,
        tree::{self, Element},
    },
    messages::{self, Addressing, ReceiptFacts},
    node::oddity::{NoSuchElement, Oddity, way},
};

use crate::samples;

/// The receipt of the sample's payment, with what is odd about it.
fn sent(operation: Operation, odd: &[Oddity]) -> Option<Result<Element, NoSuchElement>> {
    let sample = samples::load("paGetPaymentV2.res.ok.xml")?;
    let answer = tree::parse(sample.as_bytes()).unwrap();
    let payment = find(&answer, "data").unwrap().clone();
    let facts = ReceiptFacts {
        receipt_id: "r".into(),
        notice_number: "312000000000471179".into(),
        payment_method: "cash".into(),
        fee: "1.50".into(),
        paid_at: "2026-06-16T10:15:30".parse().unwrap(),
        payment_note: None,
    };
    let to = Addressing { institution: "77777777777", broker: "88888888888", station: "88888888888_01" };
    let message = messages::send_odd_receipt(operation, to, "77777777777", "Comune", &payment, &facts, odd);
    Some(message.map(|message| find(&tree::parse(message.as_bytes()).unwrap(), "receipt").unwrap().clone()))
}

fn find<'a>(element: &'a Element, name: &str) -> Option<&'a Element> {
    element.child(name).or_else(|| element.children.iter().find_map(|child| find(child, name)))
}

fn read(json: &str) -> Vec<Oddity> {
    serde_json::from_str(json).unwrap()
}

#[test]
fn elements_are_changed_as_asked() {
    let odd = read(
        r#"[{"oddity": "set", "at": "paymentAmount", "text": "120,00"},
            {"oddity": "set", "at": "transferList.transfer[2].IBAN", "text": "IT60X0542811101000000123456"},
            {"oddity": "remove", "at": "description"},
            {"oddity": "repeat", "at": "transferList.transfer[1]"},
            {"oddity": "add", "at": "", "name": "brandNew", "text": "1"},
            {"oddity": "add", "at": "debtor", "name": "brandNew", "text": "2"}]"#,
    );
    let Some(plain) = sent(Operation::SendRtV2, &[]) else { return };
    let (plain, spoilt) = (plain.unwrap(), sent(Operation::SendRtV2, &odd).unwrap().unwrap());
    assert_eq!((plain.text_of("paymentAmount"), spoilt.text_of("paymentAmount")), (Some("120.00"), Some("120,00")));
    let (before, after) = (plain.child("transferList").unwrap(), spoilt.child("transferList").unwrap());
    assert_eq!(after.children.len(), before.children.len() + 1);
    assert_eq!((&after.children[0], &after.children[1]), (&before.children[0], &before.children[0]));
    assert_eq!(after.children[2].text_of("IBAN"), Some("IT60X0542811101000000123456"));
    assert!(plain.child("description").is_some() && spoilt.child("description").is_none());
    assert_eq!((spoilt.text_of("brandNew"), spoilt.text_at(&["debtor", "brandNew"])), (Some("1"), Some("2")));
    assert_eq!(spoilt.child("idPSP"), plain.child("idPSP"), "the rest is as it was");
}

#[test]
fn what_is_not_there_cannot_be_odd() {
    for at in ["nothing", "transferList.transfer[9]", "transferList.transfer[0]", "transferList.transfer[x]"] {
        let odd = [Oddity::Remove { at: at.into() }];
        let Some(spoilt) = sent(Operation::SendRt, &odd) else { return };
        assert_eq!(spoilt.unwrap_err(), NoSuchElement, "{at}");
    }
}

#[test]
fn the_way_is_that_of_the_last_oddity() {
    let odd = read(
        r#"[{"oddity": "path", "path": "/a"}, {"oddity": "path", "path": "/b"}, {"oddity": "method", "method": "PUT"}]"#,
    );
    let way = way(&odd);
    assert_eq!((way.path.as_deref(), way.method.as_deref()), (Some("/b"), Some("PUT")));
    assert!(serde_json::from_str::<Vec<Oddity>>(r#"[{"oddity": "set", "at": "a"}]"#).is_err());
}
