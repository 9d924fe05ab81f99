//! JSON schemas of the TOML files: what an editor needs to complete and check them.

use hardrock_core::{FilterSpec, SelectorSpec};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use crate::mine::MineSpec;
use crate::train::TrainSpec;
use crate::{Error, Result};

/// The schema of a job file: `mine` or `train`.
///
/// # Errors
/// [`Error::Usage`] for another name.
pub fn of_job(name: &str) -> Result<Value> {
    match name {
        "mine" => Ok(of::<MineSpec>()),
        "train" => Ok(of::<TrainSpec>()),
        _ => Err(Error::usage(format!("there is no schema `{name}`"), "one of mine, train")),
    }
}

fn of<T: JsonSchema>() -> Value {
    SchemaGenerator::default().into_root_schema_for::<T>().into()
}

/// A table whose type knows nothing of schemas: its keys and their types from its defaults.
pub(crate) fn defaults<T: Default + serde::Serialize>(_: &mut SchemaGenerator) -> Schema {
    let value = serde_json::to_value(T::default()).unwrap_or_default();
    Schema::try_from(like(&value)).unwrap_or_default()
}

/// The filters: a list of tables of one key each.
pub(crate) fn filters(_: &mut SchemaGenerator) -> Schema {
    let one = named(FilterSpec::ORDER, |name| serde_json::from_value::<FilterSpec>(json!({name: {}})).ok());
    json_schema!({"type": "array", "items": one})
}

/// The selector: a table of one key.
pub(crate) fn selector(_: &mut SchemaGenerator) -> Schema {
    let rule =
        named(SelectorSpec::NAMES, |name| serde_json::from_value::<SelectorSpec>(json!({name: {}})).ok());
    Schema::try_from(rule).unwrap_or_default()
}

/// Numbers that a model computes with.
pub(crate) fn precision(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"enum": ["f32", "int8", null]})
}

/// How a promise is kept.
pub(crate) fn promise_kind(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"enum": ["confident", "average"]})
}

/// One of several components by name, with the parameters that have a default. A parameter without one is not described, but
/// allowed.
fn named<T: serde::Serialize>(names: &[&str], default: impl Fn(&str) -> Option<T>) -> Value {
    let one = |name: &&str| {
        let value = default(name).and_then(|spec| serde_json::to_value(spec).ok());
        let mut parameters = like(value.as_ref().and_then(|v| v.get(*name)).unwrap_or(&json!({})));
        if let Some(parameters) = parameters.as_object_mut() {
            parameters.remove("additionalProperties");
        }
        json!({"type": "object", "properties": {*name: parameters}, "required": [name], "additionalProperties": false})
    };
    json!({"oneOf": names.iter().map(one).collect::<Vec<_>>()})
}

/// The type of a value, with the value as default.
fn like(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let properties: Map<String, Value> =
                fields.iter().map(|(name, value)| (name.clone(), like(value))).collect();
            json!({"type": "object", "properties": properties, "additionalProperties": false})
        }
        Value::Array(_) => json!({"type": "array", "default": value}),
        Value::String(_) => json!({"type": "string", "default": value}),
        Value::Bool(_) => json!({"type": "boolean", "default": value}),
        Value::Number(n) if n.is_f64() => json!({"type": "number", "default": value}),
        Value::Number(_) => json!({"type": "integer", "default": value}),
        Value::Null => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_a_printed_job_is_in_its_schema() {
        /// Follows `$ref` and the first `anyOf` that is a table.
        fn resolve<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
            if let Some(name) = schema["$ref"].as_str() {
                return resolve(&root["$defs"][name.trim_start_matches("#/$defs/")], root);
            }
            let some = schema["anyOf"].as_array().and_then(|any| any.iter().find(|s| s["type"] != "null"));
            some.map_or(schema, |schema| resolve(schema, root))
        }
        fn check(value: &Value, schema: &Value, root: &Value, path: &str) {
            let schema = resolve(schema, root);
            let Some(fields) = value.as_object() else { return };
            for (name, value) in fields {
                let one_of = schema["oneOf"].as_array();
                let found = one_of.and_then(|all| all.iter().find(|s| !s["properties"][name].is_null()));
                let inner = &found.unwrap_or(schema)["properties"][name];
                assert!(!inner.is_null(), "{path}.{name} is not in the schema");
                check(value, inner, root, &format!("{path}.{name}"));
            }
        }
        let mine = serde_json::to_value(MineSpec {
            pool: vec![crate::mine::flags::pool("static", 10).unwrap()],
            ..MineSpec::default()
        });
        for (name, spec) in [("mine", mine), ("train", serde_json::to_value(TrainSpec::default()))] {
            let (schema, spec) = (of_job(name).unwrap(), spec.unwrap());
            check(&spec, &schema, &schema, name);
            assert_eq!(schema["additionalProperties"], false, "a typo is found");
        }
        let text = of_job("train").unwrap().to_string();
        for part in ["two_sided", "max_length", "\"kin\"", "Divides the cosines"] {
            assert!(text.contains(part), "{part}");
        }
        assert!(of_job("tran").is_err());
    }
}
