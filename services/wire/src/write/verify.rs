//! `paVerifyPaymentNoticeRes` (pagopa.md 2.4): everything but `officeName` is sent, whatever the XSD says.

use super::{Result, xml::Xml};
use crate::answer::VerifiedNotice;

pub(super) fn write(xml: &mut Xml, notice: &VerifiedNotice) -> Result<()> {
    xml.element("paymentList", |xml| {
        xml.element("paymentOptionDescription", |xml| {
            xml.amount("amount", notice.amount)?;
            xml.plain("options", "EQ");
            xml.date("dueDate", notice.due.written());
            xml.text("detailDescription", 140, &notice.description)?;
            xml.plain("allCCP", if notice.all_postal { "true" } else { "false" });
            Ok(())
        })
    })?;
    xml.text("paymentDescription", 140, &notice.description)?;
    xml.institution("fiscalCodePA", notice.institution);
    xml.text("companyName", 140, &notice.company_name)?;
    xml.maybe_text("officeName", 140, notice.office_name.as_deref())
}
