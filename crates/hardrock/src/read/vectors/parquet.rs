//! Embeddings in a Parquet column: lists of floats, as Hugging Face `datasets` and pandas write them.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Float64Type};
use arrow_array::types::{Int32Type, Int64Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{Element, Layout, Source};
use crate::read::Ids;
use crate::{Error, Result};

/// Names that mark the vectors where several columns could be them.
const NAMES: [&str; 4] = ["embedding", "embeddings", "vector", "vectors"];

/// Copies the vectors to a nameless file in `work`, row after row, and reads the ids if there is a column of them.
pub(super) fn unpack(
    source: &Source<'_>,
    name: Option<&str>,
    work: &Path,
) -> Result<(File, Layout, Option<Ids>)> {
    let file = source.file.try_clone().map_err(Error::io("open", source.path))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(Error::format(source.path))?;
    let schema = reader.schema().clone();
    let fields: Vec<&Field> = schema.fields().iter().map(AsRef::as_ref).collect();
    let vectors = column(source, &fields, name)?;
    let id = fields.iter().position(|f| f.name() == "id" || f.name() == "_id");
    let columns = std::iter::once(vectors).chain(id);
    let mask = ProjectionMask::roots(reader.parquet_schema(), columns);
    let batches = reader.with_projection(mask).with_batch_size(1024).build();
    let batches = batches.map_err(Error::format(source.path))?;

    let spill = tempfile::tempfile_in(work).map_err(Error::io("create a file in", work))?;
    let mut out = BufWriter::with_capacity(1 << 18, spill);
    let mut layout = Layout { offset: 0, rows: 0, dim: 0, element: Element::F32, fortran: false };
    let mut ids = id.map(|_| Ids::new());
    for batch in batches {
        let batch = batch.map_err(Error::format(source.path))?;
        let column = |at: usize| batch.column_by_name(fields[at].name());
        if let (Some(ids), Some(values)) = (&mut ids, id.and_then(column)) {
            read_ids(source, values, layout.rows, ids)?;
        }
        if let Some(values) = column(vectors) {
            read_vectors(source, values, &mut layout, &mut out)?;
        }
    }
    let file = out.into_inner().map_err(|e| Error::io("write to", work)(e.into_error()))?;
    if layout.rows == 0 {
        return Err(source.error("no vectors: the file has no rows", "encode the records again"));
    }
    Ok((file, layout, ids))
}

/// The column of vectors: the one named, the only list of floats, or the one with a usual name.
fn column(source: &Source<'_>, fields: &[&Field], name: Option<&str>) -> Result<usize> {
    let lists: Vec<usize> = (0..fields.len()).filter(|&i| is_vector(fields[i].data_type())).collect();
    let usual = || {
        let mut usual = lists.iter().filter(|&&i| NAMES.contains(&fields[i].name().as_str()));
        usual.next().filter(|_| usual.next().is_none())
    };
    let found = match (name, &lists[..]) {
        (Some(name), _) => lists.iter().find(|&&i| fields[i].name() == name),
        (None, [one]) => Some(one),
        (None, _) => usual(),
    };
    found.copied().ok_or_else(|| {
        let names = |all: &mut dyn Iterator<Item = usize>| {
            all.map(|i| format!("`{}`", fields[i].name())).collect::<Vec<_>>().join(", ")
        };
        let what = name.map_or("no single column of vectors".to_owned(), |name| {
            format!("no column of vectors `{name}`")
        });
        let problem = format!(
            "{what}; columns that hold lists of floats: {}; all columns: {}",
            names(&mut lists.iter().copied()),
            names(&mut (0..fields.len()))
        );
        source.error(problem, "name the column: FILE#COLUMN")
    })
}

fn is_vector(kind: &DataType) -> bool {
    match kind {
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            matches!(field.data_type(), DataType::Float16 | DataType::Float32 | DataType::Float64)
        }
        _ => false,
    }
}

/// Appends the rows of one batch to `out`.
fn read_vectors(
    source: &Source<'_>,
    values: &ArrayRef,
    layout: &mut Layout,
    out: &mut impl Write,
) -> Result<()> {
    let mut row = Vec::new();
    for at in 0..values.len() {
        let bad = |problem: String| {
            let help = "give every record one vector, all of the same model";
            Error::input(source.path, layout.rows as u64 + 1, problem, help)
        };
        if values.is_null(at) {
            return Err(bad("no vector".to_owned()));
        }
        let list = match values.data_type() {
            DataType::List(_) => values.as_list::<i32>().value(at),
            DataType::LargeList(_) => values.as_list::<i64>().value(at),
            _ => values.as_fixed_size_list().value(at),
        };
        if let Some(hole) = (0..list.len()).find(|&i| list.is_null(i)) {
            return Err(bad(format!("value {} of the vector is missing", hole + 1)));
        }
        row.clear();
        match list.data_type() {
            DataType::Float16 => {
                row.extend(list.as_primitive::<Float16Type>().values().iter().map(|x| x.to_f32()))
            }
            DataType::Float32 => row.extend_from_slice(list.as_primitive::<Float32Type>().values()),
            _ => row.extend(list.as_primitive::<Float64Type>().values().iter().map(|&x| x as f32)),
        }
        if layout.rows == 0 {
            layout.dim = row.len();
        }
        if row.len() != layout.dim || row.is_empty() {
            return Err(bad(format!("a vector of {} dimensions; the first has {}", row.len(), layout.dim)));
        }
        for x in &row {
            out.write_all(&x.to_le_bytes()).map_err(Error::io("unpack", source.path))?;
        }
        layout.rows += 1;
    }
    Ok(())
}

/// Appends the ids of one batch; `first` is the row of its first.
fn read_ids(source: &Source<'_>, values: &ArrayRef, first: usize, ids: &mut Ids) -> Result<()> {
    for at in 0..values.len() {
        let bad = |problem: String, help: &str| {
            Error::input(source.path, (first + at) as u64 + 1, problem, help).field("id")
        };
        if values.is_null(at) {
            return Err(bad("no id".to_owned(), "give every vector an id"));
        }
        let id = match values.data_type() {
            DataType::Utf8 => values.as_string::<i32>().value(at).to_owned(),
            DataType::LargeUtf8 => values.as_string::<i64>().value(at).to_owned(),
            DataType::Utf8View => values.as_string_view().value(at).to_owned(),
            DataType::Int32 => values.as_primitive::<Int32Type>().value(at).to_string(),
            DataType::Int64 => values.as_primitive::<Int64Type>().value(at).to_string(),
            DataType::UInt32 => values.as_primitive::<UInt32Type>().value(at).to_string(),
            DataType::UInt64 => values.as_primitive::<UInt64Type>().value(at).to_string(),
            other => return Err(bad(format!("ids of type {other}"), "store ids as strings or integers")),
        };
        if !ids.intern(&id).1 {
            return Err(bad(format!("the id `{id}` stands twice"), "give every vector its own id"));
        }
    }
    Ok(())
}
