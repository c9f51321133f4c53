//! One complete reading of a broker's registry, as it came and as it is kept.

use fiorino_domain::institution::InstitutionCode;
use fiorino_proto::config::v1::{RecordReadbackRequest, RegisteredAssociation, RegisteredIban};
use jiff::Timestamp;
use sqlx::PgConnection;

use crate::error::{Error, Result, Violation};

/// Texts of pagoPA that are kept, bytes: more is no code.
const TEXT_MAX: usize = 100;

/// A reading, parsed.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) broker: InstitutionCode,
    read_at: Timestamp,
    associations: Vec<RegisteredAssociation>,
    ibans: Vec<(RegisteredIban, Timestamp)>,
}

/// Lines that are kept, and the places and broken rules of the others.
fn sorted<Line, Kept>(
    lines: Vec<Line>,
    keep: impl Fn(Line) -> std::result::Result<Kept, &'static str>,
) -> (Vec<Kept>, Vec<(usize, &'static str)>) {
    let (mut kept, mut refused) = (Vec::with_capacity(lines.len()), Vec::new());
    for (at, line) in lines.into_iter().enumerate() {
        match keep(line) {
            Ok(line) => kept.push(line),
            Err(rule) => refused.push((at, rule)),
        }
    }
    (kept, refused)
}

fn association(line: RegisteredAssociation) -> std::result::Result<RegisteredAssociation, &'static str> {
    let RegisteredAssociation { institution, station_id, aux_digit, segregation_code, application_code, .. } = &line;
    short(&[institution, station_id, aux_digit, segregation_code, application_code])?;
    Ok(line)
}

fn iban(line: RegisteredIban) -> std::result::Result<(RegisteredIban, Timestamp), &'static str> {
    short(&[&line.institution, &line.iban])?;
    let from = line.validity_date.parse().map_err(|_| "validity_date must be RFC 3339")?;
    Ok((line, from))
}

fn short(texts: &[&String]) -> std::result::Result<(), &'static str> {
    if texts.iter().any(|text| text.len() > TEXT_MAX) {
        return Err("a text has more than 100 bytes");
    }
    // PostgreSQL refuses it, and with it the whole reading.
    if texts.iter().any(|text| text.contains('\0')) { Err("a text contains U+0000") } else { Ok(()) }
}

// === impl Reading ===

impl Reading {
    /// Parses a request. A line that cannot be kept is left out and told in the log: it is pagoPA's, and must not hide the others.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it cannot be told whose reading it is, or of when.
    pub(super) fn read(request: RecordReadbackRequest) -> Result<Self> {
        let RecordReadbackRequest { broker_fiscal_code, read_at, associations, ibans } = request;
        let broker = InstitutionCode::parse(&broker_fiscal_code)
            .map_err(|error| Violation::new("broker_fiscal_code", error.to_string()));
        let read_at = read_at.parse().map_err(|_| Violation::new("read_at", "must be RFC 3339"));
        let (broker, read_at) = match (broker, read_at) {
            (Ok(broker), Ok(read_at)) => (broker, read_at),
            (broker, read_at) => return Err(Error::Invalid(broker.err().into_iter().chain(read_at.err()).collect())),
        };
        let (associations, refused_associations) = sorted(associations, association);
        let (ibans, refused_ibans) = sorted(ibans, iban);
        for (listing, refused) in [("associations", refused_associations), ("ibans", refused_ibans)] {
            if let Some((line, rule)) = refused.first() {
                tracing::error!(
                    broker = broker.as_str(),
                    listing,
                    lines = refused.len(),
                    first = line,
                    rule,
                    "lines of pagopa's registry cannot be kept and are left out: ask pagoPA to correct them"
                );
            }
        }
        Ok(Self { broker, read_at, associations, ibans })
    }

    /// Replaces what is known of the broker; false = a later reading is known, nothing was written.
    pub(super) async fn store(&self, conn: &mut PgConnection) -> sqlx::Result<bool> {
        let latest = sqlx::query(
            "insert into readback as held (broker_fiscal_code, read_at) values ($1, $2)
             on conflict (broker_fiscal_code) do update set read_at = excluded.read_at, recorded_at = now()
             where held.read_at <= excluded.read_at",
        )
        .bind(self.broker.as_str())
        .bind(jiff_sqlx::Timestamp::from(self.read_at))
        .execute(&mut *conn)
        .await?;
        if latest.rows_affected() == 0 {
            return Ok(false);
        }
        self.store_associations(conn).await?;
        self.store_ibans(conn).await?;
        Ok(true)
    }

    /// Rows that are as they were are not written: readings repeat.
    async fn store_associations(&self, conn: &mut PgConnection) -> sqlx::Result<()> {
        let text =
            |column: fn(&RegisteredAssociation) -> &String| self.associations.iter().map(column).collect::<Vec<_>>();
        let flag =
            |column: fn(&RegisteredAssociation) -> bool| self.associations.iter().map(column).collect::<Vec<_>>();
        let version = |one: &RegisteredAssociation| i16::try_from(one.primitive_version).unwrap_or(i16::MAX);
        sqlx::query(
            "with told as (
                 select distinct on (institution, station_id, aux_digit, segregation_code, application_code)
                     institution, station_id, aux_digit, segregation_code, application_code, broadcast, enabled, primitive_version
                 from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bool[], $8::bool[], $9::int2[])
                     as t (institution, station_id, aux_digit, segregation_code, application_code, broadcast, enabled,
                           primitive_version)
                 order by institution, station_id, aux_digit, segregation_code, application_code, enabled desc),
             gone as (
                 delete from readback_association r
                 where broker_fiscal_code = $1 and not exists (
                     select from told t
                     where (t.institution, t.station_id, t.aux_digit, t.segregation_code, t.application_code)
                         = (r.institution, r.station_id, r.aux_digit, r.segregation_code, r.application_code)))
             insert into readback_association as held (broker_fiscal_code, institution, station_id, aux_digit,
                 segregation_code, application_code, broadcast, enabled, primitive_version)
             select $1, institution, station_id, aux_digit, segregation_code, application_code, broadcast, enabled,
                 primitive_version
             from told
             on conflict (institution, broker_fiscal_code, station_id, aux_digit, segregation_code, application_code)
             do update set broadcast = excluded.broadcast, enabled = excluded.enabled,
                 primitive_version = excluded.primitive_version
             where (held.broadcast, held.enabled, held.primitive_version)
                 is distinct from (excluded.broadcast, excluded.enabled, excluded.primitive_version)",
        )
        .bind(self.broker.as_str())
        .bind(text(|one| &one.institution))
        .bind(text(|one| &one.station_id))
        .bind(text(|one| &one.aux_digit))
        .bind(text(|one| &one.segregation_code))
        .bind(text(|one| &one.application_code))
        .bind(flag(|one| one.broadcast))
        .bind(flag(|one| one.enabled))
        .bind(self.associations.iter().map(version).collect::<Vec<_>>())
        .execute(conn)
        .await?;
        Ok(())
    }

    async fn store_ibans(&self, conn: &mut PgConnection) -> sqlx::Result<()> {
        let from: Vec<_> = self.ibans.iter().map(|(_, from)| jiff_sqlx::Timestamp::from(*from)).collect();
        sqlx::query(
            "with told as (
                 select distinct on (institution, iban) institution, iban, enabled, validity_date
                 from unnest($2::text[], $3::text[], $4::bool[], $5::timestamptz[])
                     as t (institution, iban, enabled, validity_date)
                 order by institution, iban, enabled desc, validity_date),
             gone as (
                 delete from readback_iban r
                 where broker_fiscal_code = $1 and not exists (
                     select from told t where (t.institution, t.iban) = (r.institution, r.iban)))
             insert into readback_iban as held (broker_fiscal_code, institution, iban, enabled, validity_date)
             select $1, institution, iban, enabled, validity_date from told
             on conflict (institution, broker_fiscal_code, iban)
             do update set enabled = excluded.enabled, validity_date = excluded.validity_date
             where (held.enabled, held.validity_date) is distinct from (excluded.enabled, excluded.validity_date)",
        )
        .bind(self.broker.as_str())
        .bind(self.ibans.iter().map(|(iban, _)| &iban.institution).collect::<Vec<_>>())
        .bind(self.ibans.iter().map(|(iban, _)| &iban.iban).collect::<Vec<_>>())
        .bind(self.ibans.iter().map(|(iban, _)| iban.enabled).collect::<Vec<_>>())
        .bind(from)
        .execute(conn)
        .await?;
        Ok(())
    }
}
