//! Extra columns that filters ask for: a group's name or a moment in time, for each anchor and each document.

use std::sync::Arc;

use hardrock_core::ABSENT;

use super::ids::Ids;
use super::record::{Place, Scalar};
use crate::Result;

/// How a column is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// A name: equal or not equal.
    Label,
    /// A moment: a number that grows with time, a year, or an ISO date.
    Time,
}

/// A column that a filter needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnSpec {
    /// A field of the record, or `object.field` (`metadata.year`).
    pub name: String,
    /// How it is understood.
    pub kind: ColumnKind,
}

/// A column of one table, one value per record.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// Moments, `[records]`: numbers as they stand, dates as years with fraction (2019.5); `None` where there is none.
    Number(Vec<Option<f64>>),
    /// Labels, `[records]`: numbers into `names`, which anchors and documents share; [`ABSENT`] where there is none.
    Label {
        /// Number of each record's label.
        values: Vec<u32>,
        /// The labels in order of first appearance.
        names: Arc<Vec<String>>,
    },
}

/// A column while its table is read.
#[derive(Debug, PartialEq)]
pub(crate) enum Values {
    Number(Vec<Option<f64>>),
    Label(Vec<u32>),
}

impl Values {
    pub(crate) fn new(kind: ColumnKind) -> Self {
        match kind {
            ColumnKind::Time => Self::Number(Vec::new()),
            ColumnKind::Label => Self::Label(Vec::new()),
        }
    }

    /// Adds a record's value.
    pub(crate) fn push(&mut self, value: Value) {
        match (self, value) {
            (Self::Number(v), Value::Number(x)) => v.push(Some(x)),
            (Self::Number(v), _) => v.push(None),
            (Self::Label(v), Value::Label(n)) => v.push(n),
            (Self::Label(v), _) => v.push(ABSENT),
        }
    }

    /// Gives a record a value that has none yet.
    pub(crate) fn fill(&mut self, record: u32, value: Value) {
        let i = record as usize;
        match (self, value) {
            (Self::Number(v), Value::Number(x)) => {
                if let Some(slot @ None) = v.get_mut(i) {
                    *slot = Some(x);
                }
            }
            (Self::Label(v), Value::Label(n)) => {
                if let Some(slot) = v.get_mut(i).filter(|slot| **slot == ABSENT) {
                    *slot = n;
                }
            }
            _ => {}
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Number(v) => v.iter().all(Option::is_none),
            Self::Label(v) => v.iter().all(|&n| n == ABSENT),
        }
    }

    pub(crate) fn finish(self, names: &Arc<Vec<String>>) -> Column {
        match self {
            Self::Number(v) => Column::Number(v),
            Self::Label(values) => Column::Label { values, names: names.clone() },
        }
    }
}

/// A record's value of a column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value {
    None,
    Number(f64),
    Label(u32),
}

impl Value {
    /// Reads a field; `labels` numbers the names.
    pub(crate) fn read(
        place: Place<'_>,
        spec: &ColumnSpec,
        field: &Scalar<'_>,
        labels: &mut Ids,
    ) -> Result<Self> {
        let wrong = |problem: String, help: &str| Err(place.error(problem, help).field(&spec.name));
        match (spec.kind, field) {
            (_, Scalar::Absent | Scalar::Null) => Ok(Self::None),
            (_, Scalar::Text(t)) if t.trim().is_empty() => Ok(Self::None),
            (ColumnKind::Label, Scalar::Text(t)) => Ok(Self::Label(labels.intern(t).0)),
            (ColumnKind::Label, Scalar::Bool(_) | Scalar::Int(_)) => {
                Ok(Self::Label(labels.intern(&field.kind()).0))
            }
            (ColumnKind::Label, Scalar::Float(x)) if x.is_finite() => {
                Ok(Self::Label(labels.intern(&x.to_string()).0))
            }
            (ColumnKind::Label, _) => {
                wrong(format!("{} is no label", field.kind()), "a label is one string or number")
            }
            (ColumnKind::Time, Scalar::Int(n)) => Ok(Self::Number(*n as f64)),
            (ColumnKind::Time, Scalar::Float(x) | Scalar::Years(x)) if x.is_finite() => Ok(Self::Number(*x)),
            (ColumnKind::Time, Scalar::Text(t)) => match time(t) {
                Some(x) => Ok(Self::Number(x)),
                None => wrong(format!("{} is no time", field.kind()), TIMES),
            },
            (ColumnKind::Time, _) => wrong(format!("{} is no time", field.kind()), TIMES),
        }
    }
}

const TIMES: &str = "a time is a number, a year, or an ISO date such as 2019-05-31 or 2019-05-31T12:00:00Z";

/// A moment from text: a number as it stands, an ISO date or date and time as years with fraction.
pub fn time(text: &str) -> Option<f64> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        return number.is_finite().then_some(number);
    }
    let (date, clock) = match text.find(['T', 't', ' ']) {
        Some(at) => (text.get(..at)?, text.get(at + 1..)?),
        None => (text, ""),
    };
    let mut parts = date.split('-');
    let year: i64 = digits(parts.next()?, 4)? as i64;
    let month = digits(parts.next()?, 2)?;
    let day = parts.next().map_or(Some(1), |d| digits(d, 2))?;
    if parts.next().is_some() || !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    let seconds = if clock.is_empty() { 0.0 } else { seconds_of(clock)? };
    let days: u64 = (1..month).map(|m| days_in(year, m)).sum::<u64>() + day - 1;
    Some(year as f64 + (days as f64 * 86_400.0 + seconds) / (days_in_year(year) as f64 * 86_400.0))
}

/// Seconds since midnight UTC of `HH:MM[:SS[.f]]` with an optional zone (`Z`, `+02:00`).
fn seconds_of(clock: &str) -> Option<f64> {
    let clock = clock.trim_end_matches(['Z', 'z']);
    let (clock, zone) = match clock.find(['+', '-']) {
        Some(at) => {
            let (sign, rest) =
                (if clock.as_bytes().get(at) == Some(&b'-') { -1.0 } else { 1.0 }, clock.get(at + 1..)?);
            let (hours, minutes) = match rest.len() {
                2 => (rest, "00"),
                4 => (rest.get(..2)?, rest.get(2..)?),
                _ => rest.split_once(':')?,
            };
            (clock.get(..at)?, sign * (digits(hours, 2)? * 3600 + digits(minutes, 2)? * 60) as f64)
        }
        None => (clock, 0.0),
    };
    let mut parts = clock.trim_end().split(':');
    let (hours, minutes) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let seconds = match parts.next() {
        None => 0.0,
        Some(s) if s.bytes().all(|b| b.is_ascii_digit() || b == b'.') => s.parse::<f64>().ok()?,
        Some(_) => return None,
    };
    if parts.next().is_some() || hours > 24 || minutes > 59 || seconds >= 61.0 {
        return None;
    }
    Some((hours * 3600 + minutes * 60) as f64 + seconds - zone)
}

/// A number of exactly `width` digits.
fn digits(text: &str, width: usize) -> Option<u64> {
    (text.len() == width && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_year(year: i64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_in(year: i64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Seconds since 1970 UTC as years with fraction, as [`time`] gives them for dates.
pub(crate) fn years_of_seconds(seconds: f64) -> f64 {
    // Whole Gregorian cycles of 400 years first, so that the loop below is short.
    const CYCLE: f64 = 146_097.0 * 86_400.0;
    let cycles = (seconds / CYCLE).floor();
    let mut rest = seconds - cycles * CYCLE;
    let mut year = 1970;
    loop {
        let length = days_in_year(year) as f64 * 86_400.0;
        if rest < length {
            return cycles * 400.0 + year as f64 + rest / length;
        }
        rest -= length;
        year += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_years_and_dates_compare() {
        assert_eq!(time("2019"), Some(2019.0));
        assert_eq!(time("2019-01-01"), Some(2019.0));
        assert_eq!(time(" 1.5e3 "), Some(1500.0));
        assert_eq!(time("2020-07"), Some(2020.0 + 182.0 / 366.0));
        let noon = time("2019-12-31T12:00:00Z").unwrap();
        assert!(time("2019-12-31").unwrap() < noon && noon < 2020.0);
        assert_eq!(time("2019-12-31T14:00:00+02:00"), Some(noon));
        assert_eq!(time("2019-12-31 12:00"), Some(noon));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "May 2019", "2019-13-01", "2019-02-29", "NaN", "inf", "19-05-31", "2019-05-31T1:2"] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn seconds_since_1970_agree_with_dates() {
        for (text, days) in
            [("1970-01-01", 0.0), ("2000-03-01", 11_017.0), ("1969-12-31", -1.0), ("2400-02-29", 157_113.0)]
        {
            let (a, b) = (time(text).unwrap(), years_of_seconds(days * 86_400.0));
            assert!((a - b).abs() < 1e-9, "{text}: {a} {b}");
        }
        assert!(years_of_seconds(f64::from(i32::MAX) * 86_400.0).is_finite());
    }
}
