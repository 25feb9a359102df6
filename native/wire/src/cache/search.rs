//! Query parameters that part no answers: as the operator declares them, or as the provider says itself by
//! `No-Vary-Search` (draft-ietf-httpbis-no-vary-search). The key alone is changed, never what is sent.

use std::borrow::Cow;

use http::HeaderMap;
use sfv::{BareItem, Dictionary, InnerList, ListEntry, Parser};

use crate::cache::rules::Rules;
use crate::route::path::decode_name;

/// How a query is brought into the form that is keyed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct SearchRule {
    pub sort: bool,
    pub ignored: Ignored,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ignored {
    Named(Vec<Box<str>>),
    AllBut(Vec<Box<str>>),
}

impl Default for Ignored {
    fn default() -> Self {
        Self::Named(Vec::new())
    }
}

impl SearchRule {
    pub fn declared(rules: &Rules) -> Self {
        Self { sort: rules.sort, ignored: Ignored::Named(rules.ignore.clone()) }
    }

    /// What an answer says of its own query; None where it says nothing, or nothing that can be read: then
    /// the query is keyed as it is.
    pub fn said(answer: &HeaderMap) -> Option<Self> {
        let mut lines = answer.get_all("no-vary-search").iter();
        let value = lines.next()?.to_str().ok()?;
        if lines.next().is_some() {
            return None;
        }
        let dictionary: Dictionary = Parser::new(value).parse().ok()?;
        let mut rule = Self::default();
        let mut named = None;
        for (key, member) in &dictionary {
            match (key.as_str(), member) {
                ("key-order", ListEntry::Item(item)) => rule.sort = item.bare_item == BareItem::Boolean(true),
                ("params", ListEntry::InnerList(list)) => named = Some(Ignored::Named(strings(list)?)),
                ("except", ListEntry::InnerList(list)) if !dictionary.contains_key("params") => {
                    named = Some(Ignored::AllBut(strings(list)?));
                }
                ("key-order" | "params" | "except", _) => return None,
                _ => {}
            }
        }
        rule.ignored = named.unwrap_or_default();
        (rule != Self::default()).then_some(rule)
    }

    fn keeps(&self, name: &str) -> bool {
        match &self.ignored {
            Ignored::Named(names) => !names.iter().any(|known| **known == *name),
            Ignored::AllBut(names) => names.iter().any(|known| **known == *name),
        }
    }

    /// The query as it is keyed.
    pub fn apply<'q>(&self, query: Option<&'q str>) -> Option<Cow<'q, str>> {
        let query = query?;
        if *self == Self::default() {
            return Some(Cow::Borrowed(query));
        }
        let mut kept: Vec<(Cow<'_, str>, &str)> = query
            .split('&')
            .map(|pair| (decode_name(pair.split('=').next().unwrap_or_default()), pair))
            .filter(|(name, _)| self.keeps(name))
            .collect();
        if self.sort {
            // Values of one name stay in their order: it may mean something.
            kept.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        let kept: Vec<&str> = kept.into_iter().map(|(_, pair)| pair).collect();
        // Nothing left is the same as nothing there.
        (!kept.is_empty()).then(|| Cow::Owned(kept.join("&")))
    }
}

fn strings(list: &InnerList) -> Option<Vec<Box<str>>> {
    list.items
        .iter()
        .map(|item| match &item.bare_item {
            BareItem::String(text) => Some(decode_name(text.as_str()).into_owned().into_boxed_str()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn said(value: &str) -> Option<SearchRule> {
        let mut headers = HeaderMap::new();
        headers.insert("no-vary-search", HeaderValue::from_str(value).expect("value"));
        SearchRule::said(&headers)
    }

    fn apply(rule: &SearchRule, query: &str) -> Option<String> {
        rule.apply(Some(query)).map(Cow::into_owned)
    }

    #[test]
    fn a_query_is_keyed_by_what_is_left_of_it() {
        let rule = said("key-order, params=(\"utm\" \"a b\")").expect("rule");
        assert_eq!(apply(&rule, "b=2&utm=1&a+b=3&a=1&b=1").as_deref(), Some("a=1&b=2&b=1"));
        assert_eq!(apply(&rule, "utm=1&%75tm=2"), None);
        let except = said("except=(\"id\")").expect("rule");
        assert_eq!(apply(&except, "x=1&id=7&y").as_deref(), Some("id=7"));
        assert_eq!(apply(&SearchRule::default(), "b&a&&").as_deref(), Some("b&a&&"));
    }

    #[test]
    fn what_is_not_well_formed_changes_nothing() {
        for ill in [
            "params, except=(\"a\")",
            "params=\"a\"",
            "params=(a)",
            "key-order=(\"a\")",
            "params=(\"a\"",
            "x",
            "",
        ] {
            assert_eq!(said(ill), None, "{ill}");
        }
        assert_eq!(said("params=(\"a\"), except=(\"b\")"), None);
    }
}
