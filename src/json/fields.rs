//! The fields of a JSON object, whose names are borrowed from the text that they were read from.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

/// The fields of an object by name. They are in the order of their names; of two with the same name
/// the last remains.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JsonFields<'a, V>(Vec<(Cow<'a, str>, V)>);

impl<'a, V> JsonFields<'a, V> {
    /// Orders fields, which are in the order of the text.
    pub(crate) fn new(mut fields: Vec<(Cow<'a, str>, V)>) -> Self {
        fields.reverse();
        fields.sort_by(|(one, _), (other, _)| one.cmp(other));
        fields.dedup_by(|(name, _), (kept, _)| name == kept);
        Self(fields)
    }

    /// The field with this name.
    pub(crate) fn get(&self, name: &str) -> Option<&V> {
        let index = self.find(name)?;
        self.0.get(index).map(|(_, value)| value)
    }

    /// Takes the field with this name out.
    pub(crate) fn take(&mut self, name: &str) -> Option<V> {
        let index = self.find(name)?;
        Some(self.0.remove(index).1)
    }

    fn find(&self, name: &str) -> Option<usize> {
        let found = self
            .0
            .binary_search_by(|(known, _)| known.as_ref().cmp(name));
        found.ok()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }
}

impl<V> Default for JsonFields<'_, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de: 'a, 'a, V: Deserialize<'de>> Deserialize<'de> for JsonFields<'a, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor(PhantomData))
    }
}

/// Reads the fields of an object.
struct FieldsVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for FieldsVisitor<V> {
    type Value = JsonFields<'de, V>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(FieldName(name)) = map.next_key()? {
            fields.push((name, map.next_value()?));
        }
        Ok(JsonFields::new(fields))
    }
}

/// The name of a field. Serde itself always copies a `Cow` of a map's key.
#[derive(Deserialize)]
#[serde(transparent)]
struct FieldName<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_fields_with_the_same_name_the_last_remains() {
        let text = r#"{"b": 1, "a": 2, "b": 3, "\u0061": 4, "c": 5}"#;
        let fields: JsonFields<'_, u8> = serde_json::from_str(text).unwrap();
        let all: Vec<_> = fields.iter().collect();
        assert_eq!(all, [("a", &4), ("b", &3), ("c", &5)]);
        assert_eq!((fields.get("b"), fields.get("d")), (Some(&3), None));
    }

    #[test]
    fn a_field_can_be_taken_out() {
        let mut fields: JsonFields<'_, u8> = serde_json::from_str(r#"{"a": 1, "b": 2}"#).unwrap();
        assert_eq!((fields.take("a"), fields.take("a")), (Some(1), None));
        assert_eq!(fields.get("b"), Some(&2));
    }
}
