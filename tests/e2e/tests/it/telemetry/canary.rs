//! Finds what should not be somewhere, however it is written.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

/// Shortest part of a base64 text that is looked for: a shorter one is found by chance.
const BASE64_MIN: usize = 8;

/// A text that must not leave, in every way in which it is looked for.
#[derive(Debug)]
pub(super) struct Canary {
    text: String,
    /// In lower case, as what is searched.
    forms: Vec<String>,
}

// === impl Canary ===

impl Canary {
    pub(super) fn new(text: &str) -> Self {
        let mut forms = Vec::new();
        for text in [text.to_owned(), text.to_lowercase(), text.to_uppercase()] {
            forms.extend(in_base64(&text));
            forms.extend(in_url(&text));
            // As XML and as JSON within JSON have it.
            forms.push(text.replace('\'', "&apos;"));
            forms.push(text.escape_default().to_string());
            forms.push(text);
        }
        let mut forms: Vec<String> = forms.into_iter().map(|form| form.to_lowercase()).collect();
        forms.sort_unstable();
        forms.dedup();
        Self { text: text.to_owned(), forms }
    }

    /// What was found, with what stands around it.
    pub(super) fn found(&self, lowercase: &str) -> Option<String> {
        let (at, form) = self.forms.iter().find_map(|form| Some((lowercase.find(form.as_str())?, form)))?;
        let (begin, end) = (at.saturating_sub(120), (at + form.len() + 120).min(lowercase.len()));
        let around = &lowercase[lowercase.floor_char_boundary(begin)..lowercase.ceil_char_boundary(end)];
        Some(format!("{} as {form}: ..{around}..", self.text))
    }
}

/// The text within a longer one that is encoded: it may begin at any of three places of a group.
fn in_base64(text: &str) -> Vec<String> {
    let forms = (0..3_usize).map(|offset| {
        let encoded = STANDARD_NO_PAD.encode([&vec![0; offset], text.as_bytes()].concat());
        // The first and the last character also hold bits of the neighbours.
        let begin = (offset * 8).div_ceil(6);
        let end = (offset + text.len()) * 8 / 6;
        encoded[begin..end].to_owned()
    });
    forms.filter(|form| form.len() >= BASE64_MIN).collect()
}

fn in_url(text: &str) -> Vec<String> {
    let mut url = reqwest::Url::parse("http://canary/").unwrap();
    url.path_segments_mut().unwrap().push(text);
    let in_path = url.path().trim_start_matches('/').to_owned();
    url.query_pairs_mut().append_pair("q", text);
    let in_query = url.query().unwrap_or_default().trim_start_matches("q=").to_owned();
    vec![in_path, in_query]
}

#[test]
fn a_canary_is_found_however_it_is_written() {
    let canary = Canary::new("Nicol\u{f2} D'Anguillara");
    for written in [
        "paid by Nicol\u{f2} D'Anguillara",
        "NICOL\u{d2} D'ANGUILLARA",
        "nicol\u{f2} d&apos;anguillara",
        "q=Nicol%C3%B2+D%27Anguillara&x",
        "/node/v1/Nicol%C3%B2%20D'Anguillara",
        &STANDARD_NO_PAD.encode("Nicol\u{f2} D'Anguillara"),
        &STANDARD_NO_PAD.encode("<fullName>Nicol\u{f2} D'Anguillara</fullName>"),
        &STANDARD_NO_PAD.encode("<name>Nicol\u{f2} D'Anguillara</name>"),
        &STANDARD_NO_PAD.encode("=> nicol\u{f2} d'anguillara <="),
        "{\"name\":\"Nicol\\u{f2} D\\'Anguillara\"}",
    ] {
        assert!(canary.found(&written.to_lowercase()).is_some(), "{written}");
    }
    assert!(canary.found("nicola d'anguilla, bmljb2zdsibeqw").is_none());
}
