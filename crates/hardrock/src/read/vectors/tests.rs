//! Every format there and back, and every kind of damage told apart.

use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use arrow_array::builder::{FixedSizeListBuilder, Float32Builder, Float64Builder, ListBuilder};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn npy(version: u8, descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([version, 0]);
    match version {
        1 => bytes.extend((header.len() as u16).to_le_bytes()),
        _ => bytes.extend((header.len() as u32).to_le_bytes()),
    }
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn open(dir: &TempDir, name: &str, bytes: &[u8]) -> Result<VectorFile> {
    std::fs::write(dir.path().join(name), bytes).unwrap();
    VectorFile::open(&dir.path().join(name), dir.path())
}

fn all(file: &VectorFile) -> Vec<f32> {
    let mut out = vec![0.0; file.len() * file.dim()];
    file.read(0, &mut out).unwrap();
    // Row by row must be the same.
    for (at, want) in out.chunks(file.dim()).enumerate() {
        let mut row = vec![0.0; file.dim()];
        file.read(at, &mut row).unwrap();
        assert_eq!(
            row.iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
            want.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        );
    }
    out
}

fn bytes_of(values: &[f32], element: Element) -> Vec<u8> {
    let each = |&x: &f32| match element {
        Element::F16 => f16::from_f32(x).to_le_bytes().to_vec(),
        Element::Bf16 => bf16::from_f32(x).to_le_bytes().to_vec(),
        Element::F32 => x.to_le_bytes().to_vec(),
        Element::F64 => f64::from(x).to_le_bytes().to_vec(),
        Element::I8 => vec![(x as i8).cast_unsigned()],
        Element::U8 => vec![x as u8],
        Element::I32 | Element::I64 => panic!("vectors are no whole numbers of that size"),
    };
    values.iter().flat_map(each).collect()
}

fn problem(result: Result<VectorFile>) -> String {
    result.err().unwrap().to_string()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn npy_comes_back_in_every_version_type_and_order(
        (rows, dim, values) in (0usize..9, 1usize..9).prop_flat_map(|(r, d)| (
            Just(r), Just(d), proptest::collection::vec(-100i16..100, r * d),
        )),
        version in 1u8..4,
        fortran in any::<bool>(),
        kind in prop_oneof![
            Just(("<f2", Element::F16)), Just(("<f4", Element::F32)), Just(("<f8", Element::F64)),
        ],
    ) {
        // Quarters are exact in every type.
        let values: Vec<f32> = values.into_iter().map(|x| f32::from(x) / 4.0).collect();
        let stored: Vec<f32> = if fortran {
            (0..dim).flat_map(|d| values.iter().skip(d).step_by(dim).copied().collect::<Vec<_>>()).collect()
        } else {
            values.clone()
        };
        let dir = folder();
        let bytes = npy(version, kind.0, fortran, &format!("({rows}, {dim})"), &bytes_of(&stored, kind.1));
        let file = open(&dir, "x.npy", &bytes).unwrap();
        prop_assert_eq!((file.len(), file.dim()), (rows, dim));
        prop_assert_eq!(all(&file), values);
    }

    #[test]
    fn damaged_headers_are_errors_not_panics(
        flips in proptest::collection::vec((0usize..80, any::<u8>()), 1..6),
        cut in 0usize..120,
        tensor in any::<bool>(),
    ) {
        let data = bytes_of(&[1.0, 2.0, 3.0, 4.0], Element::F32);
        let mut bytes = if tensor {
            safetensors(r#"{"e":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}"#, &data)
        } else {
            npy(1, "<f4", false, "(2, 2)", &data)
        };
        for (at, value) in flips {
            let at = at.min(bytes.len() - 1);
            bytes[at] = value;
        }
        bytes.truncate(cut.max(1));
        let dir = folder();
        if let Ok(file) = open(&dir, "x", &bytes) {
            // What still opens must be readable to its last row.
            prop_assert_eq!(all(&file).len(), file.len() * file.dim());
        }
    }
}

#[test]
fn safetensors_come_back_in_every_type_and_by_name() {
    let dir = folder();
    let values = [1.0, -2.5, 0.25, 8.0, 0.0, 3.0];
    for (name, element) in
        [("F16", Element::F16), ("BF16", Element::Bf16), ("F32", Element::F32), ("F64", Element::F64)]
    {
        let data = bytes_of(&values, element);
        let header = format!(
            r#"{{"__metadata__":{{"model":"m"}},"e":{{"dtype":"{name}","shape":[3,2],"data_offsets":[0,{}]}}}}"#,
            data.len()
        );
        assert_eq!(all(&open(&dir, "x.safetensors", &safetensors(&header, &data)).unwrap()), values);
    }
    let two = r#"{"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2,2],"data_offsets":[8,24]}}"#;
    let bytes = safetensors(two, &bytes_of(&values, Element::F32));
    assert!(
        problem(open(&dir, "two.safetensors", &bytes))
            .contains("several tensors could be the vectors: `a`, `b`")
    );
    let named =
        |name: &str| VectorFile::open(&dir.path().join(format!("two.safetensors#{name}")), dir.path());
    assert_eq!(all(&named("b").unwrap()), values[2..]);
    assert!(problem(named("c")).contains("no tensor `c`; the file has `a`, `b`"));
}

#[test]
fn an_f16_and_an_f32_file_of_the_same_numbers_read_alike() {
    let dir = folder();
    let values: Vec<f32> = (0..60).map(|x| f16::from_f32(x as f32 / 7.0).to_f32()).collect();
    let half =
        open(&dir, "h.npy", &npy(1, "<f2", false, "(6, 10)", &bytes_of(&values, Element::F16))).unwrap();
    let full =
        open(&dir, "f.npy", &npy(1, "<f4", false, "(6, 10)", &bytes_of(&values, Element::F32))).unwrap();
    assert_eq!(all(&half), all(&full));
}

/// Vectors, their ranges, and what sentence-transformers' `quantize_embeddings` makes of them.
const PLAIN: [f32; 12] = [0.1, -0.5, 0.9, 0.4, 0.25, -0.3, -0.7, 0.0, 0.6, 0.2, 0.5, 0.1];
const RANGES: [f32; 6] = [-0.75, -0.5, -0.5, 0.5, 0.75, 1.0];
const INT8: [f32; 12] = [45.0, -128.0, 109.0, 106.0, 25.0, -95.0, -118.0, -26.0, 59.0, 65.0, 76.0, -26.0];

#[test]
fn codes_of_sentence_transformers_come_back_by_their_ranges() {
    let dir = folder();
    let ranges = npy(1, "<f4", false, "(2, 3)", &bytes_of(&RANGES, Element::F32));
    std::fs::write(dir.path().join("x.ranges.npy"), &ranges).unwrap();
    // Half a step, the widest of which is 1.5 / 255.
    let near = |file: &VectorFile| {
        all(file).iter().zip(PLAIN).all(|(x, want)| (x - want).abs() <= 0.5 * 1.5 / 255.0 + 1e-6)
    };
    let signed = npy(1, "|i1", false, "(4, 3)", &bytes_of(&INT8, Element::I8));
    assert!(near(&open(&dir, "x.npy", &signed).unwrap()));
    let shifted = INT8.map(|x| x + 128.0);
    let unsigned = npy(1, "|u1", false, "(4, 3)", &bytes_of(&shifted, Element::U8));
    assert!(near(&open(&dir, "x.npy", &unsigned).unwrap()));
    assert_eq!(side_files(&dir.path().join("x.npy")), [dir.path().join("x.ranges.npy")]);

    let data = [bytes_of(&RANGES, Element::F32), bytes_of(&shifted, Element::U8)].concat();
    let header = r#"{"ranges":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"e":{"dtype":"U8","shape":[4,3],"data_offsets":[24,36]}}"#;
    assert!(near(&open(&dir, "y.safetensors", &safetensors(header, &data)).unwrap()));
}

#[test]
fn codes_without_scales_are_numbers_and_wrong_scales_are_errors() {
    let dir = folder();
    let codes = npy(1, "|i1", false, "(4, 3)", &bytes_of(&INT8, Element::I8));
    assert_eq!(all(&open(&dir, "x.npy", &codes).unwrap()), INT8);
    let with = |descr: &str, shape: &str, values: &[f32], element| {
        std::fs::write(
            dir.path().join("x.scales.npy"),
            npy(1, descr, false, shape, &bytes_of(values, element)),
        )
        .unwrap();
        open(&dir, "x.npy", &codes)
    };
    let file = with("<f4", "(4,)", &[0.5, 1.0, 0.0, 2.0], Element::F32).unwrap();
    assert_eq!(all(&file)[..6], [22.5, -64.0, 54.5, 106.0, 25.0, -95.0]);
    assert_eq!(file.check().unwrap().zeros, 1);
    assert_eq!(all(&with("<f2", "(4, 1)", &[0.5; 4], Element::F16).unwrap())[0], 22.5);
    for (descr, shape, values, element, want) in [
        ("<f4", "(3,)", &[1.0; 3][..], Element::F32, "scales of shape [3] for 4 vectors of 3 dimensions"),
        ("<f4", "(4,)", &[1.0, f32::NAN, 1.0, 1.0][..], Element::F32, "number 2 of the scales is NaN"),
        ("|i1", "(4,)", &[1.0; 4][..], Element::I8, "the scales are whole numbers"),
        ("<f4", "(4,)", &[1.0; 2][..], Element::F32, "truncated"),
    ] {
        let got = problem(with(descr, shape, values, element));
        assert!(got.contains("x.scales.npy") && got.contains(want), "{got}");
    }
    let data = [bytes_of(&[1.0; 3], Element::F32), bytes_of(&INT8, Element::I8)].concat();
    let header = r#"{"scales":{"dtype":"F32","shape":[4],"data_offsets":[0,12]},"e":{"dtype":"I8","shape":[4,3],"data_offsets":[12,24]}}"#;
    let got = problem(open(&dir, "y.safetensors", &safetensors(header, &data)));
    assert!(got.contains("`scales` does not fill its bytes"), "{got}");
}

#[test]
fn wrong_files_are_told_apart() {
    let dir = folder();
    let data = [0u8; 32];
    let cases: [(&[u8], &str); 9] = [
        (b"", "neither npy, safetensors nor Parquet"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x00", "neither npy"),
        (b"id,vector\n1,2\n", "neither npy"),
        (&npy(1, "<i8", false, "(2, 2)", &data), "numbers of type `<i8`"),
        (&npy(1, ">f4", false, "(2, 2)", &data), "numbers of type `>f4`"),
        (&npy(1, "<f4", false, "(8,)", &data), "an array of shape (8,)"),
        (&npy(9, "<f4", false, "(2, 2)", &data), "npy version 9"),
        (&npy(2, "<f4", false, "(3, 3)", &data), "promises 3 vectors of 3 dimensions, the file has 32 bytes"),
        (&npy(2, "<f4", false, "(4611686018427387904, 16)", &data), "truncated"),
    ];
    for (bytes, want) in cases {
        let got = problem(open(&dir, "x.npy", bytes));
        assert!(got.contains(want), "{got}");
    }
    let missing = VectorFile::open(&dir.path().join("nowhere.npy"), dir.path());
    assert!(matches!(missing, Err(Error::Io { .. })));
}

#[test]
fn the_first_row_that_is_not_finite_is_named() {
    let dir = folder();
    let mut values = vec![0.5f32; 4 * 50_000];
    values[4 * 40_000 + 1] = f32::NAN;
    values[4 * 30_000 + 2] = f32::NEG_INFINITY;
    let bytes = npy(1, "<f4", false, "(50000, 4)", &bytes_of(&values, Element::F32));
    let file = open(&dir, "x.npy", &bytes).unwrap();
    let found = file.check().unwrap_err().to_string();
    assert!(found.ends_with("x.npy:30001: value 3 of 4 in the vector is -inf"), "{found}");
}

#[test]
fn norms_say_whether_rows_have_unit_length() {
    let dir = folder();
    let unit = [0.6, 0.8, 0.0, 0.0, -1.0, 0.0];
    let file = open(&dir, "u.npy", &npy(1, "<f4", false, "(3, 2)", &bytes_of(&unit, Element::F32))).unwrap();
    let norms = file.check().unwrap();
    assert!(norms.normalised() && norms.zeros == 1, "{norms:?}");
    let long = [3.0, 4.0, 1.0, 0.0];
    let file = open(&dir, "l.npy", &npy(1, "<f4", false, "(2, 2)", &bytes_of(&long, Element::F32))).unwrap();
    let norms = file.check().unwrap();
    assert_eq!((norms.shortest, norms.longest, norms.normalised()), (1.0, 5.0, false));
}

#[test]
fn ids_lie_beside_the_vectors() {
    let dir = folder();
    let bytes = npy(1, "<f4", false, "(2, 2)", &[0; 16]);
    let ids = dir.path().join("x.ids.txt");
    assert!(open(&dir, "x.npy", &bytes).unwrap().ids().is_none());
    std::fs::write(&ids, "\u{feff}d 1\r\né2\r\n").unwrap();
    assert_eq!(ids_file(&dir.path().join("x.npy")).as_ref(), Some(&ids));
    let file = open(&dir, "x.npy", &bytes).unwrap();
    assert_eq!(file.ids().unwrap().iter().collect::<Vec<_>>(), ["d 1", "é2"]);
    for (text, want) in [
        ("a\n", "x.ids.txt: 1 ids for 2 vectors"),
        ("a\na\n", "x.ids.txt:2: the id `a` stands twice"),
        ("a\n\nb\n", "x.ids.txt:2: an empty id"),
    ] {
        std::fs::write(&ids, text).unwrap();
        let got = problem(open(&dir, "x.npy", &bytes));
        assert!(got.ends_with(want), "{got}");
    }
    std::fs::write(&ids, b"a\nb\xff\n").unwrap();
    assert!(problem(open(&dir, "x.npy", &bytes)).ends_with("x.ids.txt:2: not UTF-8"));
}

fn parquet_file(dir: &TempDir, columns: Vec<(&str, ArrayRef)>) -> PathBuf {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let path = dir.path().join("x.parquet");
    let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    path
}

fn fixed(rows: &[[f32; 2]]) -> ArrayRef {
    let mut list = FixedSizeListBuilder::new(Float32Builder::new(), 2);
    for row in rows {
        list.values().append_slice(row);
        list.append(true);
    }
    Arc::new(list.finish())
}

fn ragged(rows: &[&[f64]]) -> ArrayRef {
    let mut list = ListBuilder::new(Float64Builder::new());
    for row in rows {
        list.values().append_slice(row);
        list.append(true);
    }
    Arc::new(list.finish())
}

#[test]
fn parquet_columns_come_back_with_their_ids() {
    let dir = folder();
    let rows: Vec<[f32; 2]> = (0..3000).map(|i| [i as f32, -1.0]).collect();
    let names: Vec<String> = (0..3000).map(|i| format!("d{i}")).collect();
    let text: ArrayRef = Arc::new(StringArray::from(names.clone()));
    let path = parquet_file(&dir, vec![("text", text.clone()), ("embedding", fixed(&rows)), ("id", text)]);
    let file = VectorFile::open(&path, dir.path()).unwrap();
    assert_eq!(all(&file), rows.concat());
    assert!(file.ids().unwrap().iter().eq(names.iter().map(String::as_str)));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "the unpacked file has no name");

    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![7, -8]));
    let path = parquet_file(&dir, vec![("_id", numbers), ("v", ragged(&[&[0.5, 1.0], &[2.0, 4.0]]))]);
    let file = VectorFile::open(&path, dir.path()).unwrap();
    assert_eq!(all(&file), [0.5, 1.0, 2.0, 4.0]);
    assert_eq!(file.ids().unwrap().iter().collect::<Vec<_>>(), ["7", "-8"]);
}

#[test]
fn parquet_columns_are_named_or_found_and_must_be_even() {
    let dir = folder();
    let two = || vec![("title_vec", fixed(&[[1.0, 2.0]])), ("text_vec", fixed(&[[3.0, 4.0]]))];
    let path = parquet_file(&dir, two());
    let got = problem(VectorFile::open(&path, dir.path()));
    assert!(
        got.contains(
            "no single column of vectors; columns that hold lists of floats: `title_vec`, `text_vec`"
        ),
        "{got}"
    );
    let named = VectorFile::open(&dir.path().join("x.parquet#text_vec"), dir.path()).unwrap();
    assert_eq!(all(&named), [3.0, 4.0]);
    let path = parquet_file(&dir, two().into_iter().chain([("embedding", fixed(&[[5.0, 6.0]]))]).collect());
    assert_eq!(all(&VectorFile::open(&path, dir.path()).unwrap()), [5.0, 6.0]);

    let path = parquet_file(&dir, vec![("v", ragged(&[&[1.0, 2.0], &[3.0]]))]);
    assert!(
        problem(VectorFile::open(&path, dir.path()))
            .ends_with("x.parquet:2: a vector of 1 dimensions; the first has 2")
    );
    let twice: ArrayRef = Arc::new(StringArray::from(vec!["a", "a"]));
    let path = parquet_file(&dir, vec![("v", fixed(&[[1.0, 2.0], [3.0, 4.0]])), ("id", twice)]);
    assert!(
        problem(VectorFile::open(&path, dir.path()))
            .ends_with("x.parquet:2: field `id`: the id `a` stands twice")
    );
    let whole = std::fs::read(&path).unwrap();
    assert!(matches!(open(&dir, "cut.parquet", &whole[..whole.len() / 2]), Err(Error::Format { .. })));
}
