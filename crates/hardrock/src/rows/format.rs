//! Names, uses and file endings of the training-file formats: the one list that the command line, the docs and the
//! errors read.

use std::path::Path;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A training-file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RowFormat {
    /// Our own record as JSON lines: ids, texts, scores, ranks and sources; loses nothing.
    Native,
    /// The native record as Parquet.
    Parquet,
    /// sentence-transformers: anchor, positive, negative.
    StTriplet,
    /// sentence-transformers: anchor, positive, `negative_1` … `negative_n`.
    StNTuple,
    /// sentence-transformers: anchor, document, label.
    StLabeledPair,
    /// sentence-transformers: anchor, list of documents, list of labels.
    StLabeledList,
    /// FlagEmbedding: `query`, `pos`, `neg`.
    #[serde(rename = "flagembedding")]
    FlagEmbedding,
    /// Tevatron before v2: passages inside the row.
    Tevatron,
    /// Tevatron v2: document ids in the row, texts in a corpus file beside it.
    TevatronV2,
    /// MS MARCO `triples.*.tsv`: texts.
    MsmarcoTriples,
    /// MS MARCO `qidpidtriples.*.tsv`: ids.
    MsmarcoIds,
    /// The published MS MARCO hard negatives: ids by mining system.
    MsmarcoHardNegatives,
    /// TREC run of the negatives.
    TrecRun,
}

/// How the records of a format lie in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// One JSON object a line.
    JsonLines,
    /// Comma-separated with a header.
    Csv,
    /// Tab-separated with a header.
    Tsv,
    /// Apache Parquet.
    Parquet,
    /// Lines of the format's own, without a header.
    Plain,
}

/// What a format's records are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holds {
    /// Ids and texts, each where known.
    Both,
    /// Texts only.
    Texts,
    /// Ids only.
    Ids,
}

/// What is known about one format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormatFacts {
    /// The format.
    pub format: RowFormat,
    /// Name on the command line and in TOML.
    pub name: &'static str,
    /// Other names that are understood.
    pub aliases: &'static [&'static str],
    /// What it is for, in one line.
    pub purpose: &'static str,
    /// File contents it can have; the first is the default.
    pub encodings: &'static [Encoding],
    /// Ids, texts or both.
    pub holds: Holds,
}

use Encoding::{Csv, JsonLines, Parquet, Plain, Tsv};

/// Every format, in the order shown to people.
pub const FORMATS: &[FormatFacts] = &[
    FormatFacts {
        format: RowFormat::Native,
        name: "native",
        aliases: &["hardrock", "nested"],
        purpose: "everything known about each row; every other format is a view of it",
        encodings: &[JsonLines],
        holds: Holds::Both,
    },
    FormatFacts {
        format: RowFormat::Parquet,
        name: "parquet",
        aliases: &["native-parquet"],
        purpose: "the native columns as Parquet: pandas, Polars, DuckDB, datasets",
        encodings: &[Parquet],
        holds: Holds::Both,
    },
    FormatFacts {
        format: RowFormat::StTriplet,
        name: "st-triplet",
        aliases: &["triplet", "triplets"],
        purpose: "sentence-transformers: one line per positive and negative (TripletLoss, MultipleNegativesRankingLoss)",
        encodings: &[JsonLines, Csv, Tsv, Parquet],
        holds: Holds::Texts,
    },
    FormatFacts {
        format: RowFormat::StNTuple,
        name: "st-n-tuple",
        aliases: &["n-tuple", "st-ntuple"],
        purpose: "sentence-transformers: one line per positive with n negatives as columns (MultipleNegativesRankingLoss)",
        encodings: &[JsonLines, Csv, Tsv, Parquet],
        holds: Holds::Texts,
    },
    FormatFacts {
        format: RowFormat::StLabeledPair,
        name: "st-labeled-pair",
        aliases: &["labeled-pair", "st-labelled-pair"],
        purpose: "sentence-transformers: one line per document with label 1 or 0 (cross-encoders, BinaryCrossEntropyLoss)",
        encodings: &[JsonLines, Csv, Tsv, Parquet],
        holds: Holds::Texts,
    },
    FormatFacts {
        format: RowFormat::StLabeledList,
        name: "st-labeled-list",
        aliases: &["labeled-list", "st-labelled-list"],
        purpose: "sentence-transformers: one line per positive with the list of documents and labels (LambdaLoss)",
        encodings: &[JsonLines, Parquet],
        holds: Holds::Texts,
    },
    FormatFacts {
        format: RowFormat::FlagEmbedding,
        name: "flagembedding",
        aliases: &["flag-embedding", "flag", "bge"],
        purpose: "FlagEmbedding: query, pos list, neg list",
        encodings: &[JsonLines],
        holds: Holds::Texts,
    },
    FormatFacts {
        format: RowFormat::Tevatron,
        name: "tevatron",
        aliases: &["tevatron-legacy", "tevatron-v1"],
        purpose: "Tevatron before v2: passages with title and text inside the line",
        encodings: &[JsonLines],
        holds: Holds::Both,
    },
    FormatFacts {
        format: RowFormat::TevatronV2,
        name: "tevatron-v2",
        aliases: &["tevatron2"],
        purpose: "Tevatron v2: document ids in the line, texts in a corpus file beside it",
        encodings: &[JsonLines],
        holds: Holds::Both,
    },
    FormatFacts {
        format: RowFormat::MsmarcoTriples,
        name: "msmarco-triples",
        aliases: &["msmarco", "triples"],
        purpose: "MS MARCO triples.*.tsv: query, positive, negative as text, no header",
        encodings: &[Plain],
        holds: Holds::Texts,
    },
    FormatFacts {
        format: RowFormat::MsmarcoIds,
        name: "msmarco-ids",
        aliases: &["qidpidtriples"],
        purpose: "MS MARCO qidpidtriples.*.tsv: query, positive, negative as ids, no header",
        encodings: &[Plain],
        holds: Holds::Ids,
    },
    FormatFacts {
        format: RowFormat::MsmarcoHardNegatives,
        name: "msmarco-hard-negatives",
        aliases: &["msmarco-hn"],
        purpose: "the layout of sentence-transformers/msmarco-hard-negatives: ids by mining system",
        encodings: &[JsonLines],
        holds: Holds::Ids,
    },
    FormatFacts {
        format: RowFormat::TrecRun,
        name: "trec-run",
        aliases: &["trec", "run"],
        purpose: "TREC run of the negatives: trec_eval, ir_measures, PyTerrier",
        encodings: &[Plain],
        holds: Holds::Ids,
    },
];

impl RowFormat {
    /// What is known about it.
    pub fn facts(self) -> &'static FormatFacts {
        // Each variant has its line: `every_format_has_one_line` holds the two together.
        FORMATS.iter().find(|f| f.format == self).unwrap_or(&FORMATS[0])
    }

    /// Name on the command line and in TOML.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// Whether it is one of sentence-transformers' shapes, whose columns have names to choose.
    pub fn is_table(self) -> bool {
        matches!(self, Self::StTriplet | Self::StNTuple | Self::StLabeledPair | Self::StLabeledList)
    }

    /// Whether its records hold texts, so that a row of ids alone cannot be written.
    pub fn needs_texts(self) -> bool {
        matches!(self, Self::Tevatron | Self::TevatronV2) || self.facts().holds == Holds::Texts
    }

    /// The format that a file's name says, without its folder: `train.st-triplet.jsonl.gz`, `bm25.run`, `x.parquet`.
    /// `None` when it says nothing.
    pub fn guess_from_name(path: &Path) -> Option<Self> {
        let name = stem_and_ending(path);
        let parts: Vec<&str> = name.split('.').collect();
        for part in parts.iter().rev() {
            if let Some(facts) = FORMATS.iter().find(|f| f.name == *part && *part != "parquet") {
                return Some(facts.format);
            }
        }
        match (parts.first().copied().unwrap_or_default(), parts.last().copied().unwrap_or_default()) {
            (first, _) if first.starts_with("qidpidtriples") => Some(Self::MsmarcoIds),
            (first, "tsv") if first.starts_with("triples") => Some(Self::MsmarcoTriples),
            (first, _) if FORMATS.iter().any(|f| f.name == first) => first.parse().ok(),
            (_, "run" | "trec") => Some(Self::TrecRun),
            (_, "parquet") => Some(Self::Parquet),
            _ => None,
        }
    }

    /// How a file of that name holds this format.
    ///
    /// # Errors
    /// An ending that the format cannot have, with the endings that it can.
    pub fn encoding(self, path: &Path) -> Result<Encoding> {
        let name = stem_and_ending(path);
        let ending = name.rsplit_once('.').map_or("", |(_, e)| e);
        let asked = match ending {
            "parquet" => Parquet,
            "csv" => Csv,
            "tsv" => Tsv,
            "jsonl" | "json" | "ndjson" => JsonLines,
            _ => return Ok(self.facts().encodings[0]),
        };
        let can = self.facts().encodings;
        match asked {
            Parquet if compressed(path) => Err(Error::usage(
                format!("{}: Parquet is compressed inside, not as a whole", path.display()),
                "end the name in .parquet",
            )),
            _ if can.contains(&asked) => Ok(asked),
            Tsv if can.contains(&Plain) => Ok(Plain),
            _ => Err(Error::usage(
                format!("{}: the format {} cannot be written as .{ending}", path.display(), self.name()),
                format!("end the name in {}", can.iter().map(|e| e.ending()).collect::<Vec<_>>().join(", ")),
            )),
        }
    }
}

impl Encoding {
    /// A usual ending of file names.
    pub fn ending(self) -> &'static str {
        match self {
            JsonLines => ".jsonl",
            Csv => ".csv",
            Tsv => ".tsv",
            Parquet => ".parquet",
            Plain => ".tsv or .txt",
        }
    }
}

impl std::fmt::Display for RowFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for RowFormat {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::parse(name)
    }
}

impl RowFormat {
    /// The format of a name or alias, in any case and with `_` for `-`.
    ///
    /// # Errors
    /// An unknown name, with the nearest one.
    pub fn parse(name: &str) -> Result<Self> {
        let wanted = name.trim().to_ascii_lowercase().replace('_', "-");
        if let Some(f) = FORMATS.iter().find(|f| f.name == wanted || f.aliases.contains(&wanted.as_str())) {
            return Ok(f.format);
        }
        let all = FORMATS
            .iter()
            .flat_map(|f| std::iter::once((f.name, f)).chain(f.aliases.iter().map(move |a| (*a, f))));
        let nearest = all
            .map(|(spelling, f)| (strsim::jaro_winkler(spelling, &wanted), f.name))
            .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(a.1)));
        let help = match nearest {
            Some((likeness, near)) if likeness > 0.7 => {
                format!("did you mean `{near}`? `hardrock formats` lists them all")
            }
            _ => format!("one of {}", FORMATS.iter().map(|f| f.name).collect::<Vec<_>>().join(", ")),
        };
        Err(Error::usage(format!("there is no format `{name}`"), help))
    }
}

/// Whether the name says gzip or Zstandard.
pub(crate) fn compressed(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "gz" || e == "zst")
}

/// The file name without its folder and without `.gz` / `.zst`.
fn stem_and_ending(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: [RowFormat; 13] = [
        RowFormat::Native,
        RowFormat::Parquet,
        RowFormat::StTriplet,
        RowFormat::StNTuple,
        RowFormat::StLabeledPair,
        RowFormat::StLabeledList,
        RowFormat::FlagEmbedding,
        RowFormat::Tevatron,
        RowFormat::TevatronV2,
        RowFormat::MsmarcoTriples,
        RowFormat::MsmarcoIds,
        RowFormat::MsmarcoHardNegatives,
        RowFormat::TrecRun,
    ];

    #[test]
    fn every_format_has_one_line() {
        assert_eq!(FORMATS.iter().map(|f| f.format).collect::<Vec<_>>(), EVERY);
    }

    #[test]
    fn names_parse_and_agree_with_toml() {
        for facts in FORMATS {
            assert_eq!(facts.name.parse::<RowFormat>().unwrap(), facts.format);
            assert_eq!(serde_json::to_value(facts.format).unwrap(), facts.name);
            for alias in facts.aliases {
                assert_eq!(alias.parse::<RowFormat>().unwrap(), facts.format);
            }
        }
    }

    #[test]
    fn a_misspelt_name_gets_the_nearest() {
        let help = |name: &str| name.parse::<RowFormat>().unwrap_err().help().unwrap();
        assert!(help("flagembeding").contains("`flagembedding`"));
        assert!(help("st-tripel").contains("`st-triplet`"));
        assert!(help("xyz").starts_with("one of native"));
    }

    #[test]
    fn file_names_tell_the_format() {
        let of = |name: &str| RowFormat::guess_from_name(Path::new(name));
        assert_eq!(of("out/train.st-triplet.jsonl.gz"), Some(RowFormat::StTriplet));
        assert_eq!(of("flagembedding.jsonl"), Some(RowFormat::FlagEmbedding));
        assert_eq!(of("x.tevatron-v2.jsonl.zst"), Some(RowFormat::TevatronV2));
        assert_eq!(of("triples.train.small.tsv"), Some(RowFormat::MsmarcoTriples));
        assert_eq!(of("qidpidtriples.train.full.2.tsv.gz"), Some(RowFormat::MsmarcoIds));
        assert_eq!(of("bm25.run"), Some(RowFormat::TrecRun));
        assert_eq!(of("x.st-n-tuple.parquet"), Some(RowFormat::StNTuple));
        assert_eq!(of("x.parquet"), Some(RowFormat::Parquet));
        assert_eq!(of("train.jsonl"), None);
    }

    #[test]
    fn endings_that_a_format_cannot_have_are_refused() {
        let encoding = |f: RowFormat, name: &str| f.encoding(Path::new(name));
        assert_eq!(encoding(RowFormat::StTriplet, "a.csv.gz").unwrap(), Csv);
        assert_eq!(encoding(RowFormat::TrecRun, "a.tsv").unwrap(), Plain);
        assert_eq!(encoding(RowFormat::FlagEmbedding, "a").unwrap(), JsonLines);
        let error = encoding(RowFormat::FlagEmbedding, "a.parquet").unwrap_err();
        assert_eq!(error.help().unwrap(), "end the name in .jsonl");
        assert!(encoding(RowFormat::StTriplet, "a.parquet.gz").is_err());
        assert!(encoding(RowFormat::Parquet, "a.jsonl").is_err());
    }
}
