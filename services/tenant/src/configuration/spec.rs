//! Specs as tenant uses them: parsed once, with every violation told.

use bytes::Bytes;
use fiorino_domain::{
    iban::Iban, institution::InstitutionCode, money::Cents, notice::AuxDigit, taxonomy::TaxonomyCode, text::Text,
};
use fiorino_proto::config::v1::{
    AccountNumber, AccountSpec, Association as AssociationSpec, AssociationState, Beneficiary as BeneficiarySpec,
    BrokerSpec, ExpiryPolicy, InstitutionSpec, LifecyclePhase, ResourceKind, ServiceSpec, StationSpec,
};
use jiff::civil::Date;
use prost::Message;

use crate::error::Violation;

/// The spec of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Spec {
    Broker(Broker),
    Station(Station),
    Institution(Institution),
    Account(Account),
    Service(Service),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broker {
    pub(super) fiscal_code: InstitutionCode,
    pub(super) backoffice_url: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Station {
    /// `<broker's fiscal code>_NN`
    pub(super) id: String,
    pub(super) broker: InstitutionCode,
    pub(super) primitive_version: i16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Institution {
    pub(super) fiscal_code: InstitutionCode,
    pub(super) legal_name: Text<140>,
    /// Empty = none.
    pub(super) office_name: String,
    pub(super) phase: LifecyclePhase,
    pub(super) associations: Vec<Association>,
    pub(super) nav_floor: i64,
    /// Lower case, without repetition.
    pub(super) portal_hostnames: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Association {
    pub(super) station_id: String,
    pub(super) aux_digit: AuxDigit,
    /// Two digits, or empty with aux digit 1 and 2.
    pub(super) code: String,
    /// 0-12 digits.
    pub(super) nav_prefix: String,
    pub(super) issuing: bool,
    pub(super) broadcast: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    /// Empty = the institution.
    pub(super) holder: String,
    pub(super) numbers: Vec<Number>,
    /// Another account of the institution, for postal slips.
    pub(super) postal: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Number {
    pub(super) valid_from: Date,
    pub(super) iban: Iban,
    pub(super) postal: bool,
    pub(super) withdrawn: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) code: String,
    pub(super) title: Text<140>,
    pub(super) taxonomy_code: TaxonomyCode,
    pub(super) account: String,
    pub(super) expiry_policy: ExpiryPolicy,
    pub(super) active: bool,
    /// Zero = no limit.
    pub(super) minimum: Cents,
    pub(super) maximum: Cents,
    pub(super) beneficiaries: Vec<Beneficiary>,
    pub(super) profile_revision: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Beneficiary {
    pub(super) fiscal_code: InstitutionCode,
    pub(super) legal_name: Text<140>,
    /// 1 = 0.01 %.
    pub(super) share_basis_points: u32,
    /// Name of an account of the beneficiary.
    pub(super) account: String,
    pub(super) taxonomy_code: TaxonomyCode,
}

/// Reads fields below a path and keeps what is wrong with them.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    path: String,
    violations: &'a mut Vec<Violation>,
}

// === impl Spec ===

impl Spec {
    /// Decodes and parses; `None` = the reader holds the violations.
    pub(super) fn read(kind: ResourceKind, bytes: &Bytes, reader: &mut Reader<'_>) -> Option<Self> {
        match kind {
            ResourceKind::Broker => broker(reader.decode(bytes)?, reader).map(Self::Broker),
            ResourceKind::Station => station(reader.decode(bytes)?, reader).map(Self::Station),
            ResourceKind::Institution => institution(reader.decode(bytes)?, reader).map(Self::Institution),
            ResourceKind::Account => account(reader.decode(bytes)?, reader).map(Self::Account),
            ResourceKind::Service => service(reader.decode(bytes)?, reader).map(Self::Service),
            ResourceKind::Unspecified => None,
        }
    }

    /// What the resource is, whatever its object is called; unique among the live ones of its kind and owner.
    pub(super) fn identity(&self) -> &str {
        match self {
            Self::Broker(broker) => broker.fiscal_code.as_str(),
            Self::Station(station) => &station.id,
            Self::Institution(institution) => institution.fiscal_code.as_str(),
            Self::Account(account) => &account.name,
            Self::Service(service) => &service.code,
        }
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(super) fn new(path: impl Into<String>, violations: &'a mut Vec<Violation>) -> Self {
        Self { path: path.into(), violations }
    }

    /// A reader of what lies below `field`.
    pub(super) fn below(&mut self, field: &str) -> Reader<'_> {
        Reader { path: format!("{}.{field}", self.path), violations: self.violations }
    }

    /// The value, or a violation of `field`.
    pub(super) fn field<T, E: ToString>(&mut self, field: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|error| self.refuse(field, error.to_string())).ok()
    }

    /// A rule of `field`.
    pub(super) fn require(&mut self, field: &str, holds: bool, rule: &str) -> Option<()> {
        self.field(field, holds.then_some(()).ok_or(rule))
    }

    fn refuse(&mut self, field: &str, message: String) {
        self.violations.push(Violation::new(format!("{}.{field}", self.path), message));
    }

    fn decode<T: Message + Default>(&mut self, bytes: &Bytes) -> Option<T> {
        match T::decode(bytes.clone()) {
            Ok(spec) => Some(spec),
            Err(error) => {
                self.violations.push(Violation::new(self.path.clone(), format!("cannot be decoded: {error}")));
                None
            }
        }
    }

    /// Every item of a list, or `None` when one cannot be read or there are too many.
    fn list<S, T>(
        &mut self,
        field: &str,
        items: &[S],
        max: usize,
        read: impl Fn(&S, &mut Reader<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.require(field, items.len() <= max, &format!("has {} entries, at most {max} are allowed", items.len()))?;
        let count = items.len();
        let items = items.iter().enumerate();
        let read: Vec<T> =
            items.filter_map(|(at, item)| read(item, &mut self.below(&format!("{field}[{at}]")))).collect();
        (read.len() == count).then_some(read)
    }
}

/// A name as Kubernetes and the catalogue allow it: 1 to 100 printable characters without spaces.
pub(super) fn is_name(text: &str) -> bool {
    (1..=100).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

const NAME: &str = "must be 1 to 100 ASCII characters without spaces";

fn broker(spec: BrokerSpec, reader: &mut Reader<'_>) -> Option<Broker> {
    let fiscal_code = reader.field("fiscal_code", InstitutionCode::parse(&spec.fiscal_code));
    let url = &spec.backoffice_url;
    let url_ok = url.is_empty() || (url.starts_with("https://") || url.starts_with("http://")) && !url.ends_with('/');
    let url_ok = reader.require("backoffice_url", url_ok, "must be an http(s) URL without trailing slash, or empty");
    let keys = &spec.sealed_backoffice_keys;
    let keys_ok = keys.len() <= 4 && keys.iter().all(|key| key.len() <= 1024);
    let keys_ok = reader.require("sealed_backoffice_keys", keys_ok, "at most 4 keys of 1024 bytes are allowed");
    let (fiscal_code, (), ()) = (fiscal_code?, url_ok?, keys_ok?);
    Some(Broker { fiscal_code, backoffice_url: spec.backoffice_url })
}

fn station(spec: StationSpec, reader: &mut Reader<'_>) -> Option<Station> {
    let broker = reader.field("broker_fiscal_code", InstitutionCode::parse(&spec.broker_fiscal_code));
    let id_ok = spec
        .station_id
        .strip_prefix(&spec.broker_fiscal_code)
        .and_then(|rest| rest.strip_prefix('_'))
        .is_some_and(|number| number.len() == 2 && digits(number));
    let id_ok = reader.require("station_id", id_ok, "must be the broker's fiscal code, _ and two digits");
    let version = match spec.primitive_version {
        1 => Ok(1),
        2 => Ok(2),
        _ => Err("must be 1 or 2"),
    };
    let version = reader.field("primitive_version", version);
    let (broker, (), primitive_version) = (broker?, id_ok?, version?);
    Some(Station { id: spec.station_id, broker, primitive_version })
}

fn institution(spec: InstitutionSpec, reader: &mut Reader<'_>) -> Option<Institution> {
    let fiscal_code = reader.field("fiscal_code", InstitutionCode::parse(&spec.fiscal_code));
    let legal_name = reader.field("legal_name", Text::parse(&spec.legal_name));
    let office_name = optional(spec.office_name, "office_name", reader);
    let phase = reader.field("phase", known(spec.phase));
    let floor_ok = reader.require("nav_floor", spec.nav_floor >= 0, "must not be negative");
    let associations = reader.list("associations", &spec.associations, 50, association);
    let portal_hostnames = hostnames(spec.portal_hostnames, reader);
    let (fiscal_code, legal_name, phase) = (fiscal_code?, legal_name?, phase?);
    let (office_name, associations, portal_hostnames, ()) = (office_name?, associations?, portal_hostnames?, floor_ok?);
    let nav_floor = spec.nav_floor;
    Some(Institution { fiscal_code, legal_name, office_name, phase, associations, nav_floor, portal_hostnames })
}

/// Sorted, without repetition.
fn hostnames(mut told: Vec<String>, reader: &mut Reader<'_>) -> Option<Vec<String>> {
    let count = told.len();
    reader.require("portal_hostnames", count <= 16, &format!("has {count} entries, at most 16 are allowed"))?;
    for (at, name) in told.iter().enumerate() {
        let rule = "must be a host name in lower case with at least one dot, without port";
        reader.require(&format!("portal_hostnames[{at}]"), is_hostname(name), rule)?;
    }
    told.sort_unstable();
    told.dedup();
    Some(told)
}

/// As the definition of the resource allows it; whoever asks for a page may write it in any case.
fn is_hostname(text: &str) -> bool {
    let label = |label: &str| {
        let inside = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(inside)
    };
    text.len() <= 253 && text.contains('.') && text.split('.').all(label)
}

fn association(spec: &AssociationSpec, reader: &mut Reader<'_>) -> Option<Association> {
    let station_ok = reader.require("station_id", is_name(&spec.station_id), NAME);
    let aux_digit = reader.field("aux_digit", AuxDigit::from_number(spec.aux_digit));
    let state = reader.field("state", known::<AssociationState>(spec.state));
    let length = match aux_digit {
        Some(AuxDigit::One | AuxDigit::Two) => 0,
        Some(AuxDigit::Zero | AuxDigit::Three) | None => 2,
    };
    let code_ok = spec.code.len() == length && digits(&spec.code);
    let code_ok = reader.require("code", code_ok, "must be two digits with aux digit 0 and 3, else empty");
    let prefix_ok = spec.nav_prefix.len() <= 12 && digits(&spec.nav_prefix);
    let prefix_ok = reader.require("nav_prefix", prefix_ok, "must be at most 12 digits");
    let (aux_digit, state, (), (), ()) = (aux_digit?, state?, station_ok?, code_ok?, prefix_ok?);
    Some(Association {
        station_id: spec.station_id.clone(),
        aux_digit,
        code: spec.code.clone(),
        nav_prefix: spec.nav_prefix.clone(),
        issuing: state == AssociationState::Issuing,
        broadcast: spec.broadcast,
    })
}

fn account(spec: AccountSpec, reader: &mut Reader<'_>) -> Option<Account> {
    let name_ok = reader.require("name", is_name(&spec.name), NAME);
    let holder = optional(spec.holder, "holder", reader);
    let numbers = reader.list("numbers", &spec.numbers, 50, number)?;
    let mut days: Vec<Date> = numbers.iter().map(|number| number.valid_from).collect();
    days.sort_unstable();
    days.dedup();
    let days_ok = !numbers.is_empty() && days.len() == numbers.len();
    reader.require("numbers", days_ok, "must have at least one entry, each with another valid_from")?;
    let postal = Some(spec.postal_account).filter(|name| !name.is_empty());
    let postal_ok = postal.as_ref().is_none_or(|name| is_name(name) && *name != spec.name);
    let postal_ok = reader.require("postal_account", postal_ok, "must be the name of another account, or empty");
    let ((), holder, ()) = (name_ok?, holder?, postal_ok?);
    Some(Account { name: spec.name, holder, numbers, postal })
}

fn number(spec: &AccountNumber, reader: &mut Reader<'_>) -> Option<Number> {
    let valid_from = reader.field("valid_from", fiorino_domain::date::LegalDate::parse(&spec.valid_from));
    let iban = reader.field("iban", Iban::parse(&spec.iban));
    let (valid_from, iban) = (valid_from?.date(), iban?);
    Some(Number { valid_from, iban, postal: spec.postal, withdrawn: spec.withdrawn })
}

fn service(spec: ServiceSpec, reader: &mut Reader<'_>) -> Option<Service> {
    let code_ok = reader.require("code", is_name(&spec.code), NAME);
    let title = reader.field("title_it", Text::parse(&spec.title_it));
    let taxonomy_code = reader.field("taxonomy_code", TaxonomyCode::parse(&spec.taxonomy_code));
    let account_ok = reader.require("account", is_name(&spec.account), NAME);
    let policy = reader.field("expiry_policy", known(spec.expiry_policy));
    let minimum = reader.field("minimum_cents", Cents::new(spec.minimum_cents));
    let maximum = reader.field("maximum_cents", Cents::new(spec.maximum_cents));
    let profile_ok = spec.profile_revision.is_empty() || is_name(&spec.profile_revision);
    let profile_ok = reader.require("profile_revision", profile_ok, NAME);
    let beneficiaries = reader.list("beneficiaries", &spec.beneficiaries, 5, beneficiary);
    let ((), (), ()) = (code_ok?, account_ok?, profile_ok?);
    Some(Service {
        code: spec.code,
        title: title?,
        taxonomy_code: taxonomy_code?,
        account: spec.account,
        expiry_policy: policy?,
        active: spec.active,
        minimum: minimum?,
        maximum: maximum?,
        beneficiaries: beneficiaries?,
        profile_revision: spec.profile_revision,
    })
}

fn beneficiary(spec: &BeneficiarySpec, reader: &mut Reader<'_>) -> Option<Beneficiary> {
    let fiscal_code = reader.field("fiscal_code", InstitutionCode::parse(&spec.fiscal_code));
    let legal_name = reader.field("legal_name", Text::parse(&spec.legal_name));
    let share_ok = (1..=10_000).contains(&spec.share_basis_points);
    let share_ok = reader.require("share_basis_points", share_ok, "must be between 1 and 10000 (100 %)");
    let account_ok = reader.require("account", is_name(&spec.account), NAME);
    let taxonomy_code = reader.field("taxonomy_code", TaxonomyCode::parse(&spec.taxonomy_code));
    let ((), ()) = (share_ok?, account_ok?);
    Some(Beneficiary {
        fiscal_code: fiscal_code?,
        legal_name: legal_name?,
        share_basis_points: spec.share_basis_points,
        account: spec.account.clone(),
        taxonomy_code: taxonomy_code?,
    })
}

/// A value of an enum that this version knows.
fn known<T: TryFrom<i32>>(value: i32) -> Result<T, &'static str> {
    let known = T::try_from(value).ok().filter(|_| value != 0);
    known.ok_or("is unspecified, or a value that this version of tenant does not know")
}

/// At most 140 characters that a message can carry, or none.
fn optional(text: String, field: &str, reader: &mut Reader<'_>) -> Option<String> {
    (text.is_empty() || reader.field(field, Text::<140>::parse(&text)).is_some()).then_some(text)
}
