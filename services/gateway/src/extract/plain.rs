//! JSON as a document's reader takes it: a number without a fraction is a whole number, however it is written, and a
//! name stands once in an object. Everything that reads JSON of a request comes through here.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Up to here every whole number is one of a fraction's kind, and the other way round.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A JSON value, read so.
pub(super) struct Plain(pub Value);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Plain;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Plain, E> {
        Ok(Plain(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Plain, E> {
        Ok(Plain(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Plain, E> {
        Ok(Plain(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Plain, E> {
        Ok(Plain(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Plain, E> {
        Ok(Plain(number(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Plain, E> {
        Ok(Plain(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Plain, E> {
        Ok(Plain(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Plain, A::Error> {
        let mut list = Vec::new();
        while let Some(Plain(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Plain(Value::Array(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Plain, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if map.contains_key(&name) {
                return Err(A::Error::custom(format!("duplicate field `{name}`")));
            }
            let Plain(value) = members.next_value()?;
            map.insert(name, value);
        }
        Ok(Plain(Value::Object(map)))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "it is whole and within what an i64 holds")]
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() <= EXACT {
        return Value::Number(Number::from(value as i64));
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Result<Value, String> {
        serde_json::from_str::<Plain>(text).map(|p| p.0).map_err(|e| e.to_string())
    }

    #[test]
    fn a_number_without_a_fraction_is_whole_and_all_else_is_as_it_was() {
        for (text, value) in [("29.0", json!(29)), ("-3e2", json!(-300)), ("-0.0", json!(0)), ("7", json!(7))] {
            assert_eq!(read(text).unwrap(), value, "{text}");
        }
        for text in ["29.5", "1e300", "18446744073709551615", "-9223372036854775808", "null", "true", "\"29.0\""] {
            assert_eq!(read(text).unwrap(), serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
        let text = r#"{"a": [{"b": 1.0}, 0.5], "c": {"d": "1.0"}}"#;
        assert_eq!(read(text).unwrap(), json!({"a": [{"b": 1}, 0.5], "c": {"d": "1.0"}}));
    }

    #[test]
    fn a_name_stands_once() {
        assert!(read(r#"{"a": 1, "b": {"a": 1}}"#).is_ok());
        assert!(read(r#"{"b": {"a": 1, "a": 2}}"#).unwrap_err().starts_with("duplicate field `a`"));
    }
}
