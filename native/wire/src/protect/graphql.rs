//! A GraphQL request under a policy: its variables as rules say, its query as it is, where it holds no data.
//!
//! Data stands in variables, where rules can select it. What of it the query itself says (a text, a number, a
//! word of an enumeration) would pass all rules by: it goes only where its argument has a rule. Comments have
//! none. A query is read by the grammar of executable documents (October 2021, §2) and nothing else.

use std::collections::HashSet;

use super::act::{Outcome, Value};
use super::document;
use super::selector::Target;
use super::told::{At, Breach, Place, Told};
use crate::error::Code;
use crate::graphql::{Lexer, Token};
use crate::json::{DEPTH_MAX, Node, VALUES_MAX};

/// Why a query is refused, as the end of a sentence. Never what stands in it.
type Fault = &'static str;

/// What of a query rules and other members can be about.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query<'d> {
    /// None for the one that has no name.
    operations: Vec<Option<&'d str>>,
    literals: Vec<Literal<'d>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Literal<'d> {
    /// The argument it is in, or the variable it is the default of.
    argument: &'d str,
    text: &'d str,
}

/// Read, rewrite and write a body.
pub fn rewrite(body: &[u8], told: &mut Told<'_>) -> Result<Vec<u8>, Breach> {
    let root =
        Node::read(body).map_err(|why| Breach::new(Code::Unparseable, format!("The JSON body {why}.")))?;
    let Node::Map(members) = &root else {
        return Err(unparseable("The GraphQL request is not one object. Send queries one by one."));
    };
    let member = |name: &str| members.iter().find(|(known, _)| known == name).map(|(_, node)| node);
    let Some(Node::Text(text)) = member("query") else {
        return Err(unparseable("The GraphQL request has no text as its `query`."));
    };
    let query = Query::read(text)
        .map_err(|why| Breach::new(Code::Unparseable, format!("The GraphQL query {why}.")))?;
    for literal in &query.literals {
        judge(literal, told)?;
    }
    told.passes(None, text, &Place::named("graphql", "query"))?;
    let rules = told.policy.rules_in(|target| match target {
        Target::Graphql(path) => Some(path),
        _ => None,
    });
    let mut fresh = Vec::with_capacity(members.len());
    for (name, node) in members {
        let kept = match (&**name, node) {
            ("query", node) | ("variables" | "operationName" | "extensions", node @ Node::Null) => {
                Some(node.clone())
            }
            ("operationName", Node::Text(operation)) => {
                if !query.operations.contains(&Some(&**operation)) {
                    return Err(unparseable("`operationName` names no operation of the GraphQL query."));
                }
                Some(node.clone())
            }
            ("variables", node @ Node::Map(_)) => {
                let place = Place::document("graphql", None);
                Some(document::rewritten(node, &rules, None, place, told)?)
            }
            ("variables" | "operationName", _) => {
                return Err(unparseable("`variables` is no object, or `operationName` no text."));
            }
            (name, node) => {
                let mut place = Place::document("body", None);
                place.push(At::Name(name));
                document::claimed(node, &[], None, place, told)?
            }
        };
        fresh.extend(kept.map(|node| (name.clone(), node)));
    }
    document::written(&Node::Map(fresh))
}

fn unparseable(why: &'static str) -> Breach {
    Breach::new(Code::Unparseable, why)
}

/// A literal goes by a rule for its argument, or the request does not.
fn judge(literal: &Literal<'_>, told: &mut Told<'_>) -> Result<(), Breach> {
    let place = Place::argument(literal.argument);
    let rule = told.policy.rules.iter().position(
        |rule| matches!(&rule.target, Target::Literal(argument) if **argument == *literal.argument),
    );
    let text = literal.text.trim_matches('"');
    if rule.is_some() {
        return told.act(rule, Value::Text(text), &place).map(|_| ());
    }
    let detail = format!(
        "The GraphQL query itself has a value in `{place}`, where policy `{}` has no rule for it. Send it as a variable, or add a rule for that argument.",
        told.policy.name
    );
    let breach = Breach::new(Code::UndeclaredField, detail);
    told.refuse(Value::Text(text), &place, breach).map(|_: Outcome| ())
}

impl<'d> Query<'d> {
    fn read(text: &'d str) -> Result<Self, Fault> {
        let mut reader =
            Reader { lexer: Lexer::new(text), token: Token::End, left: VALUES_MAX, query: Self::default() };
        reader.step()?;
        while reader.token != Token::End {
            reader.definition()?;
        }
        let operations = &reader.query.operations;
        if operations.is_empty() {
            return Err("has no operation");
        }
        let names: HashSet<_> = operations.iter().collect();
        if names.len() < operations.len() || operations.len() > 1 && operations.contains(&None) {
            return Err("has two operations of one name, or of none");
        }
        Ok(reader.query)
    }
}

const WRONG: Fault = "is not as GraphQL has it";

struct Reader<'d> {
    lexer: Lexer<'d>,
    token: Token<'d>,
    left: usize,
    query: Query<'d>,
}

impl<'d> Reader<'d> {
    fn step(&mut self) -> Result<(), Fault> {
        self.left = self.left.checked_sub(1).ok_or("has more than 10,000 words")?;
        self.token = self.lexer.token().ok_or(WRONG)?;
        match self.token {
            Token::Comment => Err("has a comment, which no rule can be for. Leave it out"),
            Token::ByteOrderMark => Err("has a byte order mark"),
            _ => Ok(()),
        }
    }

    fn takes(&mut self, mark: u8) -> Result<bool, Fault> {
        let is_next = self.token == Token::Mark(mark);
        if is_next {
            self.step()?;
        }
        Ok(is_next)
    }

    fn needs(&mut self, mark: u8) -> Result<(), Fault> {
        if self.takes(mark)? { Ok(()) } else { Err(WRONG) }
    }

    fn name(&mut self) -> Result<&'d str, Fault> {
        let Token::Name(name) = self.token else { return Err(WRONG) };
        self.step()?;
        Ok(name)
    }

    fn definition(&mut self) -> Result<(), Fault> {
        if self.token == Token::Mark(b'{') {
            self.query.operations.push(None);
            return self.selections(DEPTH_MAX);
        }
        match self.name()? {
            "query" | "mutation" | "subscription" => {
                let name = if matches!(self.token, Token::Name(_)) { Some(self.name()?) } else { None };
                self.query.operations.push(name);
                self.variables()?;
            }
            "fragment" => {
                if self.name()? == "on" || self.name()? != "on" {
                    return Err(WRONG);
                }
                self.name()?;
            }
            _ => return Err("has something other than operations and fragments"),
        }
        self.directives()?;
        self.selections(DEPTH_MAX)
    }

    fn variables(&mut self) -> Result<(), Fault> {
        if !self.takes(b'(')? {
            return Ok(());
        }
        loop {
            self.needs(b'$')?;
            let name = self.name()?;
            self.needs(b':')?;
            self.kind(DEPTH_MAX)?;
            if self.takes(b'=')? {
                self.value(name, false, DEPTH_MAX)?;
            }
            self.directives()?;
            if self.takes(b')')? {
                return Ok(());
            }
        }
    }

    fn kind(&mut self, depth: usize) -> Result<(), Fault> {
        if self.takes(b'[')? {
            self.kind(deeper(depth)?)?;
            self.needs(b']')?;
        } else {
            self.name()?;
        }
        self.takes(b'!').map(|_| ())
    }

    fn selections(&mut self, depth: usize) -> Result<(), Fault> {
        let depth = deeper(depth)?;
        self.needs(b'{')?;
        loop {
            if self.token == Token::Spread {
                self.step()?;
                match self.token {
                    Token::Name("on") => {
                        self.step()?;
                        self.name()?;
                        self.directives()?;
                        self.selections(depth)?;
                    }
                    Token::Name(_) => {
                        self.step()?;
                        self.directives()?;
                    }
                    _ => {
                        self.directives()?;
                        self.selections(depth)?;
                    }
                }
            } else {
                self.name()?;
                if self.takes(b':')? {
                    self.name()?;
                }
                self.arguments()?;
                self.directives()?;
                if self.token == Token::Mark(b'{') {
                    self.selections(depth)?;
                }
            }
            if self.takes(b'}')? {
                return Ok(());
            }
        }
    }

    fn directives(&mut self) -> Result<(), Fault> {
        while self.takes(b'@')? {
            self.name()?;
            self.arguments()?;
        }
        Ok(())
    }

    fn arguments(&mut self) -> Result<(), Fault> {
        if !self.takes(b'(')? {
            return Ok(());
        }
        let mut seen = HashSet::new();
        loop {
            let name = self.name()?;
            if !seen.insert(name) {
                return Err("has an argument twice");
            }
            self.needs(b':')?;
            self.value(name, true, DEPTH_MAX)?;
            if self.takes(b')')? {
                return Ok(());
            }
        }
    }

    fn value(&mut self, argument: &'d str, may_vary: bool, depth: usize) -> Result<(), Fault> {
        match self.token {
            Token::Mark(b'$') if may_vary => {
                self.step()?;
                self.name()?;
            }
            Token::Mark(b'[') => {
                let depth = deeper(depth)?;
                self.step()?;
                while !self.takes(b']')? {
                    self.value(argument, may_vary, depth)?;
                }
            }
            Token::Mark(b'{') => {
                let depth = deeper(depth)?;
                self.step()?;
                let mut seen = HashSet::new();
                while !self.takes(b'}')? {
                    if !seen.insert(self.name()?) {
                        return Err("has an input field twice");
                    }
                    self.needs(b':')?;
                    self.value(argument, may_vary, depth)?;
                }
            }
            Token::Name("true" | "false" | "null") => self.step()?,
            Token::Name(text) | Token::Number(text) | Token::Text(text) => {
                // Escapes would have to be undone before anything is looked for in it.
                if text.contains('\\') {
                    return Err("has a text with an escape. Send it as a variable");
                }
                self.query.literals.push(Literal { argument, text });
                self.step()?;
            }
            _ => return Err(WRONG),
        }
        Ok(())
    }
}

fn deeper(depth: usize) -> Result<usize, Fault> {
    depth.checked_sub(1).ok_or("is nested deeper than 64 levels")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_the_grammar_has_it() {
        for text in [
            "{ me { name } }",
            "{me{name}}",
            "query A($id: ID!, $n: [Int!]! = [] @live, $o: In = {}) @live { user(id: $id) @skip(if: true) { a: b ...F } }
             fragment F on User @x { ... on Y { z } ... @include(if: $n) { q } ... { r } }",
            "mutation { pay(input: {amount: $amount, to: [$a, $b], at: null}) { id } }",
            "subscription S { a } query Q { b }",
            "{ query(mutation: $x) { fragment on } }",
        ] {
            assert_eq!(Query::read(text).map(|query| query.literals), Ok(vec![]), "{text}");
        }
        let text = "query Q($n: Int = 10) { a(b: \"x\", c: {d: [E, -1.5]}) @f(g: \"\"\"y\"\"\") { h } }";
        let found = Query::read(text).expect("a query");
        let literals: Vec<_> = found.literals.iter().map(|one| (one.argument, one.text)).collect();
        assert_eq!(found.operations, [Some("Q")]);
        assert_eq!(
            literals,
            [("n", "10"), ("b", "\"x\""), ("c", "E"), ("c", "-1.5"), ("g", "\"\"\"y\"\"\"")]
        );
    }

    #[test]
    fn what_is_no_query_or_hides_something_is_refused() {
        for text in [
            "",
            "{",
            "{}",
            "{ a } }",
            "{ a(b) }",
            "{ a() }",
            "{ a(b: ) }",
            "{ a(b: $) }",
            "{ a(b: $b, b: \"x\") }",
            "{ a(b: {c: 1, c: 2}) }",
            "{ a(b: \"\\u0041\") }",
            "{ a # jane\n }",
            "\u{feff}{ a }",
            "{ a } { b }",
            "{ a } query B { b }",
            "query A { a } query A { b }",
            "query A($a: Int = $b) { c }",
            "query A() { a }",
            "fragment F on X { a }",
            "fragment on on X { a } { b }",
            "{ a } fragment F X { a }",
            "{ a } type T { a: Int }",
            "{ a } extend type T { a: Int }",
            "{ a: b: c }",
            "{ a @ }",
            "{ ... on { a } }",
            "{ ä }",
        ] {
            assert!(Query::read(text).is_err(), "{text}");
        }
        let deep = |levels: usize| format!("{}{}", "{a".repeat(levels), "}".repeat(levels));
        assert!(Query::read(&deep(DEPTH_MAX)).is_ok());
        assert!(Query::read(&deep(DEPTH_MAX + 1)).is_err());
        let listed = |levels: usize| format!("{{a(b:{}{})}}", "[".repeat(levels), "]".repeat(levels));
        assert!(Query::read(&listed(DEPTH_MAX)).is_ok());
        assert!(Query::read(&listed(DEPTH_MAX + 1)).is_err());
        assert!(Query::read(&format!("{{{}}}", " a".repeat(VALUES_MAX))).is_err());
    }
}
