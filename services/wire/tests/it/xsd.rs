//! The official schema, judged by libxml2.

use std::cell::RefCell;

use fiorino_rig::contracts;
use libxml::{
    parser::Parser,
    schemas::{SchemaParserContext, SchemaValidationContext},
    tree::{Document, Node},
};

thread_local! {
    // A validation context belongs to its thread; compiling the schema takes a few milliseconds.
    static PA_FOR_NODE: RefCell<Option<SchemaValidationContext>> =
        RefCell::new(schema("pagopa/soap-paForNode/wsdl/xsd/paForNode.xsd"));
    static SOAP: RefCell<Option<SchemaValidationContext>> =
        RefCell::new(schema("mypay/wsdl/mypay-fesp/soap-envelope.xsd"));
}

fn schema(path: &str) -> Option<SchemaValidationContext> {
    let path = contracts()?.join(path);
    let mut parser = SchemaParserContext::from_file(path.to_str().unwrap());
    match SchemaValidationContext::from_parser(&mut parser) {
        Ok(context) => Some(context),
        Err(errors) => {
            panic!("{}: {:?}", path.display(), errors.iter().map(|error| &error.message).collect::<Vec<_>>())
        }
    }
}

/// Whether the message is valid by the official schema, envelope and body; the reasons if not. `None`: the schema is not here.
pub(crate) fn judge(message: &str) -> Option<Result<(), String>> {
    let document = Parser::default().parse_string(message).unwrap_or_else(|error| panic!("{error}: {message}"));
    let envelope = judge_envelope(&document)?;
    let body = PA_FOR_NODE.with_borrow_mut(|schema| {
        let schema = schema.as_mut()?;
        let message = body(&document)?;
        Some(schema.validate_node(&message).map_err(|errors| told(&errors)))
    })?;
    Some(envelope.and(body))
}

fn judge_envelope(document: &Document) -> Option<Result<(), String>> {
    SOAP.with_borrow_mut(|schema| {
        let schema = schema.as_mut()?;
        Some(schema.validate_document(document).map_err(|errors| told(&errors)))
    })
}

/// Fails when the schema of SOAP 1.1 refuses the envelope or the fault in it.
#[track_caller]
pub(crate) fn assert_soap(message: &str) {
    let document = Parser::default().parse_string(message).unwrap();
    if let Some(Err(why)) = judge_envelope(&document) {
        panic!("{why}: {message}");
    }
}

/// The first element of the SOAP body.
pub(crate) fn body(document: &Document) -> Option<Node> {
    let root = document.get_root_element()?;
    let body = root.get_child_elements().into_iter().find(|child| child.get_name() == "Body")?;
    body.get_first_element_child()
}

fn told(errors: &[libxml::error::StructuredError]) -> String {
    errors.iter().filter_map(|error| error.message.as_deref()).collect::<Vec<_>>().join("; ")
}

/// Fails when the official schema refuses the message.
#[track_caller]
pub(crate) fn assert_valid(message: &str) {
    if let Some(Err(why)) = judge(message) {
        panic!("{why}: {message}");
    }
}

/// Fails when the official schema takes the message.
#[track_caller]
pub(crate) fn assert_invalid(message: &str) {
    if let Some(Ok(())) = judge(message) {
        panic!("the official schema takes {message}");
    }
}
