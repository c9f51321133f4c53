//! One complete reading of a broker's registry, as it came and as it is kept.

use fiorino_domain::institution::InstitutionCode;
use fiorino_proto::config::v1::{RecordReadbackRequest, RegisteredAssociation, RegisteredIban};
use jiff::Timestamp;
use sqlx::PgConnection;

use crate::error::{Error, Result, Violation};

/// Texts of pagoPA that are kept, bytes: more is no code.
const TEXT_MAX: usize = 100;
const VIOLATIONS_MAX: usize = 50;

/// A reading, parsed.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) broker: InstitutionCode,
    read_at: Timestamp,
    associations: Vec<RegisteredAssociation>,
    ibans: Vec<(RegisteredIban, Timestamp)>,
}

// === impl Reading ===

impl Reading {
    /// Parses a request.
    ///
    /// # Errors
    /// [`Error::Invalid`] with what cannot be read.
    pub(super) fn read(request: RecordReadbackRequest) -> Result<Self> {
        let mut violations = Vec::new();
        let mut refuse = |field: String, message: String| violations.push(Violation::new(field, message));
        let broker = InstitutionCode::parse(&request.broker_fiscal_code)
            .map_err(|error| refuse("broker_fiscal_code".to_owned(), error.to_string()));
        let read_at = request.read_at.parse().map_err(|_| refuse("read_at".to_owned(), "must be RFC 3339".to_owned()));
        for (at, association) in request.associations.iter().enumerate() {
            let RegisteredAssociation {
                institution, station_id, aux_digit, segregation_code, application_code, ..
            } = association;
            let texts = [institution, station_id, aux_digit, segregation_code, application_code];
            if texts.iter().any(|text| text.len() > TEXT_MAX) {
                refuse(format!("associations[{at}]"), format!("has a text of more than {TEXT_MAX} bytes"));
            }
        }
        let mut ibans = Vec::with_capacity(request.ibans.len());
        for (at, iban) in request.ibans.into_iter().enumerate() {
            match iban.validity_date.parse() {
                Ok(from) if iban.iban.len() <= TEXT_MAX && iban.institution.len() <= TEXT_MAX => {
                    ibans.push((iban, from));
                }
                Ok(_) => refuse(format!("ibans[{at}]"), format!("has a text of more than {TEXT_MAX} bytes")),
                Err(_) => refuse(format!("ibans[{at}].validity_date"), "must be RFC 3339".to_owned()),
            }
        }
        violations.truncate(VIOLATIONS_MAX);
        match (broker, read_at) {
            (Ok(broker), Ok(read_at)) if violations.is_empty() => {
                Ok(Self { broker, read_at, associations: request.associations, ibans })
            }
            _ => Err(Error::Invalid(violations)),
        }
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
                 select distinct on (institution, station_id, aux_digit, segregation_code, application_code) *
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
             select $1, * from told
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
                 select distinct on (institution, iban) *
                 from unnest($2::text[], $3::text[], $4::bool[], $5::timestamptz[])
                     as t (institution, iban, enabled, validity_date)
                 order by institution, iban, enabled desc, validity_date),
             gone as (
                 delete from readback_iban r
                 where broker_fiscal_code = $1 and not exists (
                     select from told t where (t.institution, t.iban) = (r.institution, r.iban)))
             insert into readback_iban as held (broker_fiscal_code, institution, iban, enabled, validity_date)
             select $1, * from told
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
