//! Receipts as nobody should send them, and some did: elements that are spelled otherwise, lacking, unknown or too many, paths and methods that
//! are nobody's, one payment by both primitives. What the station answers is judged as ever.

use serde::Deserialize;

use crate::judge::tree::Element;

/// One thing that is odd about the receipts of a payment. Elements are named by their path below `receipt`, such as
/// `transferList.transfer[2].IBAN`; an empty path is `receipt` itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "oddity", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Oddity {
    /// The element says something else.
    Set {
        /// Which element.
        at: String,
        /// What it says.
        text: String,
    },
    /// The element is not there.
    Remove {
        /// Which element.
        at: String,
    },
    /// The element is there twice.
    Repeat {
        /// Which element.
        at: String,
    },
    /// An element more, at the end.
    Add {
        /// In which element.
        at: String,
        /// How it is called.
        name: String,
        /// What it says.
        text: String,
    },
    /// The receipt is sent to this path of the station's host.
    Path {
        /// As it stands in the request; it begins with a slash.
        path: String,
    },
    /// The receipt is sent by this HTTP method.
    Method {
        /// Such as `PUT`.
        method: String,
    },
    /// The receipt is sent by `paSendRT` and by `paSendRTV2`.
    BothVersions,
}

/// How a receipt is sent, if otherwise than it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Way {
    /// Instead of the path of the station's URL.
    pub path: Option<String>,
    /// Instead of POST.
    pub method: Option<String>,
}

/// An element that an oddity names is not in the receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoSuchElement;

/// Changes a receipt.
///
/// # Errors
/// [`NoSuchElement`].
pub fn spoil(receipt: &mut Element, oddities: &[Oddity]) -> Result<(), NoSuchElement> {
    for oddity in oddities {
        match oddity {
            Oddity::Set { at, text } => find(receipt, at)?.text.clone_from(text),
            Oddity::Remove { at } => {
                let (parent, place) = place(receipt, at)?;
                parent.children.remove(place);
            }
            Oddity::Repeat { at } => {
                let (parent, place) = place(receipt, at)?;
                let copy = parent.children[place].clone();
                parent.children.insert(place, copy);
            }
            Oddity::Add { at, name, text } => find(receipt, at)?.children.push(Element {
                namespace: None,
                name: name.clone(),
                text: text.clone(),
                children: Vec::new(),
                attributes: Vec::new(),
            }),
            Oddity::Path { .. } | Oddity::Method { .. } | Oddity::BothVersions => {}
        }
    }
    Ok(())
}

/// How it is sent; of several the last one counts.
pub fn way(oddities: &[Oddity]) -> Way {
    let mut way = Way::default();
    for oddity in oddities {
        match oddity {
            Oddity::Path { path } => way.path = Some(path.clone()),
            Oddity::Method { method } => way.method = Some(method.clone()),
            _ => {}
        }
    }
    way
}

fn find<'a>(receipt: &'a mut Element, at: &str) -> Result<&'a mut Element, NoSuchElement> {
    if at.is_empty() {
        return Ok(receipt);
    }
    let (parent, place) = place(receipt, at)?;
    Ok(&mut parent.children[place])
}

/// The parent of an element, and its place there.
fn place<'a>(receipt: &'a mut Element, at: &str) -> Result<(&'a mut Element, usize), NoSuchElement> {
    let (above, last) = at.rsplit_once('.').unwrap_or(("", at));
    let mut parent = receipt;
    for step in above.split('.').filter(|step| !step.is_empty()) {
        let place = child(parent, step)?;
        parent = &mut parent.children[place];
    }
    let place = child(parent, last)?;
    Ok((parent, place))
}

/// `name` or `name[2]`: the first or the second of that name.
fn child(parent: &Element, step: &str) -> Result<usize, NoSuchElement> {
    let (name, nth) = match step.split_once('[') {
        Some((name, nth)) => (name, nth.trim_end_matches(']').parse::<usize>().map_err(|_| NoSuchElement)?),
        None => (step, 1),
    };
    let of_name = parent.children.iter().enumerate().filter(|(_, child)| child.name == name);
    of_name.map(|(place, _)| place).nth(nth.checked_sub(1).ok_or(NoSuchElement)?).ok_or(NoSuchElement)
}
