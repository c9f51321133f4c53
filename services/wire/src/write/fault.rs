//! `ctFaultBean` (pagopa.md 2.1, 2.10) and SOAP 1.1 faults.

use super::{Result, xml::Xml};
use crate::{
    fault::{Fault, SoapFault},
    lexical::{clean, cut_units},
    operation::Operation,
    rule::Rule,
};

/// Namespace of the detail of our SOAP faults.
const DETAIL: &str = "https://fiorino.dev/fault/v1";

const DESCRIPTION_MAX: u16 = 1024;

pub(super) fn write(xml: &mut Xml, operation: Operation, fault: &Fault) -> Result<()> {
    xml.element("fault", |xml| {
        if !fault.code.answers(operation) {
            return Err(xml.refuse("faultCode", Rule::FaultOfOperation));
        }
        xml.plain("faultCode", fault.code.as_str());
        xml.plain("faultString", fault.code.fault_string());
        xml.plain("id", or(cut_units(&clean(&fault.id), 35), Fault::ID_UNKNOWN));
        xml.plain("description", or(cut_units(&clean(&fault.description), DESCRIPTION_MAX), fault.code.fault_string()));
        Ok(())
    })
}

pub(super) fn soap(fault: &SoapFault) -> String {
    let mut xml = Xml::envelope();
    xml.markup(format_args!("<soapenv:Fault><faultcode>soapenv:{}</faultcode>", fault.code.as_str()));
    xml.plain("faultstring", cut_units(&clean(&fault.reason), DESCRIPTION_MAX));
    xml.markup(format_args!(r#"<detail xmlns:fio="{DETAIL}">"#));
    xml.plain("fio:rule", cut_units(&clean(&fault.rule), DESCRIPTION_MAX));
    xml.markup(format_args!("</detail></soapenv:Fault>"));
    xml.close_envelope()
}

fn or<'a>(text: &'a str, fallback: &'a str) -> &'a str {
    if text.is_empty() { fallback } else { text }
}
