//! Well-formed XML as a row of tokens: start, end, text. Everything that carries no meaning is gone, everything dangerous refused.

use std::borrow::Cow;

use quick_xml::{
    Error as XmlError, XmlVersion,
    errors::SyntaxError,
    events::{BytesRef, BytesStart, Event},
    name::ResolveResult,
    reader::NsReader,
};

use super::{ReadError, Result, XmlRule};
use crate::{
    lexical::{WHITE_SPACE, is_xml_char},
    operation::NAMESPACE,
};

const SOAP_1_1: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const SOAP_1_2: &str = "http://www.w3.org/2003/05/soap-envelope";

/// The next thing of the document.
pub(super) enum Token<'a> {
    /// An element begins; empty elements are a start and an end.
    Start(Namespace, BytesStart<'a>),
    /// The innermost element ends.
    End,
    /// A part of its text, with references resolved and line ends as XML normalises them.
    Text(Cow<'a, str>),
    /// After the root element.
    Eof,
}

/// The namespaces that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Namespace {
    None,
    Soap11,
    Soap12,
    PaForNode,
    Other,
}

pub(super) struct Source<'a> {
    reader: NsReader<&'a [u8]>,
    depth: usize,
    depth_max: usize,
    rooted: bool,
}

// === impl Source ===

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str, depth_max: usize) -> Self {
        let mut reader = NsReader::from_str(text);
        let config = reader.config_mut();
        config.expand_empty_elements = true;
        config.check_comments = true;
        Self { reader, depth: 0, depth_max, rooted: false }
    }

    /// The next token.
    pub(super) fn next(&mut self) -> Result<Token<'a>> {
        loop {
            let event = match self.reader.read_event() {
                Ok(event) => event,
                Err(error) => return Err(self.refuse(rule_of(&error))),
            };
            match event {
                Event::Start(start) | Event::Empty(start) => return self.start(start),
                Event::End(_) => {
                    self.depth = self.depth.saturating_sub(1);
                    return Ok(Token::End);
                }
                Event::Text(text) => {
                    let text = text.xml10_content();
                    if self.depth > 0 {
                        return Ok(Token::Text(text));
                    }
                    if !text.trim_matches(WHITE_SPACE).is_empty() {
                        return Err(self.refuse(XmlRule::Syntax));
                    }
                }
                Event::CData(text) if self.depth > 0 => return Ok(Token::Text(text.xml10_content())),
                Event::GeneralRef(reference) if self.depth > 0 => return self.resolve(&reference).map(Token::Text),
                Event::CData(_) | Event::GeneralRef(_) => return Err(self.refuse(XmlRule::Syntax)),
                Event::DocType(_) => return Err(self.refuse(XmlRule::Doctype)),
                Event::Decl(_) if self.rooted => return Err(self.refuse(XmlRule::Syntax)),
                Event::Comment(_) | Event::PI(_) | Event::Decl(_) => {}
                Event::Eof if self.depth == 0 && self.rooted => return Ok(Token::Eof),
                Event::Eof => return Err(self.refuse(XmlRule::Truncated)),
            }
        }
    }

    /// Reads on until the innermost element has ended.
    pub(super) fn skip(&mut self) -> Result<()> {
        let outside = self.depth.saturating_sub(1);
        while self.depth > outside {
            self.next()?;
        }
        Ok(())
    }

    fn start(&mut self, start: BytesStart<'a>) -> Result<Token<'a>> {
        if self.depth == 0 && self.rooted {
            return Err(self.refuse(XmlRule::Syntax));
        }
        if self.depth >= self.depth_max {
            return Err(self.refuse(XmlRule::Depth));
        }
        self.check_attributes(&start)?;
        let namespace = match self.reader.resolver().resolve_element(start.name()).0 {
            ResolveResult::Unbound => Namespace::None,
            ResolveResult::Bound(uri) if uri.as_ref() == NAMESPACE => Namespace::PaForNode,
            ResolveResult::Bound(uri) if uri.as_ref() == SOAP_1_1 => Namespace::Soap11,
            ResolveResult::Bound(uri) if uri.as_ref() == SOAP_1_2 => Namespace::Soap12,
            ResolveResult::Bound(_) => Namespace::Other,
            ResolveResult::Unknown(_) => return Err(self.refuse(XmlRule::Namespace)),
        };
        self.depth += 1;
        self.rooted = true;
        Ok(Token::Start(namespace, start))
    }

    /// Attributes carry nothing that we use, but must be XML.
    fn check_attributes(&self, start: &BytesStart<'a>) -> Result<()> {
        for attribute in start.attributes() {
            let Ok(attribute) = attribute else { return Err(self.refuse(XmlRule::Attribute)) };
            if attribute.value.contains('<') {
                return Err(self.refuse(XmlRule::Attribute));
            }
            if attribute.value.contains('&') && attribute.normalized_value(XmlVersion::Implicit1_0).is_err() {
                return Err(self.refuse(XmlRule::Entity));
            }
        }
        Ok(())
    }

    fn resolve(&self, reference: &BytesRef<'a>) -> Result<Cow<'a, str>> {
        let named = match reference.as_ref() {
            "lt" => "<",
            "gt" => ">",
            "amp" => "&",
            "apos" => "'",
            "quot" => "\"",
            _ => return self.resolve_char(reference),
        };
        Ok(Cow::Borrowed(named))
    }

    fn resolve_char(&self, reference: &BytesRef<'a>) -> Result<Cow<'a, str>> {
        match reference.resolve_char_ref() {
            Ok(Some(char)) if is_xml_char(char) => Ok(Cow::Owned(char.to_string())),
            Ok(Some(_)) | Err(_) => Err(self.refuse(XmlRule::Character)),
            Ok(None) => Err(self.refuse(XmlRule::Entity)),
        }
    }

    fn refuse(&self, rule: XmlRule) -> ReadError {
        ReadError::NotXml { rule, position: self.reader.buffer_position(), asked: None }
    }
}

fn rule_of(error: &XmlError) -> XmlRule {
    match error {
        XmlError::Syntax(SyntaxError::UnclosedDoctype) => XmlRule::Doctype,
        XmlError::Syntax(SyntaxError::InvalidBangMarkup) => XmlRule::Syntax,
        XmlError::Syntax(_) => XmlRule::Truncated,
        XmlError::Namespace(_) => XmlRule::Namespace,
        XmlError::InvalidAttr(_) => XmlRule::Attribute,
        XmlError::Encoding(_) => XmlRule::Encoding,
        _ => XmlRule::Syntax,
    }
}
