use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::compile::Compiler;
use super::*;

fn told(schema: &Value, instance: &str) -> Option<String> {
    let empty = serde_json::Map::new();
    let defs = schema.get("$defs").and_then(Value::as_object).unwrap_or(&empty);
    let mut compiler = Compiler::new(defs).expect("definitions");
    let id = compiler.add(schema).expect("a schema");
    let schemas = compiler.finish();
    let node = Node::read(instance.as_bytes()).expect("JSON");
    let told = check(&schemas, id, &node, "body").err();
    assert_eq!(told.is_none(), fits(&schemas, id, &node), "both ways say the same of {instance}");
    told.map(|violation| violation.to_string())
}

fn assert_fits(schema: &Value, instance: &str) {
    assert_eq!(told(schema, instance), None, "{instance} fits {schema}");
}

#[track_caller]
fn assert_misfit(schema: &Value, instance: &str, said: &str) {
    assert_eq!(told(schema, instance).as_deref(), Some(said));
}

#[test]
fn what_does_not_fit_is_told_by_place_and_word_and_never_by_value() {
    let order = json!({
        "type": "object",
        "required": ["items"],
        "additionalProperties": false,
        "properties": {
            "items": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/item"}},
            "note": {"type": ["string", "null"], "maxLength": 5, "pattern": "^[a-z]+$"},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "$defs": {"item": {
            "type": "object",
            "properties": {"quantity": {"type": "integer", "minimum": 1}, "kind": {"enum": ["a", "b"]}},
        }},
    });
    assert_fits(&order, r#"{"items":[{"quantity":2.0,"kind":"b"}],"note":null}"#);
    assert_misfit(&order, "{}", "body: `required` asks for `items`");
    assert_misfit(&order, "[]", "body: `type` asks for object");
    assert_misfit(&order, r#"{"items":[]}"#, "body /items: `minItems` asks for 1 items or more");
    assert_misfit(
        &order,
        r#"{"items":[{"quantity":"s3cret"}]}"#,
        "body /items/0/quantity: `type` asks for integer",
    );
    assert_misfit(
        &order,
        r#"{"items":[{"quantity":0}]}"#,
        "body /items/0/quantity: `minimum` asks for a number that is not below the least",
    );
    assert_misfit(
        &order,
        r#"{"items":[{"kind":"s3cret"}]}"#,
        "body /items/0/kind: `enum` asks for one of the declared values",
    );
    assert_misfit(
        &order,
        r#"{"items":[{}],"note":"toolong"}"#,
        "body /note: `maxLength` asks for 5 characters at most",
    );
    assert_misfit(
        &order,
        r#"{"items":[{}],"note":"A1"}"#,
        "body /note: `pattern` asks for a text of the declared pattern",
    );
    assert_misfit(
        &order,
        r#"{"items":[{}],"s3cret":1}"#,
        "body: `additionalProperties` asks for declared properties and no others",
    );
    assert_misfit(
        &order,
        r#"{"items":[{}],"labels":{"s3cret":1}}"#,
        "body /labels/*: `type` asks for string",
    );
}

#[test]
fn alternatives_are_told_by_the_only_one_that_is_for_such_a_value() {
    let either = json!({"anyOf": [{"type": "null"}, {"type": "object", "required": ["id"]}]});
    assert_misfit(&either, "{}", "body: `required` asks for `id`");
    assert_misfit(&either, "1", "body: `anyOf` asks for one of 2 alternatives");
    let one = json!({"oneOf": [{"type": "integer"}, {"minimum": 2}]});
    assert_fits(&one, "1");
    assert_fits(&one, "2.5");
    assert_misfit(&one, "3", "body: `oneOf` asks for a value that fits one alternative, not several");
}

#[test]
fn the_words_of_json_schema_mean_what_they_say() {
    for (schema, fitting, not) in [
        (json!({"const": {"a": 1, "b": [2]}}), r#"{"b":[2.0],"a":1}"#, r#"{"a":1}"#),
        (json!({"enum": [1, null, "x"]}), "1.0", "2"),
        (json!({"exclusiveMinimum": 1, "exclusiveMaximum": 3}), "2", "3"),
        (json!({"multipleOf": 0.01}), "19.99", "19.999"),
        (json!({"maximum": 9_007_199_254_740_992_i64}), "9007199254740992", "9007199254740993"),
        (json!({"minLength": 2}), "\"üü\"", "\"ü\""),
        (json!({"pattern": "^\\d+$"}), "\"12\"", "\"١٢\""),
        (
            json!({"prefixItems": [{"type": "string"}], "items": {"type": "integer"}}),
            "[\"a\",1]",
            "[\"a\",\"b\"]",
        ),
        (json!({"uniqueItems": true}), "[1,\"1\",{\"a\":1}]", "[{\"a\":1,\"b\":2},{\"b\":2.0,\"a\":1}]"),
        (json!({"contains": {"type": "integer"}, "maxContains": 1}), "[1,\"a\"]", "[1,2]"),
        (json!({"contains": {"type": "integer"}}), "[1]", "[]"),
        (
            json!({"patternProperties": {"^x-": true}, "additionalProperties": false}),
            "{\"x-a\":1}",
            "{\"a\":1}",
        ),
        (json!({"propertyNames": {"maxLength": 1}}), "{\"a\":1}", "{\"ab\":1}"),
        (json!({"minProperties": 1, "maxProperties": 1}), "{\"a\":1}", "{}"),
        (json!({"dependentRequired": {"a": ["b"]}}), "{\"b\":1}", "{\"a\":1}"),
        (json!({"dependentSchemas": {"a": {"required": ["b"]}}}), "{\"a\":1,\"b\":1}", "{\"a\":1}"),
        (json!({"not": {"type": "string"}}), "1", "\"a\""),
        (json!({"if": {"type": "string"}, "then": {"minLength": 1}, "else": {"minimum": 1}}), "1", "0"),
        (json!({"allOf": [{"minimum": 1}, {"maximum": 2}]}), "2", "3"),
        (json!(true), "1", ""),
        (json!({"properties": {"a": false}}), "{}", "{\"a\":1}"),
    ] {
        assert_fits(&schema, fitting);
        if !not.is_empty() {
            assert!(told(&schema, not).is_some(), "{not} does not fit {schema}");
        }
    }
}

#[test]
fn words_about_other_types_say_nothing() {
    for schema in
        [json!({"minimum": 5}), json!({"minLength": 5}), json!({"required": ["a"]}), json!({"minItems": 5})]
    {
        assert_fits(&schema, "true");
        assert_fits(&schema, "null");
    }
}

#[test]
fn a_schema_that_contains_itself_ends_with_the_document() {
    let tree = json!({"$ref": "#/$defs/tree", "$defs": {"tree": {
        "type": "object",
        "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
        "required": ["name"],
    }}});
    assert_fits(&tree, r#"{"name":1,"children":[{"name":2,"children":[{"name":3}]}]}"#);
    assert_misfit(
        &tree,
        r#"{"name":1,"children":[{"name":2,"children":[{}]}]}"#,
        "body /children/0/children/0: `required` asks for `name`",
    );
}

/// Each level of the document doubles the work for who tries all alternatives to say what is wrong.
#[test]
fn what_would_take_too_long_is_given_up() {
    let branching = json!({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [
        {"type": "object", "properties": {"x": {"$ref": "#/$defs/a"}}, "required": ["y"]},
        {"type": "object", "properties": {"x": {"$ref": "#/$defs/a"}}, "required": ["z"]},
        {"type": "string"},
    ]}}});
    let deep = format!("{}\"\"{}", "{\"y\":1,\"x\":".repeat(40), "}".repeat(40));
    assert_fits(&branching, &deep);
    let begun = Instant::now();
    let wrong = deep.replace("\"\"", "1");
    assert!(told(&branching, &wrong).is_some());

    let mut defs = serde_json::Map::new();
    for level in 0..40 {
        let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
        defs.insert(format!("d{level}"), json!({"anyOf": [next, next]}));
    }
    defs.insert("d40".to_owned(), json!({"type": "string"}));
    let doubling = json!({"$ref": "#/$defs/d0", "$defs": defs});
    assert_misfit(&doubling, "1", "body: `bounds` asks for a document that can be checked in time");
    // Generous: the point is that it is not hours.
    assert!(begun.elapsed() < Duration::from_secs(60));

    let circle =
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}});
    assert_misfit(&circle, "1", "body: `bounds` asks for a document that can be checked in time");
}

#[test]
fn a_pattern_that_cannot_be_run_in_linear_time_is_passed_over_and_counted() {
    let schema = json!({"properties": {"a": {"pattern": "(?=x)y"}, "b": {"pattern": "^(a+)+$"}, "c": {"pattern": "(a{1000}){1000}"}}});
    let empty = serde_json::Map::new();
    let mut compiler = Compiler::new(&empty).expect("nothing");
    let id = compiler.add(&schema).expect("a schema");
    let schemas = compiler.finish();
    assert_eq!(schemas.passed_over, 2);
    let slow = format!(r#"{{"a":"z","b":"{}!"}}"#, "a".repeat(100_000));
    let told =
        check(&schemas, id, &Node::read(slow.as_bytes()).expect("JSON"), "body").expect_err("no match");
    assert_eq!((&*told.at, told.keyword), ("/b", "pattern"));
}

#[test]
fn a_huge_enum_is_looked_up() {
    let many: Vec<Value> = (0..100_000).map(|number| Value::String(format!("v{number}"))).collect();
    let schema = json!({"type": "array", "items": {"enum": many}});
    let all: Vec<String> = (0..1_000).map(|number| format!("\"v{number}\"")).collect();
    assert_fits(&schema, &format!("[{}]", all.join(",")));
}
