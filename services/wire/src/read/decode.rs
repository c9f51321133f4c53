//! Bytes to text: byte order mark, declared encoding, charset of the transport, in this order.

use std::borrow::Cow;

use super::{ReadError, Result, XmlRule};
use crate::lexical::WHITE_SPACE;

/// U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[derive(Clone, Copy)]
enum Charset {
    Utf8,
    Latin1,
    Ascii,
}

/// The message as text that XML 1.0 can carry, without byte order mark.
pub(super) fn decode<'a>(bytes: &'a [u8], transport: Option<&str>) -> Result<Cow<'a, str>> {
    let (charset, bytes) = match bytes.strip_prefix(BYTE_ORDER_MARK) {
        Some(rest) => (Charset::Utf8, rest),
        None => (declared(bytes, transport)?, bytes),
    };
    let text = match charset {
        Charset::Utf8 => match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(error) => return Err(refuse(XmlRule::Encoding, error.valid_up_to())),
        },
        Charset::Latin1 => Cow::Owned(bytes.iter().copied().map(char::from).collect()),
        Charset::Ascii => match bytes.iter().position(|byte| !byte.is_ascii()) {
            Some(position) => return Err(refuse(XmlRule::Encoding, position)),
            None => String::from_utf8_lossy(bytes),
        },
    };
    match excluded(&text) {
        Some(position) => Err(refuse(XmlRule::Character, position)),
        None => Ok(text),
    }
}

/// As [`decode`], of bytes that may end within a character.
pub(super) fn decode_prefix<'a>(bytes: &'a [u8], transport: Option<&str>) -> Option<Cow<'a, str>> {
    match decode(bytes, transport) {
        Ok(text) => Some(text),
        Err(ReadError::NotXml { rule: XmlRule::Encoding, position, .. }) => {
            let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
            decode(text.get(..usize::try_from(position).ok()?)?, transport).ok()
        }
        Err(_) => None,
    }
}

fn refuse(rule: XmlRule, position: usize) -> ReadError {
    ReadError::NotXml { rule, position: position as u64, asked: None }
}

fn declared(bytes: &[u8], transport: Option<&str>) -> Result<Charset> {
    let Some(label) = declared_label(bytes).or(transport) else { return Ok(Charset::Utf8) };
    let is = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(label));
    if is(&["utf-8", "utf8"]) {
        Ok(Charset::Utf8)
    } else if is(&["iso-8859-1", "iso_8859-1", "iso8859-1", "latin1", "l1"]) {
        Ok(Charset::Latin1)
    } else if is(&["us-ascii", "ascii"]) {
        Ok(Charset::Ascii)
    } else {
        Err(refuse(XmlRule::Encoding, 0))
    }
}

/// `encoding` of the XML declaration, which is ASCII in all the encodings that are read.
fn declared_label(bytes: &[u8]) -> Option<&str> {
    let declaration = bytes.trim_ascii_start().strip_prefix(b"<?xml")?;
    let end = declaration.windows(2).position(|pair| pair == b"?>")?;
    let declaration = std::str::from_utf8(declaration.get(..end)?).ok()?;
    let (_, value) = declaration.split_once("encoding")?;
    let value = value.trim_start_matches(WHITE_SPACE).strip_prefix('=')?.trim_start_matches(WHITE_SPACE);
    let quote = value.chars().next().filter(|char| matches!(char, '"' | '\''))?;
    value.get(1..)?.split(quote).next()
}

/// Where a character stands that XML 1.0 excludes: a control character, U+FFFE or U+FFFF (bytes EF BF BE, EF BF BF).
fn excluded(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().position(|(at, byte)| match byte {
        b'\t' | b'\n' | b'\r' => false,
        ..0x20 => true,
        0xef => matches!(bytes.get(at + 1..at + 3), Some([0xbf, 0xbe | 0xbf])),
        _ => false,
    })
}
