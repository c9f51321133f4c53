//! A receipt is taken by every door, and what may be one is kept: the rule of receipts begins before the router (ARCHITECTURE.md 4.4).

use anyhow::ensure;
use fiorino_test_support::eventually;
use fiorino_wire::{FaultCode, Version};
use reqwest::Method;
use rstest::rstest;

use crate::{
    rig::{
        Node, Reply, Rig, SOON,
        messages::{self, NOTICE, Receipt},
        schema,
    },
    storage,
};

/// A call of any path; `{}` is the station.
async fn call(rig: &Rig, node: &Node, method: Method, path: &str, body: impl Into<reqwest::Body>) -> Reply {
    let url = format!("http://{}{}", node.addresses.plain.unwrap(), path.replace("{}", &rig.names.station));
    let request = node.http.request(method, url).header("Content-Type", "text/xml; charset=utf-8").body(body);
    let reply = Reply::of(request.send().await.unwrap()).await;
    schema::assert_valid(&reply);
    reply
}

/// What tenant was told of the one receipt.
async fn applied(rig: &Rig) -> fiorino_proto::receipts::v1::Receipt {
    eventually(SOON, async || {
        let applied = rig.tenant.script().applied.clone();
        ensure!(applied.len() == 1, "{} applied", applied.len());
        Ok(applied[0].clone())
    })
    .await
    .unwrap()
}

#[rstest]
#[case::two_slashes("/node/v1/{}//")]
#[case::slashes_first("//node/v1/{}")]
#[case::below_it("/node/v1/{}/soap")]
#[case::other_version("/node/v2/{}")]
#[case::capitals("/NODE/V1/{}")]
#[case::description("/node/v1/{}%3Fwsdl")]
#[case::without_station("/node/v1")]
#[case::root("/")]
#[case::no_utf_8("/node/v1/%FF")]
#[tokio::test]
async fn a_receipt_on_any_path_is_taken(#[case] path: &str, #[values(Version::V1, Version::V2)] version: Version) {
    let (rig, node) = Rig::with_node().await;
    let receipt = Receipt { version, ..Receipt::new(&rig.names, "r1") };
    call(&rig, &node, Method::POST, path, receipt.write()).await.assert_ok();
    assert_eq!(storage::messages(&rig.db.pool).await, [receipt.write()]);
    let told = applied(&rig).await;
    assert_eq!(told.findings, ["receipt_path_mismatch"]);
    let station = if path.contains("{}") { rig.names.station.as_str() } else { "?" };
    assert_eq!(told.path_station, station, "as far as it names one");
    let again = call(&rig, &node, Method::POST, path, receipt.write()).await;
    again.assert_ko(FaultCode::ReceiptDuplicata, &rig.names.institution);
}

#[rstest]
#[case::put(Method::PUT)]
#[case::patch(Method::PATCH)]
#[case::delete(Method::DELETE)]
#[tokio::test]
async fn a_receipt_by_any_method_is_taken(#[case] method: Method) {
    let (rig, node) = Rig::with_node().await;
    let receipt = Receipt::new(&rig.names, "r1").write();
    call(&rig, &node, method.clone(), "/node/v1/{}", receipt).await.assert_ok();
    assert!(applied(&rig).await.findings.is_empty(), "it came to its station");
    // A call that is no receipt can be made again, in order.
    let verify = call(&rig, &node, method.clone(), "/node/v1/{}", messages::verify(&rig.names, NOTICE)).await;
    verify.assert_fault(405, "POST");
    assert_eq!(verify.headers["allow"], "POST");
    let unreadable = call(&rig, &node, method, "/node/v1/{}", "no receipt").await;
    unreadable.assert_fault(500, "cannot be read");
}

#[rstest]
#[case("/node/v1/{}%3Fwsdl")]
#[case("/node/v1/{}%2F")]
#[case("/node/v1/{};jsessionid=1")]
#[case("/node/v1/{}%20")]
#[case("/node/v1/{}//")]
#[case("//node/v1/{}")]
#[case("/node/v1/{}/soap")]
#[case("/node/v2/{}")]
#[tokio::test]
async fn a_path_in_which_the_station_is_named_is_served(#[case] path: &str) {
    let (rig, node) = Rig::with_node().await;
    for message in [
        messages::verify(&rig.names, NOTICE),
        messages::get(Version::V1, &rig.names, NOTICE),
        messages::get(Version::V2, &rig.names, NOTICE),
    ] {
        call(&rig, &node, Method::POST, path, message).await.assert_ok();
    }
    // Another station than the one in the message stays a fault, as does everything else.
    let other = path.replace("{}", "88888888888_77");
    let reply = call(&rig, &node, Method::POST, &other, messages::verify(&rig.names, NOTICE)).await;
    reply.assert_ko(FaultCode::StazioneIntErrata, &rig.names.institution);
}

#[rstest]
#[case("/")]
#[case("/node/v1")]
#[case("/node/v1/%FF")]
#[tokio::test]
async fn a_path_without_station_serves_receipts_alone(#[case] path: &str) {
    let (rig, node) = Rig::with_node().await;
    for message in [messages::verify(&rig.names, NOTICE), messages::get(Version::V2, &rig.names, NOTICE)] {
        call(&rig, &node, Method::POST, path, message).await.assert_fault(404, "/node/v1/{stationId}");
    }
    assert!(storage::unreadable(&rig.db.pool).await.is_empty());
}

/// The node repeats what is answered 5xx, and somebody looks into what was kept.
#[rstest]
#[case("/")]
#[case("/node/v2/{}")]
#[tokio::test]
async fn what_cannot_be_read_is_kept_on_any_path(#[case] path: &str) {
    let (rig, node) = Rig::with_node().await;
    let receipt = Receipt::new(&rig.names, "r1").write();
    let (broken, _) = receipt.split_once("</receipt>").unwrap();
    for body in ["no receipt", broken] {
        call(&rig, &node, Method::POST, path, body.to_owned()).await.assert_fault(500, "cannot be read");
    }
    let kept: Vec<_> =
        storage::unreadable(&rig.db.pool).await.into_iter().map(|(body, seen)| (body.len(), seen)).collect();
    assert_eq!(kept, [("no receipt".len(), 1), (broken.len(), 1)]);
    let long = format!("{receipt}{}", " ".repeat(4 * 1024 * 1024));
    call(&rig, &node, Method::POST, path, long).await.assert_fault(413, "4194304");
}
