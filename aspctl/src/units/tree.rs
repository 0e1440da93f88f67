//! Draws units below the units in which they are. Pure.

use std::collections::{HashMap, HashSet};

use super::{ListedUnit, or_unknown};

/// How far a level is indented.
const INDENT: &str = "  ";

/// One line for each unit, indented by its level. Units whose parent is not in the list come first.
///
/// Every unit is drawn once, even if Alexa's answers were contradictory.
pub(super) fn tree_rows(units: &[ListedUnit]) -> Vec<String> {
    let ids: HashSet<_> = units.iter().map(|unit| unit.id.as_str()).collect();
    let mut children: HashMap<&str, Vec<&ListedUnit>> = HashMap::new();
    let mut waiting = Vec::new();
    for unit in units {
        match unit
            .parent_id
            .as_deref()
            .filter(|parent| ids.contains(parent))
        {
            Some(parent) => children.entry(parent).or_default().push(unit),
            None => waiting.push((unit, 0)),
        }
    }
    waiting.reverse();
    // Units that are below themselves are not reached from above.
    let mut below_themselves: Vec<_> = units.iter().map(|unit| (unit, 0)).collect();
    below_themselves.reverse();
    below_themselves.append(&mut waiting);
    let (mut rows, mut drawn) = (Vec::new(), HashSet::new());
    while let Some((unit, level)) = below_themselves.pop() {
        if !drawn.insert(unit.id.as_str()) {
            continue;
        }
        rows.push(row(unit, level));
        let inside = children.remove(unit.id.as_str()).unwrap_or_default();
        below_themselves.extend(inside.into_iter().rev().map(|child| (child, level + 1)));
    }
    rows
}

fn row(unit: &ListedUnit, level: usize) -> String {
    let name = or_unknown(unit.name.as_ref());
    format!("{}{name}  {}", INDENT.repeat(level), unit.id)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn rows(units: &[(&str, Option<&str>)]) -> Vec<String> {
        let units: Vec<_> = units
            .iter()
            .map(|(id, parent)| ListedUnit {
                id: (*id).to_owned(),
                name: Some(id.to_uppercase()),
                parent_id: parent.map(str::to_owned),
                raw: Value::Null,
            })
            .collect();
        tree_rows(&units)
    }

    #[test]
    fn units_are_drawn_below_their_parents() {
        let rows = rows(&[
            ("b", Some("a")),
            ("a", Some("elsewhere")),
            ("d", None),
            ("c", Some("b")),
            ("e", Some("a")),
        ]);
        assert_eq!(rows, ["A  a", "  B  b", "    C  c", "  E  e", "D  d"]);
    }

    #[test]
    fn every_unit_is_drawn_once() {
        let rows = rows(&[
            ("a", Some("b")),
            ("b", Some("a")),
            ("c", Some("c")),
            ("d", None),
        ]);
        assert_eq!(rows, ["D  d", "A  a", "  B  b", "C  c"]);
    }
}
