//! `kubectl explain` is the documentation: every property says what it is, shows an example and is bounded.

use serde_json::Value;

/// Calls `visit` for every property (path, schema) of every kind, items of lists included.
fn properties(visit: &mut dyn FnMut(&str, &Value)) {
    for definition in fiorino_crds::all() {
        let version = &definition.spec.versions[0];
        let schema = version.schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
        walk(&definition.spec.names.kind, &serde_json::to_value(schema).unwrap(), visit);
    }
}

fn walk(path: &str, schema: &Value, visit: &mut dyn FnMut(&str, &Value)) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        // The API server describes metadata, and lets nobody else do so.
        if name != "metadata" {
            visit(&path, property);
        }
        walk(&path, property, visit);
    }
    if schema["items"].is_object() {
        walk(&format!("{path}[]"), &schema["items"], visit);
    }
}

fn has_unit(schema: &Value) -> bool {
    let number = matches!(schema["type"].as_str(), Some("integer" | "number"));
    let time = matches!(schema["format"].as_str(), Some("date" | "date-time" | "duration"));
    number || time
}

#[test]
fn every_property_is_described_with_an_example_and_its_unit() {
    let mut missing = Vec::new();
    let mut count = 0;
    properties(&mut |path, schema| {
        count += 1;
        let text = schema["description"].as_str().unwrap_or_default();
        if text.len() < 20 {
            missing.push(format!("{path}: description of {} characters", text.len()));
        }
        if !text.contains("Example:") {
            missing.push(format!("{path}: no example"));
        }
        if has_unit(schema) && !text.contains("Unit:") {
            missing.push(format!("{path}: no unit"));
        }
    });
    assert!(count > 100, "only {count} properties were seen");
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// kustomize makes a timestamp of a bare date, and every reader a number of bare digits: what people copy is quoted.
#[test]
fn dates_and_codes_are_quoted_in_every_example() {
    let mut bare = Vec::new();
    properties(&mut |path, schema| {
        let text = schema["description"].as_str().unwrap_or_default();
        for example in text.split("Example: `").skip(1).filter_map(|rest| rest.split('`').next()) {
            let is_text = schema["type"] == "string";
            let digits =
                |token: &str| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
            let date = |token: &str| token.starts_with("20") && token.get(4..5) == Some("-");
            let mut tokens = example.split([' ', ',', '{', '}', '[', ']']);
            if tokens.any(date) || (is_text && digits(example)) {
                bare.push(format!("{path}: {example}"));
            }
        }
    });
    assert!(bare.is_empty(), "{}", bare.join("\n"));
}

#[test]
fn every_property_is_bounded() {
    let mut unbounded = Vec::new();
    let mut check = |path: &str, schema: &Value| {
        let enumerated = schema["enum"].is_array();
        let bounded = match schema["type"].as_str() {
            Some("string") => enumerated || schema["maxLength"].is_u64(),
            Some("array") => schema["maxItems"].is_u64(),
            // The API server's own generation has no upper bound.
            Some("integer") => {
                schema["minimum"].is_number() && (schema["maximum"].is_number() || path.contains(".status."))
            }
            Some("object") => schema["properties"].is_object(),
            Some("boolean") => true,
            _ => false,
        };
        if !bounded {
            unbounded.push(format!("{path}: {schema}"));
        }
    };
    properties(&mut |path, schema| {
        check(path, schema);
        if schema["type"] == "array" {
            check(&format!("{path}[]"), &schema["items"]);
        }
    });
    assert!(unbounded.is_empty(), "{}", unbounded.join("\n"));
}

#[test]
fn every_list_says_how_it_merges() {
    properties(&mut |path, schema| {
        if schema["type"] != "array" {
            return;
        }
        let objects = schema["items"]["type"] == "object";
        let expected = if objects { "map" } else { "set" };
        assert_eq!(schema["x-kubernetes-list-type"], expected, "{path}");
        assert_eq!(schema["x-kubernetes-list-map-keys"].is_array(), objects, "{path}");
    });
}

#[test]
fn nothing_is_nullable_so_that_has_means_set() {
    for definition in fiorino_crds::all() {
        let yaml = fiorino_crds::yaml(&definition).unwrap();
        assert!(!yaml.contains("nullable"), "{}", definition.spec.names.kind);
    }
}

#[test]
fn every_kind_is_in_the_category_and_tells_its_conditions() {
    for definition in fiorino_crds::all() {
        let names = &definition.spec.names;
        assert_eq!(names.categories.as_deref(), Some(&[fiorino_crds::CATEGORY.to_owned()][..]), "{}", names.kind);
        let columns = definition.spec.versions[0].additional_printer_columns.clone().unwrap_or_default();
        let message = columns.iter().find(|column| column.name == "Message").unwrap();
        assert_eq!(message.priority, Some(1), "{}", names.kind);
        assert!(columns.iter().any(|column| column.name == "Age" && column.priority.is_none()), "{}", names.kind);
    }
}
