//! Requests with one odd text each, out of the descriptors: what no reader of a text may answer with a fault of its own.

mod judge;

use std::collections::{HashMap, HashSet};

use anyhow::Result;
use prost::{
    Message as _,
    encoding::{WireType, encode_key, encode_varint},
};
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};

pub use judge::{Judged, judge_texts};

/// Deeper than any message of ours.
const DEPTH_MAX: usize = 8;

/// A text field of a request.
#[derive(Debug, Clone)]
pub struct TextField {
    /// `/package.Service/Method`.
    pub method: String,
    /// Path of the field, e.g. `positions.debtor.full_name`.
    pub path: String,
    /// The fields from the request down to it.
    steps: Vec<Step>,
}

#[derive(Debug, Clone)]
struct Step {
    number: u32,
    /// Texts beside it, with which the request comes as far as it can.
    beside: Vec<(u32, &'static str)>,
}

/// Every text field of every request, each with what stands `beside` it: a value by the name of a field.
///
/// # Errors
/// When the descriptors cannot be read.
pub fn text_fields(descriptors: &[u8], beside: &[(&str, &'static str)]) -> Result<Vec<TextField>> {
    let set = FileDescriptorSet::decode(descriptors)?;
    let mut messages = HashMap::new();
    for file in &set.file {
        for message in &file.message_type {
            index(&format!(".{}", file.package()), message, &mut messages);
        }
    }
    let beside: HashMap<&str, &'static str> = beside.iter().copied().collect();
    let mut fields = Vec::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                let name = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                let start = Walk { messages: &messages, beside: &beside, method: &name };
                start.walk(method.input_type(), &mut Vec::new(), &mut HashSet::new(), &mut fields);
            }
        }
    }
    Ok(fields)
}

fn index<'a>(scope: &str, message: &'a DescriptorProto, messages: &mut HashMap<String, &'a DescriptorProto>) {
    let name = format!("{scope}.{}", message.name());
    for nested in &message.nested_type {
        index(&name, nested, messages);
    }
    messages.insert(name, message);
}

struct Walk<'a> {
    messages: &'a HashMap<String, &'a DescriptorProto>,
    beside: &'a HashMap<&'a str, &'static str>,
    method: &'a str,
}

// === impl Walk ===

impl Walk<'_> {
    fn walk(
        &self,
        message: &str,
        way: &mut Vec<(String, Step)>,
        open: &mut HashSet<String>,
        fields: &mut Vec<TextField>,
    ) {
        let Some(descriptor) = self.messages.get(message) else { return };
        if way.len() > DEPTH_MAX || !open.insert(message.to_owned()) {
            return;
        }
        for field in &descriptor.field {
            let step = Step { number: number(field), beside: self.beside(descriptor, field) };
            way.push((field.name().to_owned(), step));
            match field.r#type() {
                Type::String => fields.push(TextField {
                    method: self.method.to_owned(),
                    path: way.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join("."),
                    steps: way.iter().map(|(_, step)| step.clone()).collect(),
                }),
                Type::Message => self.walk(field.type_name(), way, open, fields),
                _ => {}
            }
            way.pop();
        }
        open.remove(message);
    }

    /// Values of the other texts of the message; of a oneof only one can be set.
    fn beside(&self, descriptor: &DescriptorProto, field: &FieldDescriptorProto) -> Vec<(u32, &'static str)> {
        let others = descriptor.field.iter().filter(|other| {
            other.number != field.number
                && other.r#type() == Type::String
                && other.label() != Label::Repeated
                && (other.oneof_index.is_none() || other.oneof_index != field.oneof_index)
        });
        others.filter_map(|other| Some((number(other), *self.beside.get(other.name())?))).collect()
    }
}

fn number(field: &FieldDescriptorProto) -> u32 {
    u32::try_from(field.number()).unwrap_or_default()
}

// === impl TextField ===

impl TextField {
    /// The request in protobuf bytes.
    pub fn request(&self, value: &str) -> Vec<u8> {
        let mut inner = value.as_bytes().to_vec();
        for step in self.steps.iter().rev() {
            let mut outer = Vec::new();
            for (number, text) in &step.beside {
                put(*number, text.as_bytes(), &mut outer);
            }
            put(step.number, &inner, &mut outer);
            inner = outer;
        }
        inner
    }
}

fn put(number: u32, value: &[u8], to: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, to);
    encode_varint(value.len() as u64, to);
    to.extend_from_slice(value);
}
