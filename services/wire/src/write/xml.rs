//! The only way to write a value: one function per simple type, each checking its facets.

use std::fmt::Write;

use fiorino_domain::{date::LegalDate, institution::InstitutionCode, money::Cents, secret::Masked};
use quick_xml::escape::partial_escape;

use super::Result;
use crate::{
    answer::MapEntry,
    lexical,
    operation::{NAMESPACE, Operation},
    rule::{Rule, Violation},
};

const OPEN: &str = concat!(
    r#"<?xml version="1.0" encoding="UTF-8"?>"#,
    r#"<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Header/><soapenv:Body>"#,
);
const CLOSE: &str = "</soapenv:Body></soapenv:Envelope>";

/// What pagopa.md 10, row 7, asks of us; the XSD allows 15.
const METADATA_MAX: u8 = 10;

/// A response that is being written.
pub(super) struct Xml {
    text: String,
    /// Elements that are open below the response's, with their place among their like.
    open: Vec<(&'static str, Option<usize>)>,
}

// === impl Xml ===

impl Xml {
    /// An envelope whose body is still to come.
    pub(super) fn envelope() -> Self {
        let mut text = String::with_capacity(4096);
        text.push_str(OPEN);
        Self { text, open: Vec::new() }
    }

    /// Closes what [`Self::envelope`] opened.
    pub(super) fn close_envelope(mut self) -> String {
        self.text.push_str(CLOSE);
        self.text
    }

    /// A response up to its outcome.
    pub(super) fn response(operation: Operation, outcome: &str) -> Self {
        let mut xml = Self::envelope();
        xml.markup(format_args!(r#"<paf:{} xmlns:paf="{NAMESPACE}">"#, operation.response_element()));
        xml.plain("outcome", outcome);
        xml
    }

    /// The whole message.
    pub(super) fn end(mut self, operation: Operation) -> String {
        self.markup(format_args!("</paf:{}>", operation.response_element()));
        self.close_envelope()
    }

    /// Text that is XML already.
    pub(super) fn markup(&mut self, markup: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.text.write_fmt(markup);
    }

    /// An element with what `children` write.
    pub(super) fn element(&mut self, name: &'static str, children: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.nested(name, None, children)
    }

    /// One of several elements of the same name, from 1.
    pub(super) fn nested(
        &mut self,
        name: &'static str,
        place: Option<usize>,
        children: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        self.markup(format_args!("<{name}>"));
        self.open.push((name, place));
        children(self)?;
        self.open.pop();
        self.markup(format_args!("</{name}>"));
        Ok(())
    }

    /// A refusal of a field of the element at hand.
    pub(super) fn refuse(&self, field: &str, rule: Rule) -> Violation {
        let mut path = String::new();
        for (name, place) in &self.open {
            path.push_str(name);
            if let Some(place) = place {
                let _ = write!(path, "[{place}]");
            }
            path.push('.');
        }
        path.push_str(field);
        Violation { field: path, rule }
    }

    /// A value that keeps its type's facets by construction.
    pub(super) fn plain(&mut self, name: &str, value: &str) {
        let value = partial_escape(value);
        // A line end would be normalised by the reader if it stood there as such.
        let value = if value.contains('\r') { value.replace('\r', "&#13;").into() } else { value };
        self.markup(format_args!("<{name}>{value}</{name}>"));
    }

    /// `stText16` to `stText140`: mandatory.
    pub(super) fn text(&mut self, name: &str, max: u16, value: &str) -> Result<()> {
        self.bounded(name, 1, max, value)
    }

    /// A mandatory text of `min..=max` characters.
    pub(super) fn bounded(&mut self, name: &str, min: u16, max: u16, value: &str) -> Result<()> {
        let value = lexical::clean(value);
        if value.is_empty() {
            return Err(self.refuse(name, Rule::Missing));
        }
        lexical::length(&value, min, max).map_err(|rule| self.refuse(name, rule))?;
        // What was stored when characters were counted may have a unit too many: shorter by a letter it can be paid.
        self.plain(name, lexical::cut_units(&value, max));
        Ok(())
    }

    /// The same, left out when there is none or it is empty.
    pub(super) fn maybe_text(&mut self, name: &str, max: u16, value: Option<&str>) -> Result<()> {
        match value.map(lexical::clean) {
            Some(value) if !value.is_empty() => self.text(name, max, &value),
            Some(_) | None => Ok(()),
        }
    }

    /// As [`Self::maybe_text`].
    pub(super) fn maybe_masked(&mut self, name: &str, max: u16, value: Option<&Masked<String>>) -> Result<()> {
        self.maybe_text(name, max, value.map(|value| value.expose().as_str()))
    }

    /// A text of a pattern.
    pub(super) fn matching(&mut self, name: &str, check: fn(&str) -> Result<(), Rule>, value: &str) -> Result<()> {
        check(value).map_err(|rule| self.refuse(name, rule))?;
        self.plain(name, value);
        Ok(())
    }

    /// The same, left out when there is none or it is empty.
    pub(super) fn maybe_matching(
        &mut self,
        name: &str,
        check: fn(&str) -> Result<(), Rule>,
        value: Option<&Masked<String>>,
    ) -> Result<()> {
        match value.map(Masked::expose).filter(|value| !value.is_empty()) {
            Some(value) => self.matching(name, check, value),
            None => Ok(()),
        }
    }

    /// `stAmountNotZero`: its maximum is that of [`Cents`].
    pub(super) fn amount(&mut self, name: &str, amount: Cents) -> Result<()> {
        if amount.is_zero() {
            return Err(self.refuse(name, Rule::AmountNotZero));
        }
        self.markup(format_args!("<{name}>{amount}</{name}>"));
        Ok(())
    }

    /// `stISODate`, without zone.
    pub(super) fn date(&mut self, name: &str, date: LegalDate) {
        self.markup(format_args!("<{name}>{date}</{name}>"));
    }

    /// `stFiscalCodePA`.
    pub(super) fn institution(&mut self, name: &str, institution: InstitutionCode) {
        self.plain(name, institution.as_str());
    }

    /// `ctMetadata`, left out when there is none.
    pub(super) fn metadata(&mut self, entries: &[MapEntry]) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        if entries.len() > usize::from(METADATA_MAX) {
            return Err(self.refuse("metadata", Rule::Entries { min: 1, max: METADATA_MAX }));
        }
        self.element("metadata", |xml| {
            for (place, entry) in (1..).zip(entries) {
                xml.nested("mapEntry", Some(place), |xml| {
                    xml.text("key", 140, &entry.key)?;
                    xml.text("value", 140, &entry.value)
                })?;
            }
            Ok(())
        })
    }
}
