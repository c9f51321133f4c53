//! Which client certificates are the node's, rule by rule (ARCHITECTURE.md 6.3), by certificates made for each.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use fiorino_node_connector::client_auth::{Accepted, Error, Expiring, NodeClients};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose as Usage, IsCa,
    KeyPair, PublicKeyData as _, date_time_ymd,
};
use rstest::rstest;
use rustls::{CertificateError, Error as TlsError};
use rustls_pki_types::UnixTime;
use sha2::{Digest as _, Sha256};

const NAME: &str = "forwarder.platform.pagopa.it";
/// 2026-07-14T00:00:00Z
const NOW: u64 = 1_783_987_200;
const DAY: u64 = 86_400;

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// A root and its intermediate, valid 2020 to 2040 unless told.
fn authorities(intermediate_until: i32) -> (Issuer, Issuer) {
    let params = |name: &str, until| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        params
    };
    let key = || KeyPair::generate().unwrap();
    let root = CertifiedIssuer::self_signed(params("Root", 2040), key()).unwrap();
    let intermediate = CertifiedIssuer::signed_by(params("Intermediate", intermediate_until), key(), &root).unwrap();
    (root, intermediate)
}

/// The parameters of a leaf like the node's: 2026, for servers.
fn leaf(names: &[&str], usages: &[Usage]) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(DnType::CommonName, NAME);
    params.extended_key_usages = usages.to_vec();
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params
}

fn signed(params: &CertificateParams, issuer: &Issuer) -> Certificate {
    params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap()
}

fn clients(accepted: &Accepted<'_>) -> Result<NodeClients, Error> {
    NodeClients::parse(accepted, Arc::new(rustls::crypto::ring::default_provider()))
}

fn by_name(bundle: &str) -> NodeClients {
    clients(&Accepted { bundle: bundle.as_bytes(), names: &[NAME.to_owned()], ..Accepted::default() }).unwrap()
}

fn by_pins(pins: &str) -> NodeClients {
    clients(&Accepted { pins: pins.as_bytes(), ..Accepted::default() }).unwrap()
}

/// With a chain of the leaf alone, as the node sends it.
fn shown(clients: &NodeClients, leaf: &Certificate, at: u64) -> Result<(), CertificateError> {
    match clients.check(leaf.der(), &[], UnixTime::since_unix_epoch(Duration::from_secs(at))) {
        Ok(()) => Ok(()),
        Err(TlsError::InvalidCertificate(error)) => Err(error),
        Err(other) => panic!("{other}"),
    }
}

fn indented(pem: &str) -> String {
    pem.lines().flat_map(|line| ["    ", line, "\n"]).collect()
}

#[test]
fn a_bundled_intermediate_takes_a_chain_of_the_leaf_alone() {
    let (root, intermediate) = authorities(2040);
    let node = signed(&leaf(&["other.example.it", NAME], &[Usage::ServerAuth]), &intermediate);
    assert_eq!(shown(&by_name(&intermediate.pem()), &node, NOW), Ok(()));
    assert_eq!(shown(&by_name(&(root.pem() + &intermediate.pem())), &node, NOW), Ok(()));
    // The root alone does not lead there, but the whole chain does.
    let rooted = by_name(&root.pem());
    assert_eq!(shown(&rooted, &node, NOW), Err(CertificateError::UnknownIssuer));
    let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW));
    rooted.check(node.der(), std::slice::from_ref(intermediate.der()), now).unwrap();
    let (_, stranger) = authorities(2040);
    shown(&by_name(&stranger.pem()), &node, NOW).unwrap_err();
}

#[rstest]
#[case::exact(&[NAME], true)]
#[case::in_capitals(&["FORWARDER.Platform.pagopa.it"], true)]
#[case::one_of_several(&["a.example.it", NAME], true)]
#[case::wildcard(&["*.platform.pagopa.it"], false)]
#[case::parent(&["platform.pagopa.it"], false)]
#[case::child(&["a.forwarder.platform.pagopa.it"], false)]
#[case::longer(&["forwarder.platform.pagopa.it.example.it"], false)]
#[case::common_name_alone(&[], false)]
#[case::address(&["127.0.0.1"], false)]
fn of_an_authority_only_the_exact_name_is_let_in(#[case] names: &[&str], #[case] let_in: bool) {
    let (_, intermediate) = authorities(2040);
    let node = signed(&leaf(names, &[Usage::ServerAuth]), &intermediate);
    let expected = if let_in { Ok(()) } else { Err(CertificateError::NotValidForName) };
    assert_eq!(shown(&by_name(&intermediate.pem()), &node, NOW), expected);
}

#[rstest]
#[case::client(&[Usage::ClientAuth], true)]
#[case::server(&[Usage::ServerAuth], true)]
#[case::both(&[Usage::ServerAuth, Usage::ClientAuth], true)]
#[case::server_and_more(&[Usage::CodeSigning, Usage::ServerAuth], true)]
#[case::mail(&[Usage::EmailProtection], false)]
#[case::any(&[Usage::Any], false)]
#[case::unsaid(&[], false)]
fn the_extended_key_usage_names_tls_clients_or_servers(#[case] usages: &[Usage], #[case] let_in: bool) {
    let expected = if let_in { Ok(()) } else { Err(CertificateError::InvalidPurpose) };
    let (_, intermediate) = authorities(2040);
    let key = KeyPair::generate().unwrap();
    let node = leaf(&[NAME], usages).signed_by(&key, &intermediate).unwrap();
    assert_eq!(shown(&by_name(&intermediate.pem()), &node, NOW), expected, "signed");
    let spki = STANDARD.encode(Sha256::digest(key.subject_public_key_info()));
    let pins = format!("pins:\n- name: key\n  spki: {spki}\n  notAfter: 2027-01-01T00:00:00Z\n");
    assert_eq!(shown(&by_pins(&pins), &node, NOW), expected, "key pinned");
    // A certificate that could never be shown is told when it is pinned.
    let pem = node.pem();
    let pinned = clients(&Accepted { bundle: pem.as_bytes(), ..Accepted::default() });
    match pinned {
        Ok(pinned) => assert_eq!(shown(&pinned, &node, NOW), expected, "pinned"),
        Err(error) => assert!(!let_in && matches!(error, Error::Purpose { .. }), "{error}"),
    }
}

#[test]
fn a_pinned_leaf_is_let_in_while_it_is_valid_and_no_sibling() {
    let (_, intermediate) = authorities(2040);
    let params = leaf(&[NAME], &[Usage::ServerAuth]);
    let (node, sibling) = (signed(&params, &intermediate), signed(&params, &intermediate));
    let pem = node.pem();
    let pinned = clients(&Accepted { bundle: pem.as_bytes(), ..Accepted::default() }).unwrap();
    assert_eq!(shown(&pinned, &node, NOW), Ok(()));
    assert_eq!(shown(&pinned, &sibling, NOW), Err(CertificateError::UnknownIssuer));
    assert_eq!(shown(&pinned, &node, NOW - 365 * DAY), Err(CertificateError::NotValidYet));
    assert_eq!(shown(&pinned, &node, NOW + 365 * DAY), Err(CertificateError::Expired));
}

#[test]
fn a_pin_counts_within_its_window_and_the_certificates_validity() {
    let (_, intermediate) = authorities(2040);
    let node = signed(&leaf(&[NAME], &[Usage::ServerAuth]), &intermediate);
    let pins = format!(
        "pins:\n- name: node\n  notBefore: 2026-07-10T00:00:00Z\n  notAfter: 2026-07-20T00:00:00Z\n  certificate: |\n{}",
        indented(&node.pem())
    );
    let pinned = by_pins(&pins);
    assert_eq!(shown(&pinned, &node, NOW), Ok(()));
    assert_eq!(shown(&pinned, &node, NOW - 5 * DAY), Err(CertificateError::NotValidYet));
    assert_eq!(shown(&pinned, &node, NOW + 7 * DAY), Err(CertificateError::Expired));
    // The window opens earlier and ends later than the certificate: it widens nothing.
    let wide = pins.replace("2026-07-10", "2025-01-01").replace("2026-07-20", "2030-01-01");
    assert_eq!(shown(&by_pins(&wide), &node, NOW - 365 * DAY), Err(CertificateError::NotValidYet));
    assert_eq!(shown(&by_pins(&wide), &node, NOW + 365 * DAY), Err(CertificateError::Expired));
}

#[test]
fn an_announced_key_is_pinned_beforehand_and_outlives_its_certificates() {
    let (_, intermediate) = authorities(2040);
    let key = KeyPair::generate().unwrap();
    let renewed = |from, until| {
        let mut params = leaf(&[NAME], &[Usage::ServerAuth]);
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
        params.signed_by(&key, &intermediate).unwrap()
    };
    let (first, second) = (renewed(2026, 2027), renewed(2027, 2028));
    let spki = STANDARD.encode(Sha256::digest(key.subject_public_key_info()));
    let pinned = by_pins(&format!(
        "pins:\n- name: key\n  spki: {spki}\n  notBefore: 2026-07-01T00:00:00Z\n  notAfter: 2027-12-01T00:00:00Z\n"
    ));
    assert_eq!(shown(&pinned, &first, NOW - 30 * DAY), Err(CertificateError::NotValidYet));
    assert_eq!(shown(&pinned, &first, NOW), Ok(()));
    assert_eq!(shown(&pinned, &second, NOW + 365 * DAY), Ok(()));
    assert_eq!(shown(&pinned, &second, NOW), Err(CertificateError::NotValidYet), "the certificate's own validity");
    assert_eq!(shown(&pinned, &second, NOW + 530 * DAY), Err(CertificateError::Expired), "the window");
    let other = signed(&leaf(&[NAME], &[Usage::ServerAuth]), &intermediate);
    assert_eq!(shown(&pinned, &other, NOW), Err(CertificateError::UnknownIssuer));
}

#[test]
fn a_pin_has_the_last_word_and_one_of_several_windows_suffices() {
    let (_, intermediate) = authorities(2040);
    let node = signed(&leaf(&[NAME], &[Usage::ServerAuth]), &intermediate);
    let pin = |day: &str| {
        let pem = indented(&node.pem());
        format!("- name: node\n  notBefore: 2026-07-{day}T00:00:00Z\n  certificate: |\n{pem}")
    };
    let with = |pins: &str| {
        let pem = intermediate.pem();
        let names = [NAME.to_owned()];
        let accepted = Accepted { bundle: pem.as_bytes(), pins: pins.as_bytes(), names: &names, any_name: false };
        shown(&clients(&accepted).unwrap(), &node, NOW)
    };
    let closed = format!("pins:\n{}", pin("20"));
    assert_eq!(with(&closed), Err(CertificateError::NotValidYet), "though its authority is in the bundle");
    assert_eq!(with(&format!("{closed}{}", pin("01"))), Ok(()));
}

#[test]
fn an_authority_that_has_expired_signs_for_nobody() {
    let (_, intermediate) = authorities(2026);
    let node = signed(&leaf(&[NAME], &[Usage::ServerAuth]), &intermediate);
    assert_eq!(shown(&by_name(&intermediate.pem()), &node, NOW), Err(CertificateError::Expired));
}

#[test]
fn an_authority_without_names_is_refused_unless_any_name_is_asked_for() {
    let (_, intermediate) = authorities(2040);
    let pem = intermediate.pem();
    let accepted = Accepted { bundle: pem.as_bytes(), ..Accepted::default() };
    let error = clients(&accepted).unwrap_err().to_string();
    assert!(error.contains("--node-client-names") && error.contains("--node-client-any-name"), "{error}");
    let any = clients(&Accepted { any_name: true, ..accepted }).unwrap();
    assert_eq!(shown(&any, &signed(&leaf(&["a.example.it"], &[Usage::ClientAuth]), &intermediate), NOW), Ok(()));
    let (_, stranger) = authorities(2040);
    let foreign = signed(&leaf(&["a.example.it"], &[Usage::ClientAuth]), &stranger);
    shown(&any, &foreign, NOW).unwrap_err();
}

#[rstest]
#[case::wildcard("*.platform.pagopa.it")]
#[case::address("127.0.0.1")]
#[case::empty("")]
#[case::spaces("a b")]
fn a_name_is_an_exact_dns_name(#[case] name: &str) {
    let (_, intermediate) = authorities(2040);
    let pem = intermediate.pem();
    let names = [name.to_owned()];
    let told = clients(&Accepted { bundle: pem.as_bytes(), names: &names, ..Accepted::default() });
    assert!(matches!(told, Err(Error::Name { .. })), "{told:?}");
}

#[rstest]
#[case::no_yaml("pins: [", "list of pins")]
#[case::no_list("forwarder", "list of pins")]
#[case::unknown_key("pins:\n- name: a\n  sha1: x\n", "list of pins")]
#[case::no_name("pins:\n- name: ''\n  spki: x\n", "1 to 64")]
#[case::nothing("pins:\n- name: a\n", "either certificate or spki")]
#[case::both("pins:\n- name: a\n  spki: x\n  certificate: x\n", "either certificate or spki")]
#[case::no_hash("pins:\n- name: a\n  spki: abcd\n  notAfter: 2027-01-01T00:00:00Z\n", "44 characters")]
#[case::no_pem("pins:\n- name: a\n  certificate: x\n", "PEM")]
#[case::no_end("pins:\n- name: a\n  spki: 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n", "notAfter")]
#[case::inside_out(
    "pins:\n- name: a\n  spki: 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n  notBefore: 2027-01-02T00:00:00Z\n  \
     notAfter: 2027-01-01T00:00:00Z\n",
    "before notAfter"
)]
fn a_wrong_pin_is_told(#[case] pins: &str, #[case] rule: &str) {
    let error = clients(&Accepted { pins: pins.as_bytes(), ..Accepted::default() }).unwrap_err();
    let told = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    let told = told.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    assert!(told.contains(rule), "{told}");
}

#[test]
fn what_ends_is_told_with_its_end() {
    let (_, intermediate) = authorities(2040);
    let node = signed(&leaf(&[NAME], &[Usage::ServerAuth]), &intermediate);
    let bundle = intermediate.pem() + &node.pem();
    let pins = "pins:\n- name: next\n  spki: 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n  \
                notAfter: 2028-02-01T00:00:00Z\n";
    let names = [NAME.to_owned()];
    let accepted = Accepted { bundle: bundle.as_bytes(), pins: pins.as_bytes(), names: &names, any_name: false };
    let expiring = clients(&accepted).unwrap().expiring();
    let told: Vec<_> =
        expiring.iter().map(|Expiring { of, name, until, .. }| (*of, name.as_str(), until.to_string())).collect();
    assert_eq!(
        told,
        [
            ("pin", "next", "2028-02-01T00:00:00Z".to_owned()),
            ("pin", NAME, "2027-01-01T00:00:00Z".to_owned()),
            ("authority", "Intermediate", "2040-01-01T00:00:00Z".to_owned()),
        ]
    );
    assert!(expiring.iter().all(|expiring| expiring.sha256.len() == 16), "{expiring:?}");
}

#[test]
fn a_bundle_is_bounded() {
    let (_, intermediate) = authorities(2040);
    let many = signed(&leaf(&[NAME], &[Usage::ServerAuth]), &intermediate).pem().repeat(33);
    let told = clients(&Accepted { bundle: many.as_bytes(), ..Accepted::default() });
    assert!(matches!(told, Err(Error::TooMany)), "{told:?}");
}
