//! XML bytes to a small tree with resolved namespaces. Refuses what the node's parser refuses.

use quick_xml::{
    NsReader,
    events::{BytesStart, Event},
    name::ResolveResult,
};

use crate::judge::Violation;

/// Namespace of SOAP 1.1 envelopes.
pub const SOAP_NS: &str = "http://schemas.xmlsoap.org/soap/envelope/";
/// Namespace of the wrapper elements of paForNode; their children have none.
pub const PA_NS: &str = "http://pagopa-api.pagopa.gov.it/pa/paForNode.xsd";

/// Namespace of the attributes that XML Schema allows everywhere: `xsi:type`, `xsi:schemaLocation` and the like.
const XSI_NS: &str = "http://www.w3.org/2001/XMLSchema-instance";

const DEPTH_MAX: usize = 16;

/// An element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// Namespace, if it has one.
    pub namespace: Option<String>,
    /// Local name.
    pub name: String,
    /// Character data directly inside.
    pub text: String,
    /// Child elements in document order.
    pub children: Vec<Self>,
    /// Names of its attributes, but for namespaces and those that XML Schema allows everywhere.
    pub attributes: Vec<String>,
}

// === impl Element ===

impl Element {
    /// The first child of that name.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|c| c.name == name)
    }

    /// Text of the first child of that name.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|c| c.text.as_str())
    }

    /// Text at the end of a path of child names.
    pub fn text_at(&self, path: &[&str]) -> Option<&str> {
        let mut element = self;
        for name in path {
            element = element.child(name)?;
        }
        Some(&element.text)
    }
}

/// Parses a document.
///
/// # Errors
/// The rule that makes it unreadable: not UTF-8, not well-formed, a DTD, too deep.
pub fn parse(body: &[u8]) -> Result<Element, Violation> {
    let text = std::str::from_utf8(body).map_err(|e| Violation::new("xml-utf8", "", e.to_string()))?;
    let mut reader = NsReader::from_str(text);
    reader.config_mut().check_end_names = true;
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    loop {
        let event = reader.read_event().map_err(|e| malformed(&e))?;
        match event {
            Event::Start(start) => {
                let element = element(&reader, &start, root.is_some() || open.len() >= DEPTH_MAX)?;
                open.push(element);
            }
            Event::Empty(start) => {
                let element = element(&reader, &start, root.is_some() || open.len() >= DEPTH_MAX)?;
                close(&mut open, &mut root, element);
            }
            Event::End(_) => {
                if let Some(element) = open.pop() {
                    close(&mut open, &mut root, element);
                }
            }
            Event::Text(chunk) => {
                append(&mut open, &chunk.xml10_content())?;
            }
            Event::CData(chunk) => {
                append(&mut open, &chunk.xml10_content())?;
            }
            Event::GeneralRef(reference) => {
                let resolved = resolve(&reference)?;
                append(&mut open, &resolved)?;
            }
            Event::DocType(_) => return Err(Violation::new("xml-dtd", "", "a document type is not allowed")),
            Event::Decl(declaration) => {
                let encoding = declaration.encoding().transpose().map_err(|e| malformed(&e))?;
                if encoding.is_some_and(|e| !e.eq_ignore_ascii_case("utf-8")) {
                    return Err(Violation::new("xml-utf8", "", "the declared encoding is not UTF-8"));
                }
            }
            Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    root.filter(|_| open.is_empty()).ok_or_else(|| Violation::new("xml-well-formed", "", "the document ends too early"))
}

fn malformed(error: &dyn std::fmt::Display) -> Violation {
    Violation::new("xml-well-formed", "", error.to_string())
}

fn element(reader: &NsReader<&[u8]>, start: &BytesStart<'_>, refused: bool) -> Result<Element, Violation> {
    if refused {
        return Err(Violation::new("xml-well-formed", "", "more than one root, or deeper than 16 elements"));
    }
    let (namespace, local) = reader.resolver().resolve_element(start.name());
    let namespace = match namespace {
        ResolveResult::Bound(namespace) => Some(namespace.0.to_owned()),
        ResolveResult::Unbound => None,
        ResolveResult::Unknown(prefix) => {
            let message = format!("prefix {prefix:?} is not declared");
            return Err(Violation::new("xml-namespace", "", message));
        }
    };
    let name = local.as_ref().to_owned();
    let attributes = attributes(reader, start)?;
    Ok(Element { namespace, name, text: String::new(), children: Vec::new(), attributes })
}

fn attributes(reader: &NsReader<&[u8]>, start: &BytesStart<'_>) -> Result<Vec<String>, Violation> {
    let mut names = Vec::new();
    for attribute in start.attributes() {
        let key = attribute.map_err(|e| malformed(&e))?.key;
        if key.as_namespace_binding().is_some() {
            continue;
        }
        match reader.resolver().resolve_attribute(key).0 {
            ResolveResult::Bound(namespace) if namespace.0 == XSI_NS => {}
            ResolveResult::Bound(_) | ResolveResult::Unbound => names.push(key.as_ref().to_owned()),
            ResolveResult::Unknown(prefix) => {
                let message = format!("prefix {prefix:?} is not declared");
                return Err(Violation::new("xml-namespace", "", message));
            }
        }
    }
    Ok(names)
}

fn close(open: &mut [Element], root: &mut Option<Element>, element: Element) {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None => *root = Some(element),
    }
}

fn append(open: &mut [Element], chunk: &str) -> Result<(), Violation> {
    match open.last_mut() {
        Some(element) => {
            element.text.push_str(chunk);
            Ok(())
        }
        None if chunk.trim_matches([' ', '\t', '\n', '\r']).is_empty() => Ok(()),
        None => Err(Violation::new("xml-well-formed", "", "text outside of the root element")),
    }
}

fn resolve(reference: &quick_xml::events::BytesRef<'_>) -> Result<String, Violation> {
    if let Some(character) = reference.resolve_char_ref().map_err(|e| malformed(&e))? {
        return Ok(character.to_string());
    }
    let value = match &**reference {
        "lt" => "<",
        "gt" => ">",
        "amp" => "&",
        "apos" => "'",
        "quot" => "\"",
        other => return Err(Violation::new("xml-entity", "", format!("entity {other:?} is not predefined"))),
    };
    Ok(value.to_owned())
}
