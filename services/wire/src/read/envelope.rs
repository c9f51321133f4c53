//! The SOAP 1.1 envelope around a request.

use super::{
    ReadError, Result, SoapRule,
    element::Cursor,
    source::{Namespace, Source, Token},
};
use crate::{lexical::cut, operation::Operation, rule::Rule};

/// Reads up to and including the start of the request's element.
pub(super) fn open(source: &mut Source<'_>) -> Result<Operation> {
    match source.next()? {
        Token::Start(Namespace::Soap11, start) if start.local_name().as_ref() == "Envelope" => {}
        Token::Start(Namespace::Soap12, _) => return Err(refuse(SoapRule::Version)),
        _ => return Err(refuse(SoapRule::Envelope)),
    }
    loop {
        match source.next()? {
            Token::Start(Namespace::Soap11, start) if start.local_name().as_ref() == "Body" => {
                return operation(source);
            }
            Token::Start(..) => source.skip()?,
            Token::Text(_) => {}
            Token::End | Token::Eof => return Err(refuse(SoapRule::Body)),
        }
    }
}

fn operation(source: &mut Source<'_>) -> Result<Operation> {
    loop {
        match source.next()? {
            Token::Text(_) => {}
            Token::End | Token::Eof => return Err(refuse(SoapRule::Operation)),
            Token::Start(namespace, start) => {
                let name = start.local_name();
                let known = Operation::of_request_element(name.as_ref()).filter(|_| namespace == Namespace::PaForNode);
                return known.ok_or_else(|| ReadError::UnknownOperation { name: cut(name.as_ref(), 64).to_owned() });
            }
        }
    }
}

fn refuse(rule: SoapRule) -> ReadError {
    ReadError::NotSoap { rule }
}

/// Reads from the end of the request's element to the end of the message: all of it must be XML.
pub(super) fn close(cursor: &mut Cursor<'_>) -> Result<()> {
    loop {
        match cursor.token()? {
            Token::Eof => return Ok(()),
            Token::Text(_) | Token::End => {}
            Token::Start(..) => {
                cursor.violate(Rule::SingleBody);
                cursor.skip()?;
            }
        }
    }
}
