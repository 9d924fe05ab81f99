//! Parquet tables, read batch by batch, only the columns that are wanted.

use std::borrow::Cow;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::bad_rows::BadRows;
use super::column::years_of_seconds;
use super::input;
use super::record::{Each, Fields, Place, Scalar};
use crate::{Error, Result};

/// Rows decoded at a time.
const BATCH: usize = 1024;

type Builder = ParquetRecordBatchReaderBuilder<std::fs::File>;

fn open(path: &Path) -> Result<Builder> {
    let file = input::open_file(path)?;
    // The plain Parquet types are enough, and spare us the many ways in which Arrow spells a string.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).map_err(Error::format(path))
}

/// Names of the columns; the fields of an object column follow as `object.field`.
pub(crate) fn names(path: &Path) -> Result<Vec<String>> {
    Ok(places(&open(path)?).into_iter().map(|(name, _, _)| name).collect())
}

/// Name, root column, column inside the root (if it is an object).
fn places(builder: &Builder) -> Vec<(String, usize, Option<usize>)> {
    let mut places = Vec::new();
    for (root, field) in builder.schema().fields().iter().enumerate() {
        places.push((field.name().clone(), root, None));
        if let DataType::Struct(inner) = field.data_type() {
            let inside = inner.iter().enumerate();
            places.extend(inside.map(|(i, f)| (format!("{}.{}", field.name(), f.name()), root, Some(i))));
        }
    }
    places
}

/// Reads a Parquet file row by row; rows are numbered from 1.
pub(crate) fn for_each(path: &Path, fields: &Fields, bad: &mut BadRows, each: &mut Each<'_>) -> Result<()> {
    let builder = open(path)?;
    let places = places(&builder);
    let names: Vec<String> = places.iter().map(|(name, _, _)| name.clone()).collect();
    let slots: Vec<Option<(usize, Option<usize>)>> = fields
        .columns(path, None, &names)?
        .into_iter()
        .map(|column| column.and_then(|c| places.get(c)).map(|&(_, root, inner)| (root, inner)))
        .collect();
    let mut roots: Vec<usize> = slots.iter().flatten().map(|&(root, _)| root).collect();
    roots.sort_unstable();
    roots.dedup();
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots.iter().copied());
    let reader = builder.with_projection(mask).with_batch_size(BATCH).build().map_err(Error::format(path))?;
    let mut line = 0;
    for batch in reader {
        let batch = batch.map_err(|e| {
            Error::input(
                path,
                None,
                format!("cannot be read after row {line}: {e}"),
                "fetch or write the file again",
            )
        })?;
        let arrays: Vec<Option<ArrayRef>> =
            slots.iter().map(|slot| slot.and_then(|place| array(&batch, &roots, place))).collect();
        let cells: Vec<Option<Cell<'_>>> = arrays.iter().map(|a| a.as_deref().map(cell)).collect();
        for i in 0..batch.num_rows() {
            line += 1;
            let mut row: Vec<Scalar<'_>> = cells.iter().map(|c| at(c, i)).collect();
            let outcome = each(Place { path, line }, &mut row);
            bad.settle(outcome, || {
                let told = cells.iter().enumerate().map(|(s, c)| (fields.name(s), json(at(c, i))));
                serde_json::Value::Object(told.map(|(k, v)| (k.to_owned(), v)).collect()).to_string()
            })?;
        }
    }
    Ok(())
}

fn array(batch: &RecordBatch, roots: &[usize], (root, inner): (usize, Option<usize>)) -> Option<ArrayRef> {
    let column = batch.columns().get(roots.binary_search(&root).ok()?)?;
    match inner {
        None => Some(column.clone()),
        Some(i) => column.as_struct_opt()?.columns().get(i).cloned(),
    }
}

/// Reads one cell of a column.
type Cell<'a> = Box<dyn Fn(usize) -> Scalar<'a> + 'a>;

fn at<'a>(cell: &Option<Cell<'a>>, i: usize) -> Scalar<'a> {
    cell.as_ref().map_or(Scalar::Absent, |c| c(i))
}

fn cell(array: &dyn Array) -> Cell<'_> {
    macro_rules! number {
        ($kind:ty, $to:expr) => {{
            let values = array.as_primitive::<$kind>();
            Box::new(move |i| if values.is_null(i) { Scalar::Null } else { $to(values.value(i)) })
        }};
    }
    macro_rules! text {
        ($values:expr) => {{
            let values = $values;
            Box::new(move |i| {
                if values.is_null(i) { Scalar::Null } else { Scalar::Text(Cow::Borrowed(values.value(i))) }
            })
        }};
    }
    macro_rules! moment {
        ($kind:ty, $per_second:expr) => {
            number!($kind, |v: i64| Scalar::Years(years_of_seconds(v as f64 / $per_second)))
        };
    }
    match array.data_type() {
        DataType::Utf8 => text!(array.as_string::<i32>()),
        DataType::LargeUtf8 => text!(array.as_string::<i64>()),
        DataType::Utf8View => text!(array.as_string_view()),
        DataType::Binary => {
            let values = array.as_binary::<i32>();
            Box::new(move |i| match std::str::from_utf8(values.value(i)) {
                _ if values.is_null(i) => Scalar::Null,
                Ok(text) => Scalar::Text(Cow::Borrowed(text)),
                Err(_) => Scalar::Other("bytes that are no UTF-8"),
            })
        }
        DataType::Boolean => {
            let values = array.as_boolean();
            Box::new(move |i| if values.is_null(i) { Scalar::Null } else { Scalar::Bool(values.value(i)) })
        }
        DataType::Int8 => number!(Int8Type, |v: i8| Scalar::Int(v.into())),
        DataType::Int16 => number!(Int16Type, |v: i16| Scalar::Int(v.into())),
        DataType::Int32 => number!(Int32Type, |v: i32| Scalar::Int(v.into())),
        DataType::Int64 => number!(Int64Type, |v: i64| Scalar::Int(v.into())),
        DataType::UInt8 => number!(UInt8Type, |v: u8| Scalar::Int(v.into())),
        DataType::UInt16 => number!(UInt16Type, |v: u16| Scalar::Int(v.into())),
        DataType::UInt32 => number!(UInt32Type, |v: u32| Scalar::Int(v.into())),
        DataType::UInt64 => number!(UInt64Type, |v: u64| Scalar::Int(v.into())),
        DataType::Float32 => number!(Float32Type, |v: f32| Scalar::Float(v.into())),
        DataType::Float64 => number!(Float64Type, Scalar::Float),
        DataType::Date32 => {
            number!(Date32Type, |v: i32| Scalar::Years(years_of_seconds(f64::from(v) * 86_400.0)))
        }
        DataType::Date64 => moment!(Date64Type, 1e3),
        DataType::Timestamp(TimeUnit::Second, _) => moment!(TimestampSecondType, 1.0),
        DataType::Timestamp(TimeUnit::Millisecond, _) => moment!(TimestampMillisecondType, 1e3),
        DataType::Timestamp(TimeUnit::Microsecond, _) => moment!(TimestampMicrosecondType, 1e6),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => moment!(TimestampNanosecondType, 1e9),
        DataType::Null => Box::new(|_| Scalar::Null),
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
            Box::new(|_| Scalar::Other("a list"))
        }
        DataType::Struct(_) | DataType::Map(..) => Box::new(|_| Scalar::Other("an object")),
        _ => Box::new(|_| Scalar::Other("a value of a type that is not read")),
    }
}

fn json(value: Scalar<'_>) -> serde_json::Value {
    match value {
        Scalar::Absent | Scalar::Null | Scalar::Other(_) => serde_json::Value::Null,
        Scalar::Bool(b) => b.into(),
        Scalar::Int(n) => i64::try_from(n).map_or_else(|_| n.to_string().into(), Into::into),
        Scalar::Float(x) | Scalar::Years(x) => x.into(),
        Scalar::Text(t) => t.into_owned().into(),
    }
}
