//! `ConfigRead`: status, pages, addressees.

use fiorino_proto::config::v1::{
    Addressee, BrokerSpec, LifecyclePhase, ListInstitutionsRequest, ResolveAddresseeRequest, ResourceKind, StationSpec,
};
use tonic::Code;

use crate::{
    fixture::{Tenant, violations},
    manifest::{BROKER, Manifest, STATION, shared},
};

#[tokio::test]
async fn an_institution_that_was_never_applied_is_not_found() {
    let tenant = Tenant::start().await;
    let status = tenant.replica.status("80012340560").await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert!(
        violations(&status)[0].starts_with("fiscal_code: ") && !status.message().contains("80012340560"),
        "{status:?}"
    );
}

#[tokio::test]
async fn pages_hold_every_institution_once_in_the_order_of_fiscal_codes() {
    let tenant = Tenant::start().await;
    let mut codes: Vec<String> = Vec::new();
    for _ in 0..5 {
        let manifest = Manifest::new();
        tenant.applied(&manifest).await;
        codes.push(manifest.fiscal_code().to_owned());
    }
    codes.sort();
    let mut client = tenant.replica.read();
    let (mut found, mut page_token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let request = ListInstitutionsRequest { page_size: 2, page_token };
        let page = client.list_institutions(request).await.unwrap().into_inner();
        assert!(page.institutions.iter().all(|one| one.distribution.len() == 3 && one.accounts.len() == 1));
        found.extend(page.institutions.into_iter().map(|one| one.fiscal_code));
        pages += 1;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!((found, pages), (codes, 3));
    let status = client.list_institutions(ListInstitutionsRequest { page_size: 501, ..Default::default() }).await;
    assert_eq!(status.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_message_belongs_to_whom_it_belonged_at_any_time() {
    let tenant = Tenant::start().await;
    let mut manifest = Manifest::new();
    tenant.applied(&manifest).await;
    // Another broker with a station that the institution never had.
    let (other_broker, other_station) = ("80050050154", "80050050154_01");
    let mut bundle = Manifest::new().bundle();
    let broker = BrokerSpec { fiscal_code: other_broker.into(), ..BrokerSpec::default() };
    let station =
        StationSpec { station_id: other_station.into(), broker_fiscal_code: other_broker.into(), primitive_version: 2 };
    bundle.shared.push(shared(ResourceKind::Broker, "other-broker", &broker));
    bundle.shared.push(shared(ResourceKind::Station, "other-station", &station));
    tenant.apply_bundle(bundle).await.unwrap();
    // The association goes, the institution is closed: it was ours all the same.
    manifest.spec.associations.clear();
    manifest.spec.phase = LifecyclePhase::Closed.into();
    tenant.applied(&manifest).await;
    let code = manifest.fiscal_code();
    let cases = [
        ((BROKER, STATION, code), Addressee::Ours),
        (("99999999999", STATION, code), Addressee::BrokerNeverOurs),
        ((BROKER, "15376371009_99", code), Addressee::StationNeverOurs),
        ((BROKER, STATION, "99999999999"), Addressee::InstitutionNeverOurs),
        ((other_broker, other_station, code), Addressee::NotAssociated),
        ((other_broker, STATION, code), Addressee::NotAssociated),
    ];
    for ((broker, station, institution), expected) in cases {
        let request = ResolveAddresseeRequest {
            broker_fiscal_code: broker.into(),
            station_id: station.into(),
            institution: institution.into(),
        };
        let answer = tenant.replica.read().resolve_addressee(request).await.unwrap().into_inner();
        assert_eq!(answer.addressee(), expected, "{broker} {station} {institution}");
        if expected == Addressee::Ours {
            assert_eq!(answer.phase(), LifecyclePhase::Closed);
        }
    }
}
