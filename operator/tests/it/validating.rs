//! What a manifest breaks is told with field, problem and remedy; what is right becomes a bundle.

use fiorino_crds::{Reason, condition::ConditionStatus};
use fiorino_operator::{
    Environment,
    institution::{
        bundle::Bundle,
        dereference::{Beneficiary, Found, Snapshot, Unreadable},
        secrets::Problem,
        subject::SubjectKind,
        validate::{Validated, validate},
    },
};
use fiorino_proto::config::v1::{
    AccountSpec, AssociationState, BrokerSpec, InstitutionSpec, Resource, ResourceKind, ServiceSpec, StationSpec,
};
use prost::Message as _;
use rstest::rstest;
use serde_json::json;

use crate::world::{
    self, BROKER, IBAN, POSTAL_IBAN, PROVINCE, SEAL_KEY, WRONG_IBAN, broker, found, iban, institution, judge, rules,
    service, snapshot, station,
};

fn bundle(validated: &Validated) -> &Bundle {
    validated.bundle.as_ref().unwrap_or_else(|| panic!("{}", validated.report.draft().message))
}

/// What a person reads in a bundle.
fn shown(resource: &Resource) -> String {
    let spec = &resource.spec[..];
    let spec = match resource.kind() {
        ResourceKind::Institution => format!("{:#?}", InstitutionSpec::decode(spec).unwrap()),
        ResourceKind::Account => format!("{:#?}", AccountSpec::decode(spec).unwrap()),
        ResourceKind::Service => format!("{:#?}", ServiceSpec::decode(spec).unwrap()),
        ResourceKind::Station => format!("{:#?}", StationSpec::decode(spec).unwrap()),
        ResourceKind::Broker => format!("{:#?}", BrokerSpec::decode(spec).unwrap()),
        ResourceKind::Unspecified => panic!("a resource without kind"),
    };
    format!(
        "{} {}/{} gen {} of {:?}\n{spec}",
        resource.uid, resource.namespace, resource.name, resource.generation, resource.institution
    )
}

#[test]
fn the_bundle_of_a_municipality() {
    let validated = judge(&snapshot());
    assert_eq!(validated.report.draft().reason, Reason::Valid);
    let bundle = bundle(&validated);
    assert!(bundle.keep.is_empty());
    let text: Vec<String> = bundle.resources().map(shown).collect();
    insta::assert_snapshot!(text.join("\n\n"));
}

#[test]
fn the_same_world_gives_the_same_bytes() {
    let (one, other) = (judge(&snapshot()), judge(&snapshot()));
    assert_eq!(bundle(&one).digest(), bundle(&other).digest());
    assert_eq!(bundle(&one), bundle(&other));
}

#[test]
fn a_rotated_key_is_another_configuration() {
    let mut rotated = snapshot();
    rotated.keys.insert(world::key(), Ok(world::sealed("fedcba9876543210")));
    assert_ne!(bundle(&judge(&snapshot())).digest(), bundle(&judge(&rotated)).digest());
}

type Break = fn(&mut Snapshot);

/// Else two institutions of a namespace would write the statuses of its accounts and services in turn, without an end.
#[test]
fn the_second_institution_of_a_namespace_judges_itself_alone() {
    let mut younger = snapshot();
    younger.profiles.clear();
    assert!(judge(&younger).report.others().iter().any(|judged| !judged.errors.is_empty()), "MENSA needs the profile");
    younger.rival = Some("vecchio".to_owned());
    let validated = judge(&younger);
    assert_eq!((validated.report.others(), &validated.bundle), (&[][..], &None));
    assert!(validated.report.draft().message.starts_with("metadata.namespace"), "{:?}", validated.report);
}

/// Nothing is sent for the institution; tenant keeps what it has.
#[rstest]
#[case::rival(|it: &mut Snapshot| it.rival = Some("vecchio".to_owned()), Reason::InvalidReference,
    "metadata.namespace: CreditorInstitution vecchio lives in this namespace: give each institution a namespace of its own")]
#[case::check_digit(|it: &mut Snapshot| it.institution = institution(&json!({"fiscalCode": "80041780357"})), Reason::InvalidField,
    "spec.fiscalCode: the check digit of 80041780357 does not fit: compare it with the index of public administrations (IPA)")]
#[case::platform(
    |it: &mut Snapshot| it.institution = institution(&json!({"associations": [{"stationRef": {"namespace": "altrove", "name": "x"}, "segregationCode": "12"}]})),
    Reason::InvalidReference,
    "spec.associations[0].stationRef.namespace: no platform is in the namespace altrove: name the namespace in which the Station lies")]
#[case::no_station(|it: &mut Snapshot| { it.stations.insert("valdarda-01".to_owned(), Found::Missing); }, Reason::InvalidReference,
    "spec.associations[0].stationRef: Station fiorino/valdarda-01 does not exist: create it or correct the name")]
#[case::closed_station(
    |it: &mut Snapshot| { it.stations.insert("valdarda-01".to_owned(), found(station(&json!({"allowedNamespaces": {"from": "Names", "names": ["altro"]}})))); },
    Reason::InvalidReference,
    "spec.associations[0].stationRef: Station valdarda-01 does not allow the namespace comune: add it to the Station's spec.allowedNamespaces")]
#[case::no_profile(|it: &mut Snapshot| it.profiles[0].1 = Found::Missing, Reason::InvalidReference,
    "spec.profiles[0]: ServiceProfile comune-standard/1 does not exist on the platform: create the revision or name another")]
#[case::brought_twice(|it: &mut Snapshot| { let mut other = it.profiles[0].clone(); other.0.revision = 2; it.profiles.push(other); }, Reason::InvalidField,
    "spec.profiles: comune-standard/1 and comune-standard/1 both bring the service TARI: remove one of them")]
#[case::hostname(|it: &mut Snapshot| it.institution = institution(&json!({"portal": {"hostnames": ["roccafiorina.example"]}})), Reason::InvalidField,
    "spec.portal.hostnames[0]: roccafiorina.example is not under a domain of the platform: choose a name under localhost")]
#[case::unreadable_service(|it: &mut Snapshot| it.unreadable.push(Unreadable { kind: "PaymentService".to_owned(), name: "x".to_owned(), uid: "u".to_owned(), error: "why".to_owned() }),
    Reason::InvalidChild, "PaymentService x: cannot be read (why): correct it or upgrade the operator")]
fn a_wrong_institution_is_held_back(#[case] break_it: Break, #[case] reason: Reason, #[case] text: &str) {
    let mut snapshot = snapshot();
    break_it(&mut snapshot);
    let validated = judge(&snapshot);
    let draft = validated.report.draft();
    assert_eq!((draft.status, draft.reason), (ConditionStatus::False, reason));
    assert!(draft.message.starts_with(text), "{}", draft.message);
    assert!(validated.bundle.is_none());
}

/// The child is kept as it was, the rest goes on, and the institution tells of it.
#[rstest]
#[case::iban(
    |it: &mut Snapshot| it.ibans = vec![iban("tesoreria", json!([{"validFrom": "2026-01-01", "iban": WRONG_IBAN}]))],
    SubjectKind::Iban, &["uid-tesoreria"], Reason::InvalidField,
    "spec.numbers[0].iban: the check digits of the iban do not fit: compare it with the bank's letter: withdraw the entry of 2026-01-01 (withdrawn: true) and add the right number with another validFrom")]
#[case::nothing_left(
    |it: &mut Snapshot| it.ibans = vec![iban("tesoreria", json!([{"validFrom": "2026-01-01", "iban": WRONG_IBAN, "withdrawn": true}]))],
    SubjectKind::Iban, &["uid-tesoreria"], Reason::InvalidField,
    "spec.numbers: every number is withdrawn and wrong: add the right number with another validFrom")]
#[case::account(|it: &mut Snapshot| it.services = vec![service("mensa", json!({"code": "MENSA", "account": "scuola"}))],
    SubjectKind::PaymentService, &["uid-mensa", "uid-roccafiorina/MENSA"], Reason::InvalidReference,
    "spec.account: Iban scuola does not exist in this namespace: create it or name another")]
#[case::essentials(|it: &mut Snapshot| it.services = vec![service("nido", json!({"code": "NIDO", "title": {"it": "Nido"}}))],
    SubjectKind::PaymentService, &["uid-nido"], Reason::InvalidField,
    "spec.taxonomyCode, spec.account: absent, and no profile of the institution brings this service: set it or add the profile")]
#[case::twice(|it: &mut Snapshot| it.services.push(service("mensa-2", json!({"code": "MENSA"}))),
    SubjectKind::PaymentService, &["uid-mensa-2", "uid-roccafiorina/MENSA"], Reason::InvalidField,
    "spec.code: PaymentService mensa has the code MENSA too, and is older: delete one of them or choose another code")]
#[case::no_beneficiary(|it: &mut Snapshot| sharing(it, Some(Beneficiary::NoInstitution)), SubjectKind::PaymentService,
    &["uid-tefa-service"], Reason::InvalidReference,
    "spec.beneficiaries[0].fiscalCode: no CreditorInstitution of this platform has the fiscal code 80236140770: create one with role BeneficiaryOnly")]
#[case::unpublished(|it: &mut Snapshot| sharing(it, Some(world::province(false, json!([{"validFrom": "2026-01-01", "iban": IBAN}])))),
    SubjectKind::PaymentService, &["uid-tefa-service"], Reason::InvalidReference,
    "spec.beneficiaries[0].account: the institution 80236140770 has not published its Iban tefa: ask it to set spec.published: true there")]
#[case::not_yet(|it: &mut Snapshot| sharing(it, Some(world::province(true, json!([{"validFrom": "2027-01-01", "iban": IBAN}])))),
    SubjectKind::PaymentService, &["uid-tefa-service"], Reason::InvalidReference,
    "spec.beneficiaries[0].account: the Iban tefa of the institution 80236140770 has no valid number in use today: ask it to add one")]
fn a_wrong_child_is_kept_and_the_rest_goes_on(
    #[case] break_it: Break,
    #[case] kind: SubjectKind,
    #[case] kept: &[&str],
    #[case] reason: Reason,
    #[case] text: &str,
) {
    let mut snapshot = snapshot();
    break_it(&mut snapshot);
    let validated = judge(&snapshot);
    let bundle = bundle(&validated);
    assert_eq!(bundle.keep, kept);
    assert!(bundle.children.iter().all(|child| !kept.contains(&child.uid.as_str())));
    assert!(bundle.children.iter().any(|child| child.uid == "uid-roccafiorina/TARI"), "the rest goes on");
    let wrong: Vec<_> = validated.report.others().iter().filter(|it| !it.errors.is_empty()).collect();
    assert_eq!(wrong.len(), 1);
    assert_eq!(wrong[0].subject.kind, kind);
    let own = wrong[0].draft();
    assert_eq!((own.status, own.reason, own.message.as_str()), (ConditionStatus::False, reason, text));
    let institution = validated.report.draft();
    assert_eq!(institution.reason, Reason::InvalidChild);
    assert_eq!(institution.message, format!("{}: {text}", wrong[0].subject));
}

/// A service of the municipality that pays a share to the province.
fn sharing(snapshot: &mut Snapshot, account: Option<Beneficiary>) {
    let spec = json!({
        "code": "TARITEFA", "title": {"it": "TARI e TEFA"}, "taxonomyCode": "9/0101101IM/", "account": "tesoreria",
        "beneficiaries": [{"fiscalCode": PROVINCE, "account": "tefa", "shareBasisPoints": 500, "taxonomyCode": "0201102IM"}],
    });
    snapshot.services = vec![service("tefa-service", spec)];
    snapshot.beneficiaries =
        account.map(|account| ((PROVINCE.to_owned(), "tefa".to_owned()), account)).into_iter().collect();
}

/// What the platform lacks leaves its object out; tenant keeps what it has of it.
#[rstest]
#[case::no_secret(|it: &mut Snapshot| world::no_secret(it, Problem::NoSecret), ResourceKind::Broker,
    "Broker valdarda: spec.subscriptionKeys[0].primary: Secret fiorino/pagopa does not exist: create it with the key backoffice")]
#[case::no_key(|it: &mut Snapshot| world::no_secret(it, Problem::NoKey), ResourceKind::Broker,
    "Broker valdarda: spec.subscriptionKeys[0].primary: Secret fiorino/pagopa has no key backoffice: add it or name another")]
#[case::no_broker(|it: &mut Snapshot| { it.brokers.insert("valdarda".to_owned(), Found::Missing); }, ResourceKind::Station,
    "Station valdarda-01: spec.brokerRef: Broker valdarda does not exist in this namespace: create it or correct the name")]
#[case::other_broker(|it: &mut Snapshot| { it.brokers.insert("valdarda".to_owned(), found(broker(&json!({"fiscalCode": PROVINCE})))); }, ResourceKind::Station,
    "Station valdarda-01: spec.brokerRef: 91073550427_01 is no station of Broker valdarda, whose fiscal code is 80236140770")]
fn what_the_platform_lacks_is_told(#[case] break_it: Break, #[case] left_out: ResourceKind, #[case] text: &str) {
    let mut snapshot = snapshot();
    break_it(&mut snapshot);
    let validated = judge(&snapshot);
    let draft = validated.report.draft();
    assert_eq!(draft.reason, Reason::InvalidReference);
    assert!(draft.message.starts_with(text), "{}", draft.message);
    assert!(bundle(&validated).shared.iter().all(|resource| resource.kind() != left_out));
}

#[test]
fn a_test_code_is_let_through_in_uat_with_a_warning() {
    let mut snapshot = snapshot();
    snapshot.institution = institution(&json!({"fiscalCode": "77777777777"}));
    let validated = validate(&snapshot, &rules(Environment::Uat));
    let draft = validated.report.draft();
    assert_eq!((draft.status, draft.reason), (ConditionStatus::True, Reason::Doubtful));
    assert!(
        draft.message.contains("spec.fiscalCode: the check digit of 77777777777 does not fit"),
        "{}",
        draft.message
    );
    assert!(validated.bundle.is_some());
}

#[test]
fn a_wrong_number_is_mended_by_withdrawing_it() {
    let mut snapshot = snapshot();
    let numbers = json!([
        {"validFrom": "2026-01-01", "iban": WRONG_IBAN, "withdrawn": true},
        {"validFrom": "2026-06-01", "iban": POSTAL_IBAN},
        {"validFrom": "2026-01-02", "iban": IBAN, "withdrawn": true},
    ]);
    snapshot.ibans = vec![iban("tesoreria", numbers)];
    let validated = judge(&snapshot);
    assert_eq!(validated.report.draft().reason, Reason::Valid);
    let account = bundle(&validated).children.iter().find(|child| child.kind() == ResourceKind::Account).unwrap();
    let numbers = AccountSpec::decode(&account.spec[..]).unwrap().numbers;
    let shown: Vec<_> = numbers.iter().map(|it| (it.valid_from.as_str(), it.postal, it.withdrawn)).collect();
    assert_eq!(shown, [("2026-01-02", false, true), ("2026-06-01", true, false)]);
}

/// The API server counts a rare character as one, the node as two: a name that only just fits is refused here, not by tenant or the node.
#[rstest]
#[case::fits("x".repeat(138) + "\u{20bb7}", None)]
#[case::one_too_many("x".repeat(139) + "\u{20bb7}", Some("spec.legalName: has 141 characters, at most 140 are allowed"))]
fn names_are_measured_as_the_node_measures_them(#[case] name: String, #[case] problem: Option<&str>) {
    let mut snapshot = snapshot();
    snapshot.institution = institution(&json!({"legalName": name}));
    let validated = judge(&snapshot);
    let draft = validated.report.draft();
    assert_eq!(draft.status == ConditionStatus::True, problem.is_none(), "{}", draft.message);
    assert!(problem.is_none_or(|problem| draft.message.starts_with(problem)), "{}", draft.message);
    assert_eq!(validated.bundle.is_some(), problem.is_none());
}

/// Which of its numbers counts is tenant's to say, when somebody pays.
#[test]
fn a_share_names_the_account() {
    let mut snapshot = snapshot();
    let numbers = json!([{"validFrom": "2025-01-01", "iban": POSTAL_IBAN}, {"validFrom": "2026-11-24", "iban": IBAN}]);
    sharing(&mut snapshot, Some(world::province(true, numbers)));
    let validated = judge(&snapshot);
    let children = &bundle(&validated).children;
    let tefa = children.iter().find(|child| child.uid == "uid-tefa-service").unwrap();
    let share = ServiceSpec::decode(&tefa.spec[..]).unwrap().beneficiaries.remove(0);
    assert_eq!((share.fiscal_code.as_str(), share.account.as_str(), share.share_basis_points), (PROVINCE, "tefa", 500));
    assert_eq!((share.legal_name.as_str(), share.taxonomy_code.as_str()), ("Provincia di Valdarda", "9/0201102IM/"));
}

#[rstest]
#[case(json!({}), AssociationState::Issuing)]
#[case(json!({"state": "AcceptingOnly"}), AssociationState::AcceptingOnly)]
#[case(json!({"issuer": "SoftwareClient"}), AssociationState::AcceptingOnly)]
#[case(json!({"issuer": "External"}), AssociationState::AcceptingOnly)]
fn tenant_issues_only_where_nobody_else_does(#[case] change: serde_json::Value, #[case] state: AssociationState) {
    let mut association =
        json!({"stationRef": {"namespace": "fiorino", "name": "valdarda-01"}, "segregationCode": "12"});
    world::merge(&mut association, &change);
    let mut snapshot = snapshot();
    snapshot.institution = institution(&json!({"associations": [association]}));
    let validated = judge(&snapshot);
    let spec = InstitutionSpec::decode(&bundle(&validated).institution.spec[..]).unwrap();
    assert_eq!(spec.associations[0].state(), state);
}

#[rstest]
#[case::stated(json!({"endpoints": {"backoffice": "http://127.0.0.1:9999/x"}}), "http://127.0.0.1:9999/x", 1)]
#[case::default(json!({}), "https://api.platform.pagopa.it/backoffice/external/ec/v1", 1)]
#[case::no_keys(json!({"subscriptionKeys": null}), "", 0)]
fn the_backoffice_is_the_environments_unless_stated(
    #[case] change: serde_json::Value,
    #[case] url: &str,
    #[case] keys: usize,
) {
    let mut snapshot = snapshot();
    snapshot.brokers.insert("valdarda".to_owned(), found(broker(&change)));
    let validated = judge(&snapshot);
    let resource = bundle(&validated).shared.iter().find(|it| it.kind() == ResourceKind::Broker).unwrap();
    let spec = BrokerSpec::decode(&resource.spec[..]).unwrap();
    assert_eq!((spec.fiscal_code.as_str(), spec.backoffice_url.as_str()), (BROKER, url));
    assert_eq!(spec.sealed_backoffice_keys.len(), keys);
    let clear = b"0123456789abcdef";
    assert!(!resource.spec.windows(clear.len()).any(|window| window == clear), "sealed to {SEAL_KEY}");
}
