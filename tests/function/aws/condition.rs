//! DynamoDB's condition expressions, as far as the ledger needs them.

use std::{cmp::Ordering, collections::HashSet, iter::Peekable, vec::IntoIter};

use serde_json::Value;

use super::{dynamodb::assert_plausible, item::PlainItem};

/// A condition on the item that a write finds.
pub(super) enum Condition {
    Exists(String),
    Compare(Operand, Comparator, Operand),
    Not(Box<Condition>),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
}

pub(super) enum Operand {
    Attribute(String),
    Value(Value),
}

/// Whether the order of two operands satisfies the comparison; they have none if one is absent or
/// their types differ.
type Comparator = fn(Option<Ordering>) -> bool;

impl Condition {
    /// Parses an expression with its names and values; panics at what DynamoDB would reject.
    pub(super) fn parse(expression: &str, names: &PlainItem, values: &PlainItem) -> Self {
        let unused = names
            .keys()
            .chain(values.keys())
            .map(String::as_str)
            .collect();
        let mut parser = ConditionParser {
            tokens: tokens(expression).into_iter().peekable(),
            names,
            values,
            unused,
        };
        let condition = parser.or();
        assert_eq!(
            parser.tokens.next(),
            None,
            "unexpected text after the condition: {expression}"
        );
        assert!(
            parser.unused.is_empty(),
            "{expression} does not use {:?}",
            parser.unused
        );
        condition
    }

    pub(super) fn holds(&self, item: Option<&PlainItem>) -> bool {
        match self {
            Self::Exists(name) => item.is_some_and(|item| item.contains_key(name)),
            Self::Compare(left, comparator, right) => {
                comparator(order(left.of(item), right.of(item)))
            }
            Self::Not(condition) => !condition.holds(item),
            Self::And(left, right) => left.holds(item) && right.holds(item),
            Self::Or(left, right) => left.holds(item) || right.holds(item),
        }
    }
}

impl Operand {
    fn of<'a>(&'a self, item: Option<&'a PlainItem>) -> Option<&'a Value> {
        match self {
            Self::Attribute(name) => item?.get(name),
            Self::Value(value) => Some(value),
        }
    }
}

fn order(left: Option<&Value>, right: Option<&Value>) -> Option<Ordering> {
    match (left?, right?) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) => match (left.as_i64(), right.as_i64()) {
            (Some(left), Some(right)) => Some(left.cmp(&right)),
            _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
        },
        (left, right) => (left == right).then_some(Ordering::Equal),
    }
}

/// Parses a comparator. `<>` is the only one that holds for an absent attribute.
fn comparator(token: &str) -> Comparator {
    match token {
        "=" => |order| order == Some(Ordering::Equal),
        "<>" => |order| order != Some(Ordering::Equal),
        "<" => |order| order == Some(Ordering::Less),
        "<=" => |order| order.is_some_and(Ordering::is_le),
        ">" => |order| order == Some(Ordering::Greater),
        ">=" => |order| order.is_some_and(Ordering::is_ge),
        other => panic!("not a comparator: {other}"),
    }
}

fn tokens(expression: &str) -> Vec<&str> {
    let (mut tokens, mut rest) = (Vec::new(), expression.trim_start());
    while !rest.is_empty() {
        let symbol = ["<>", "<=", ">=", "=", "<", ">", "(", ")"]
            .into_iter()
            .find(|symbol| rest.starts_with(symbol));
        let is_end = |c: char| !c.is_ascii_alphanumeric() && !"_#:".contains(c);
        let length = symbol.map_or_else(|| rest.find(is_end).unwrap_or(rest.len()), str::len);
        assert!(length > 0, "unexpected text in a condition: {rest}");
        let (token, after) = rest.split_at(length);
        tokens.push(token);
        rest = after.trim_start();
    }
    tokens
}

struct ConditionParser<'a> {
    tokens: Peekable<IntoIter<&'a str>>,
    names: &'a PlainItem,
    values: &'a PlainItem,
    /// Names and values that no operand has used yet: DynamoDB rejects unused ones.
    unused: HashSet<&'a str>,
}

impl<'a> ConditionParser<'a> {
    fn or(&mut self) -> Condition {
        let mut left = self.and();
        while self.takes("OR") {
            left = Condition::Or(Box::new(left), Box::new(self.and()));
        }
        left
    }

    fn and(&mut self) -> Condition {
        let mut left = self.not();
        while self.takes("AND") {
            left = Condition::And(Box::new(left), Box::new(self.not()));
        }
        left
    }

    fn not(&mut self) -> Condition {
        if self.takes("NOT") {
            Condition::Not(Box::new(self.not()))
        } else {
            self.primary()
        }
    }

    fn primary(&mut self) -> Condition {
        if self.takes("(") {
            let condition = self.or();
            assert!(self.takes(")"), "an unclosed parenthesis");
            condition
        } else if self.takes("attribute_exists") {
            self.exists()
        } else if self.takes("attribute_not_exists") {
            Condition::Not(Box::new(self.exists()))
        } else {
            self.comparison()
        }
    }

    fn exists(&mut self) -> Condition {
        assert!(self.takes("("), "a function without its parenthesis");
        let Operand::Attribute(name) = self.operand() else {
            panic!("a value always exists")
        };
        assert!(self.takes(")"), "a function with more than one operand");
        Condition::Exists(name)
    }

    fn comparison(&mut self) -> Condition {
        let (left, comparator, right) = (self.operand(), comparator(self.next()), self.operand());
        if let (Operand::Attribute(name), Operand::Value(value))
        | (Operand::Value(value), Operand::Attribute(name)) = (&left, &right)
        {
            assert_plausible(name, value);
        }
        Condition::Compare(left, comparator, right)
    }

    fn operand(&mut self) -> Operand {
        let token = self.next();
        self.unused.remove(token);
        match token.chars().next() {
            Some(':') => Operand::Value(
                self.values
                    .get(token)
                    .unwrap_or_else(|| panic!("no value for {token}"))
                    .clone(),
            ),
            Some('#') => {
                let name = self
                    .names
                    .get(token)
                    .unwrap_or_else(|| panic!("no name for {token}"));
                Operand::Attribute(name.as_str().unwrap().to_owned())
            }
            _ => {
                assert!(
                    token.starts_with(|c: char| c.is_ascii_alphabetic()),
                    "not an operand: {token}"
                );
                Operand::Attribute(token.to_owned())
            }
        }
    }

    fn next(&mut self) -> &'a str {
        self.tokens.next().expect("the condition ends too early")
    }

    fn takes(&mut self, token: &str) -> bool {
        self.tokens.next_if_eq(&token).is_some()
    }
}
