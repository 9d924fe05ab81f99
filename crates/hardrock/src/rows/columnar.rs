//! Parquet in and out: equal rows give equal bytes, and a file read back becomes records of JSON values.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::Value;

use super::record::Record;
use crate::atomic::{AtomicFile, Sealed};
use crate::{Error, Result};

/// Rows in a batch handed to the writer.
const BATCH_ROWS: usize = 2048;
/// Rows and text bytes after which a row group ends. Both count what was given, so that groups fall alike every time.
const GROUP_ROWS: usize = 100_000;
const GROUP_BYTES: usize = 64 << 20;

/// A Parquet file under its temporary name. The caller owns the column builders and hands over their arrays.
pub(super) struct ParquetSink {
    path: std::path::PathBuf,
    writer: ArrowWriter<AtomicFile>,
    schema: SchemaRef,
    pending: usize,
    group_rows: usize,
    group_bytes: usize,
}

impl ParquetSink {
    pub(super) fn create(path: &Path, schema: SchemaRef, force: bool) -> Result<Self> {
        let file = AtomicFile::create(path, force)?;
        let level = ZstdLevel::try_new(3).map_err(Error::format(path))?;
        let properties = WriterProperties::builder()
            // Fixed, so that the bytes do not change with the library's version string.
            .set_created_by("hardrock".into())
            .set_compression(Compression::ZSTD(level))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .build();
        let writer =
            ArrowWriter::try_new(file, schema.clone(), Some(properties)).map_err(Error::format(path))?;
        Ok(Self { path: path.to_owned(), writer, schema, pending: 0, group_rows: 0, group_bytes: 0 })
    }

    /// Counts one row of `bytes` that went into the builders; true = hand their arrays to [`Self::batch`] now.
    pub(super) fn added(&mut self, bytes: usize) -> bool {
        self.pending += 1;
        self.group_bytes += bytes;
        self.pending == BATCH_ROWS || self.group_bytes >= GROUP_BYTES
    }

    /// Writes the rows counted since the last batch.
    pub(super) fn batch(&mut self, columns: Vec<ArrayRef>) -> Result<()> {
        let failed = |path: &Path, e: parquet::errors::ParquetError| match e {
            // A full disk must say so, with the help of that error.
            parquet::errors::ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
                Ok(io) => Error::io("write", path)(*io),
                Err(other) => Error::format(path)(other),
            },
            other => Error::format(path)(other),
        };
        let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(Error::format(&self.path))?;
        self.writer.write(&batch).map_err(|e| failed(&self.path, e))?;
        self.group_rows += std::mem::take(&mut self.pending);
        if self.group_bytes >= GROUP_BYTES || self.group_rows >= GROUP_ROWS {
            self.writer.flush().map_err(|e| failed(&self.path, e))?;
            (self.group_rows, self.group_bytes) = (0, 0);
        }
        Ok(())
    }

    /// Writes the last batch and the footer.
    pub(super) fn seal(mut self, columns: Vec<ArrayRef>) -> Result<Sealed> {
        if self.pending > 0 {
            self.batch(columns)?;
        }
        self.writer.into_inner().map_err(Error::format(&self.path))?.seal()
    }
}

/// The rows of a Parquet file as records; "line" is the row from 1.
pub(super) struct ParquetRecords {
    path: Arc<Path>,
    batches: ParquetRecordBatchReader,
    batch: Option<RecordBatch>,
    next: usize,
    line: u64,
}

impl ParquetRecords {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("read", path))?;
        let batches = ParquetRecordBatchReaderBuilder::try_new(file)
            .and_then(|b| b.with_batch_size(1024).build())
            .map_err(Error::format(path))?;
        Ok(Self { path: path.into(), batches, batch: None, next: 0, line: 0 })
    }
}

impl Iterator for ParquetRecords {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(batch) = self.batch.as_ref().filter(|b| self.next < b.num_rows()) {
                let row = self.next;
                self.next += 1;
                self.line += 1;
                let columns = batch.schema_ref().fields().iter().zip(batch.columns());
                let fields = columns.filter_map(|(f, c)| Some((f.name().clone(), value(c.as_ref(), row)?)));
                return Some(Ok(Record::new(self.path.clone(), self.line, fields.collect())));
            }
            match self.batches.next()? {
                Ok(batch) => (self.batch, self.next) = (Some(batch), 0),
                Err(e) => return Some(Err(Error::format(&self.path)(e))),
            }
        }
    }
}

/// One cell as JSON; `None` for column types that no training file has (dates, decimals …), which are left out.
fn value(array: &dyn Array, row: usize) -> Option<Value> {
    if array.is_null(row) {
        return Some(Value::Null);
    }
    macro_rules! number {
        ($kind:ty) => {
            Value::from(array.as_primitive::<$kind>().value(row))
        };
    }
    let list =
        |items: ArrayRef| -> Option<Value> { (0..items.len()).map(|i| value(items.as_ref(), i)).collect() };
    Some(match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).into(),
        DataType::Utf8View => array.as_string_view().value(row).into(),
        DataType::Boolean => array.as_boolean().value(row).into(),
        DataType::Int8 => number!(Int8Type),
        DataType::Int16 => number!(Int16Type),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::UInt8 => number!(UInt8Type),
        DataType::UInt16 => number!(UInt16Type),
        DataType::UInt32 => number!(UInt32Type),
        DataType::UInt64 => number!(UInt64Type),
        DataType::Float16 => float(array.as_primitive::<Float16Type>().value(row).to_f64()),
        DataType::Float32 => float(array.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row)),
        DataType::List(_) => return list(array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => return list(array.as_list::<i64>().value(row)),
        DataType::FixedSizeList(_, _) => return list(array.as_fixed_size_list().value(row)),
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(array.as_struct().columns());
            Value::Object(
                columns.filter_map(|(f, c)| Some((f.name().clone(), value(c.as_ref(), row)?))).collect(),
            )
        }
        _ => return None,
    })
}

/// JSON has no NaN and no infinity; as a text they reach the field's check, which says what is wrong.
fn float(value: f64) -> Value {
    serde_json::Number::from_f64(value).map_or_else(|| Value::String(value.to_string()), Value::Number)
}

/// Names and types of a Parquet file's columns, one a line.
pub(super) fn columns_of(path: &Path) -> Result<String> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(Error::format(path))?;
    let lines =
        reader.schema().fields().iter().map(|f| format!("{}: {}\n", f.name(), type_name(f.data_type())));
    Ok(lines.collect())
}

fn type_name(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 => "text".into(),
        DataType::List(item) => format!("list of {}", type_name(item.data_type())),
        DataType::Struct(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|f| format!("{} {}", f.name(), type_name(f.data_type()))).collect();
            format!("({})", fields.join(", "))
        }
        other => other.to_string().to_lowercase(),
    }
}
