//! A table under a policy (`text/csv`, RFC 4180): columns by the names in its first row, written anew.
//!
//! What programs make of a quote within a field, of rows of other lengths or of an empty line differs; so none of
//! it is read. A value that a rule makes never begins as a formula does, unless it did before.

use std::borrow::Cow;
use std::collections::HashSet;

use super::act::{Act, Fresh, Outcome, Value};
use super::content::MediaType;
use super::document::{Claim, most_specific};
use super::selector::{Target, rank};
use super::told::{At, Breach, Place, Told};
use crate::error::Code;

/// Values in a table, the names of its columns too.
const CELLS_MAX: usize = 200_000;

/// Why a table is refused, as the end of a sentence. Never what stands in it.
type Fault = &'static str;

type Row<'b> = Vec<Cow<'b, str>>;

/// A column that goes out, and by which rule; None where nothing of it does.
type Column = Option<usize>;

/// Read, rewrite and write a body of this type.
pub fn rewrite(media_type: &MediaType, body: &[u8], told: &mut Told<'_>) -> Result<Vec<u8>, Breach> {
    let unparseable = |why: Fault| Breach::new(Code::Unparseable, format!("The table {why}."));
    if media_type.parameter("header").is_some_and(|header| header != "present") {
        return Err(unparseable("says that its first row does not name its columns"));
    }
    let rows = read(body).map_err(unparseable)?;
    let Some((names, rows)) = rows.split_first() else { return Err(unparseable("has no first row")) };
    let mut seen = HashSet::new();
    if names.iter().any(|name| name.is_empty() || !seen.insert(name)) {
        return Err(unparseable("has two columns of one name, or one without"));
    }
    let columns = names.iter().map(|name| column(name, told)).collect::<Result<Vec<_>, _>>()?;
    let goes = |rule: &usize| told.policy.rules[*rule].act != Act::Drop;
    let going: Vec<bool> = columns.iter().map(|rule| rule.as_ref().is_some_and(goes)).collect();
    let mut fresh: Vec<Row<'_>> = Vec::with_capacity(rows.len() + 1);
    if going.contains(&true) {
        fresh.push(
            names.iter().zip(&going).filter(|(_, goes)| **goes).map(|(name, _)| name.clone()).collect(),
        );
    }
    for (number, row) in rows.iter().enumerate() {
        let mut kept = Row::new();
        for ((cell, name), (rule, goes)) in row.iter().zip(names).zip(columns.iter().zip(&going)) {
            let Some(rule) = rule else { continue };
            let mut place = Place::named("csv", name);
            place.push(At::Index(number));
            // A row has all columns; what it leaves empty is no date, and no mistake.
            let value = if cell.is_empty() { Value::Nothing } else { Value::Text(cell) };
            let cell = match told.act(Some(*rule), value, &place)? {
                Outcome::Same => cell.clone(),
                Outcome::Gone | Outcome::File(_) => Cow::default(),
                Outcome::New(Fresh::Text(text) | Fresh::Number(text)) => {
                    if is_formula(&text) && !is_formula(cell) {
                        return Err(unparseable("would have a formula where it has none"));
                    }
                    Cow::Owned(text)
                }
            };
            if *goes {
                kept.push(cell);
            }
        }
        if !kept.is_empty() {
            fresh.push(kept);
        }
    }
    let written = written(&fresh);
    // What goes out is what a reader finds in it.
    if read(&written).as_ref() == Ok(&fresh) { Ok(written) } else { Err(Breach::garbled()) }
}

fn column(name: &str, told: &mut Told<'_>) -> Result<Column, Breach> {
    let place = Place::named("csv", name);
    let rules = &told.policy.rules;
    let claiming = rules.iter().enumerate().filter_map(|(number, rule)| match &rule.target {
        Target::Csv(step) if step.takes_name(name) => Some((number, rank(std::slice::from_ref(step)))),
        _ => None,
    });
    match most_specific(claiming) {
        Some(Claim { rule, rival: Some(rival) }) => {
            Err(Breach::two_rules(&rules[rule], &rules[rival], &place))
        }
        Some(Claim { rule, rival: None }) => told.trip(Some(rule), name, &place).map(|()| Some(rule)),
        None => told.act(None, Value::Nothing, &place).map(|_| None),
    }
}

/// What a program for tables would reckon with.
fn is_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r'])
}

/// The rows of a table, all of one length.
fn read(body: &[u8]) -> Result<Vec<Row<'_>>, Fault> {
    let text = std::str::from_utf8(body).map_err(|_| "is not UTF-8")?;
    if text.starts_with('\u{feff}') {
        return Err("begins with a byte order mark");
    }
    if text.contains('\0') {
        return Err("has a NUL");
    }
    let (mut rows, mut row, mut rest, mut cells) = (Vec::<Row<'_>>::new(), Row::new(), text, 0);
    let mut line_end = None;
    while !rest.is_empty() {
        if row.is_empty() && rest.starts_with(['\r', '\n']) {
            return Err("has an empty line");
        }
        cells += 1;
        if cells > CELLS_MAX {
            return Err("has more than 200,000 values");
        }
        let (cell, after) = cell(rest)?;
        row.push(cell);
        if let Some(after) = after.strip_prefix(',') {
            rest = after;
            if rest.is_empty() {
                row.push(Cow::default());
            } else {
                continue;
            }
        } else {
            let end = ["\r\n", "\n"].into_iter().find(|end| after.starts_with(end));
            rest = match end {
                Some(end) if *line_end.get_or_insert(end) == end => &after[end.len()..],
                None if after.is_empty() => after,
                _ => return Err("has a quote within a field, or lines that end in different ways"),
            };
        }
        if rows.first().is_some_and(|first| first.len() != row.len()) {
            return Err("has a row with more or fewer fields than its first");
        }
        rows.push(std::mem::take(&mut row));
    }
    Ok(rows)
}

/// The first field, and what comes after it.
fn cell(rest: &str) -> Result<(Cow<'_, str>, &str), Fault> {
    let Some(quoted) = rest.strip_prefix('"') else {
        let (cell, after) = rest.split_at(rest.find([',', '\r', '\n', '"']).unwrap_or(rest.len()));
        return Ok((Cow::Borrowed(cell), after));
    };
    let mut at = 0;
    loop {
        at += quoted[at..].find('"').ok_or("ends within a quoted field")?;
        if !quoted[at + 1..].starts_with('"') {
            break;
        }
        at += 2;
    }
    let (cell, after) = (&quoted[..at], &quoted[at + 1..]);
    let cell = if cell.contains('"') { Cow::Owned(cell.replace("\"\"", "\"")) } else { Cow::Borrowed(cell) };
    Ok((cell, after))
}

fn written(rows: &[Row<'_>]) -> Vec<u8> {
    let mut out = String::new();
    for row in rows {
        for (number, cell) in row.iter().enumerate() {
            if number > 0 {
                out.push(',');
            }
            // A line of nothing is no row to some.
            let is_quoted = cell.is_empty() && row.len() == 1
                || cell.contains([',', '"', '\r', '\n'])
                || cell.trim().len() < cell.len();
            if is_quoted {
                out.push('"');
                out.push_str(&cell.replace('"', "\"\""));
                out.push('"');
            } else {
                out.push_str(cell);
            }
        }
        out.push_str("\r\n");
    }
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_as_it_was(
            rows in (1usize..4).prop_flat_map(|width| {
                prop::collection::vec(prop::collection::vec("[a,\"\\r\\n =ä]{0,4}", width), 1..6)
            }),
        ) {
            let rows: Vec<Row<'_>> =
                rows.into_iter().map(|row| row.into_iter().map(Cow::Owned).collect()).collect();
            let written = written(&rows);
            prop_assert_eq!(read(&written), Ok(rows));
        }
    }

    #[test]
    fn a_table_is_read_as_rfc_4180_has_it() {
        let rows = |text: &'static str| {
            let rows = read(text.as_bytes()).expect(text);
            rows.into_iter().map(|row| row.iter().map(ToString::to_string).collect()).collect::<Vec<Vec<_>>>()
        };
        assert_eq!(rows("a,b\r\n1,\"x,\"\"y\"\"\r\nz\"\r\n"), [["a", "b"], ["1", "x,\"y\"\r\nz"]]);
        assert_eq!(rows("a,b\n1,\n,2"), [["a", "b"], ["1", ""], ["", "2"]]);
        assert_eq!(rows("a,b\r\n1,"), [["a", "b"], ["1", ""]]);
        assert_eq!(rows("a\r\n\"\"\r\n"), [["a"], [""]]);
        assert_eq!(rows(""), Vec::<Vec<String>>::new());
    }

    #[test]
    fn what_two_programs_read_differently_is_refused() {
        for text in [
            "\u{feff}a,b\r\n",
            "a,b\r\n1\r\n",
            "a,b\r\n1,2,3\r\n",
            "a,b\r\n1,2,\r\n",
            "a,b\r\n\r\n1,2\r\n",
            "a\r\n\r\n",
            "\r\na\r\n",
            "a,b\r\n1,x\"y\"\r\n",
            "a,b\r\n1,\"x\"y\r\n",
            "a,b\r\n1,\"x\" \r\n",
            "a,b\r\n1, \"x\"\r\n",
            "a,b\r\n1,\"x",
            "a,b\r\n1,\"x\"\"",
            "a,b\r\n1,2\n",
            "a,b\n1,2\r\n",
            "a,b\r1,2\r",
            "a,b\r\n1,x\ry\r\n",
            "a,b\r\n1,x\ny\r\n",
            "a,b\r\n1,\0\r\n",
        ] {
            assert!(read(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(read(b"a,b\r\n1,\xff\r\n").is_err());
        assert!(read("a\n".repeat(CELLS_MAX).as_bytes()).is_ok());
        assert!(read("a\n".repeat(CELLS_MAX + 1).as_bytes()).is_err());
    }
}
