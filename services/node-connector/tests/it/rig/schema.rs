//! The official schema, judged by libxml2.

use std::cell::RefCell;

use fiorino_test_support::contracts;
use libxml::{
    parser::Parser,
    schemas::{SchemaParserContext, SchemaValidationContext},
    tree::{Document, Node},
};

use super::Reply;

thread_local! {
    // A validation context belongs to its thread.
    static PA_FOR_NODE: RefCell<Option<SchemaValidationContext>> =
        RefCell::new(schema("pagopa/soap-paForNode/wsdl/xsd/paForNode.xsd"));
    static SOAP: RefCell<Option<SchemaValidationContext>> =
        RefCell::new(schema("mypay/wsdl/mypay-fesp/soap-envelope.xsd"));
}

fn schema(path: &str) -> Option<SchemaValidationContext> {
    let path = contracts()?.join(path);
    let mut parser = SchemaParserContext::from_file(path.to_str().unwrap());
    Some(SchemaValidationContext::from_parser(&mut parser).unwrap_or_else(|errors| panic!("{}", told(&errors))))
}

/// An answer is an envelope, and with 200 its body is valid by paForNode.xsd.
#[track_caller]
pub(crate) fn assert_valid(reply: &Reply) {
    assert_eq!(reply.headers["content-type"], "text/xml; charset=utf-8", "{}", reply.body);
    let document =
        Parser::default().parse_string(&reply.body).unwrap_or_else(|error| panic!("{error}: {}", reply.body));
    SOAP.with_borrow_mut(|schema| {
        if let Some(schema) = schema.as_mut() {
            schema.validate_document(&document).unwrap_or_else(|errors| panic!("{}: {}", told(&errors), reply.body));
        }
    });
    let element = body(&document).unwrap_or_else(|| panic!("no body: {}", reply.body));
    if reply.status != 200 {
        assert_eq!(element.get_name(), "Fault", "{}", reply.body);
        return;
    }
    PA_FOR_NODE.with_borrow_mut(|schema| {
        if let Some(schema) = schema.as_mut() {
            schema.validate_node(&element).unwrap_or_else(|errors| panic!("{}: {}", told(&errors), reply.body));
        }
    });
}

fn body(document: &Document) -> Option<Node> {
    let children = document.get_root_element()?.get_child_elements();
    children.into_iter().find(|child| child.get_name() == "Body")?.get_first_element_child()
}

fn told(errors: &[libxml::error::StructuredError]) -> String {
    errors.iter().filter_map(|error| error.message.as_deref()).collect::<Vec<_>>().join("; ")
}
