//! Elements by the rules of XML Schema: sequences and simple values, with what they violate.

use std::{
    borrow::Cow,
    fmt::{Display, Write},
};

use fiorino_domain::money::Cents;

use super::{
    Result,
    canon::Canon,
    source::{Namespace, Source, Token},
};
use crate::{
    lexical::{self, WHITE_SPACE},
    receipt::ReceiptMessage,
    rule::{Rule, Violation},
};

/// One place in an `xsd:sequence`.
pub(super) struct Slot {
    /// The elements that may stand here: an `xsd:choice` has more than one.
    names: &'static [&'static str],
    /// Another spelling of the first.
    alias: Option<&'static str>,
    min: u8,
    max: u8,
    /// Only the second version of the message has it.
    of_v2: bool,
}

/// Exactly one.
pub(super) const fn one(names: &'static [&'static str]) -> Slot {
    many(names, 1, 1)
}

/// At most one.
pub(super) const fn maybe(names: &'static [&'static str]) -> Slot {
    many(names, 0, 1)
}

/// `min..=max` of them.
pub(super) const fn many(names: &'static [&'static str], min: u8, max: u8) -> Slot {
    Slot { names, alias: None, min, max, of_v2: false }
}

/// Reads a message from the start of its request element on, and notes what it violates.
pub(super) struct Cursor<'a> {
    source: Source<'a>,
    path: Vec<Step>,
    violations: Vec<Violation>,
    /// How many of them are elements that the XSD does not know.
    unknown: usize,
    canon: Option<Canon>,
    /// The canonical form covers what both versions of the message have, and nothing else.
    shared: bool,
    /// How many elements are open that only one version has.
    apart: u32,
}

struct Step {
    name: &'static str,
    /// Its place among its like, where there may be several.
    index: Option<u8>,
}

// === impl Slot ===

impl Slot {
    /// The same, with another spelling of the first name.
    pub(super) const fn or(self, alias: &'static str) -> Self {
        Self { alias: Some(alias), ..self }
    }

    /// The same, in the second version of the message alone.
    pub(super) const fn of_v2(self) -> Self {
        Self { of_v2: true, ..self }
    }

    fn name(&self, found: &str) -> Option<&'static str> {
        if self.alias == Some(found) {
            return self.names.first().copied();
        }
        self.names.iter().find(|name| **name == found).copied()
    }
}

// === impl Cursor ===

impl<'a> Cursor<'a> {
    pub(super) fn new(source: Source<'a>) -> Self {
        Self { source, path: Vec::new(), violations: Vec::new(), unknown: 0, canon: None, shared: false, apart: 0 }
    }

    /// The same, with a canonical form of what both versions of the message have.
    pub(super) fn shared(source: Source<'a>) -> Self {
        Self { shared: true, ..Self::new(source) }
    }

    pub(super) fn token(&mut self) -> Result<Token<'a>> {
        self.source.next()
    }

    pub(super) fn skip(&mut self) -> Result<()> {
        self.source.skip()
    }

    /// What was violated so far, in the order of the message.
    pub(super) fn take_violations(&mut self) -> Vec<Violation> {
        self.unknown = 0;
        std::mem::take(&mut self.violations)
    }

    /// Notes that the element at hand breaks a rule.
    pub(super) fn violate(&mut self, rule: Rule) {
        self.violate_child(&[], rule);
    }

    /// `child`: of the element at hand, by each of the names that it may have. Once the list is full this costs nothing; what is unknown has
    /// a room of its own, so that it hides nothing that is wrong.
    fn violate_child(&mut self, child: &[&str], rule: Rule) {
        let unknown = rule == Rule::Unknown;
        let kept = if unknown { self.unknown } else { self.violations.len() - self.unknown };
        if kept < ReceiptMessage::FINDINGS_MAX {
            let field = self.field(child);
            self.violations.push(Violation { field, rule });
            self.unknown += usize::from(unknown);
        }
    }

    fn field(&self, child: &[&str]) -> String {
        let mut field = String::new();
        for step in &self.path {
            if !field.is_empty() {
                field.push('.');
            }
            field.push_str(step.name);
            if let Some(index) = step.index {
                // Writing to a string cannot fail.
                let _ = write!(field, "[{index}]");
            }
        }
        for (at, name) in child.iter().enumerate() {
            if !field.is_empty() {
                field.push(if at == 0 { '.' } else { '|' });
            }
            field.push_str(lexical::cut(name, 64));
        }
        if field.is_empty() { "Body".to_owned() } else { field }
    }

    /// Reads the content of the element at hand as an `xsd:sequence` of `slots`; `child` reads the content of each known child.
    pub(super) fn sequence(
        &mut self,
        slots: &'static [Slot],
        mut child: impl FnMut(&mut Self, &'static str) -> Result<()>,
    ) -> Result<()> {
        let mut counts = vec![0_u8; slots.len()];
        let mut reached = 0;
        loop {
            match self.source.next()? {
                Token::Text(text) => self.stray_text(&text),
                Token::End | Token::Eof => break,
                Token::Start(namespace, start) => {
                    let found = start.local_name();
                    let known =
                        slots.iter().enumerate().find_map(|(at, slot)| Some((at, slot, slot.name(found.as_ref())?)));
                    let Some((at, slot, name)) = known else {
                        self.violate_child(&[found.as_ref()], Rule::Unknown);
                        self.unknown(found.as_ref())?;
                        continue;
                    };
                    let count = counts.get_mut(at).map_or(1, |count| {
                        *count = count.saturating_add(1);
                        *count
                    });
                    self.path.push(Step { name, index: (slot.max > 1).then_some(count) });
                    if namespace != Namespace::None {
                        self.violate(Rule::Namespace);
                    }
                    if at < reached {
                        self.violate(Rule::OutOfOrder);
                    }
                    if count > slot.max {
                        self.violate(Rule::Repeated { max: slot.max });
                    }
                    reached = reached.max(at);
                    let apart = u32::from(slot.of_v2);
                    self.apart += apart;
                    child(self, name)?;
                    self.apart -= apart;
                    self.path.pop();
                }
            }
        }
        for (slot, _) in slots.iter().zip(&counts).filter(|(slot, count)| **count < slot.min) {
            self.violate_child(slot.names, Rule::Missing);
        }
        Ok(())
    }

    /// As [`Self::sequence`], and the element counts in the canonical form.
    pub(super) fn node(
        &mut self,
        slots: &'static [Slot],
        child: impl FnMut(&mut Self, &'static str) -> Result<()>,
    ) -> Result<()> {
        self.enter();
        self.sequence(slots, child)?;
        self.leave();
        Ok(())
    }

    /// The element at hand is a simple value that `parse` reads; `None`, and a violation, when it cannot.
    pub(super) fn value<T: Display>(&mut self, parse: impl FnOnce(&str) -> Result<T, Rule>) -> Result<Option<T>> {
        let text = self.raw()?;
        match parse(&text) {
            Ok(value) => {
                self.record(&value);
                Ok(Some(value))
            }
            Err(rule) => {
                self.violate(rule);
                self.record(&text);
                Ok(None)
            }
        }
    }

    /// As [`Self::value`], of an amount: one that breaks `parse` is read all the same where its value is beyond doubt. The canonical form has
    /// it as it stands, as it always had.
    pub(super) fn amount(&mut self, parse: fn(&str) -> Result<Cents, Rule>) -> Result<Option<Cents>> {
        let text = self.raw()?;
        match parse(&text) {
            Ok(amount) => {
                self.record(&amount);
                Ok(Some(amount))
            }
            Err(rule) => {
                let amount = lexical::decimal(&text);
                self.violate(if rule == Rule::Amount && amount.is_some() { Rule::AmountForm } else { rule });
                self.record(&text);
                Ok(amount)
            }
        }
    }

    /// The element at hand is a text of `min..=max` characters: none when too short, cut when too long, and a violation.
    pub(super) fn text(&mut self, min: u16, max: u16) -> Result<Option<String>> {
        let text = self.raw()?;
        self.record(&text);
        match lexical::length(&text, min, max) {
            Ok(()) => Ok(Some(text.into_owned())),
            Err(rule) => {
                self.violate(rule);
                let long = text.chars().nth(usize::from(max)).is_some();
                Ok(long.then(|| lexical::cut(&text, max).to_owned()))
            }
        }
    }

    /// The text of the element at hand, as it stands.
    pub(super) fn raw(&mut self) -> Result<Cow<'a, str>> {
        let mut whole = Cow::Borrowed("");
        loop {
            match self.source.next()? {
                Token::Text(text) if whole.is_empty() => whole = text,
                Token::Text(text) => whole.to_mut().push_str(&text),
                Token::End | Token::Eof => return Ok(whole),
                Token::Start(_, start) => {
                    self.violate(Rule::StrayElement);
                    self.unknown(start.local_name().as_ref())?;
                }
            }
        }
    }

    /// Begins the canonical form: from here on every element counts.
    pub(super) fn begin_canon(&mut self) {
        self.canon.get_or_insert_default();
        self.enter();
    }

    /// Ends what [`Self::begin_canon`] began.
    pub(super) fn end_canon(&mut self) -> Option<[u8; 32]> {
        let name = self.name();
        self.canon.take().map(|mut canon| canon.leave(name))
    }

    /// The value of the element at hand, in canonical form.
    pub(super) fn record(&mut self, value: &impl Display) {
        let name = self.name();
        if let Some(canon) = self.canon() {
            canon.value(name, &value.to_string());
        }
    }

    fn enter(&mut self) {
        if let Some(canon) = self.canon() {
            canon.enter();
        }
    }

    fn leave(&mut self) {
        let name = self.name();
        if let Some(canon) = self.canon() {
            canon.leave(name);
        }
    }

    /// The canonical form, if the element at hand counts in it.
    fn canon(&mut self) -> Option<&mut Canon> {
        self.canon.as_mut().filter(|_| !self.shared || self.apart == 0)
    }

    fn name(&self) -> &'static str {
        self.path.last().map_or("", |step| step.name)
    }

    fn stray_text(&mut self, text: &str) {
        if !text.trim_matches(WHITE_SPACE).is_empty() {
            self.violate(Rule::StrayText);
            if let Some(canon) = self.canon() {
                canon.value("", text);
            }
        }
    }

    /// An element that the XSD does not know is passed over, but counts in the canonical form, unless that is of both versions. Depth is
    /// bounded by the source.
    fn unknown(&mut self, name: &str) -> Result<()> {
        self.apart += 1;
        self.enter();
        loop {
            match self.source.next()? {
                Token::Text(text) if text.trim_matches(WHITE_SPACE).is_empty() => {}
                Token::Text(text) => {
                    if let Some(canon) = self.canon() {
                        canon.value("", &text);
                    }
                }
                Token::Start(_, start) => self.unknown(start.local_name().as_ref())?,
                Token::End | Token::Eof => break,
            }
        }
        if let Some(canon) = self.canon() {
            canon.leave(name);
        }
        self.apart -= 1;
        Ok(())
    }
}
