//! Which files of a model are needed. A repository often holds the same weights in six formats.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use crate::models::folder::Folder;
use crate::models::modules::Module;

/// The files of a repository, or of what the cache has of it, by their names in it.
pub(super) type Listing = BTreeSet<String>;

/// Small files that decide how a model reads and pools.
const NAMES: [&str; 5] = [
    "config.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
];

/// The list of modules of a sentence-transformers model.
pub(super) const MODULES: &str = "modules.json";

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// What a repository says about itself, read from files that are there already.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// Lines of `modules.json`.
    modules: Vec<Module>,
    /// Files that each index names.
    shards: BTreeMap<String, BTreeSet<String>>,
}

/// The part of an index of shards that matters.
#[derive(serde::Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Whether a name stays inside of its repository.
pub(super) fn is_inside(name: &str) -> bool {
    !name.is_empty() && Path::new(name).components().all(|c| matches!(c, Component::Normal(_)))
}

impl Shape {
    /// Takes in `modules.json`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read_modules(&mut self, text: &[u8]) -> Result<(), serde_json::Error> {
        self.modules = serde_json::from_slice(text)?;
        Ok(())
    }

    /// Takes in the index `name`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read_index(&mut self, name: &str, text: &[u8]) -> Result<(), serde_json::Error> {
        let index: Index = serde_json::from_slice(text)?;
        let folder = name.strip_suffix(INDEX).unwrap_or_default();
        let files = index.weight_map.into_values().map(|file| format!("{folder}{file}"));
        self.shards.insert(name.to_owned(), files.collect());
        Ok(())
    }

    /// The repository itself and the parts that its modules lie in.
    fn parts(&self) -> BTreeSet<&str> {
        let modules = self.modules.iter().map(|m| m.path.trim_end_matches('/'));
        modules.chain([""]).filter(|part| part.is_empty() || is_inside(part)).collect()
    }

    /// The indexes of shards that take the place of one file of weights.
    pub(super) fn indexes(&self, listing: &Listing) -> Vec<String> {
        let parts = self.parts();
        let sharded = parts.iter().filter(|part| !listing.contains(&Folder::join(part, WEIGHTS)));
        sharded.map(|part| Folder::join(part, INDEX)).filter(|index| listing.contains(index)).collect()
    }

    /// The weights of a part: one file, or the shards of its index.
    fn weights(&self, listing: &Listing, part: &str) -> Vec<String> {
        let (whole, index) = (Folder::join(part, WEIGHTS), Folder::join(part, INDEX));
        match (listing.contains(&whole), self.shards.get(&index)) {
            (false, Some(shards)) => shards.iter().filter(|name| is_inside(name)).cloned().collect(),
            _ => vec![whole],
        }
    }

    /// All files that are needed and in the listing.
    pub(super) fn wanted(&self, listing: &Listing) -> Listing {
        let mut wanted: Listing = [MODULES.to_owned()].into();
        wanted.extend(self.indexes(listing));
        for part in self.parts() {
            wanted.extend(NAMES.iter().map(|name| Folder::join(part, name)));
            wanted.extend(self.weights(listing, part));
        }
        wanted.retain(|name| listing.contains(name));
        wanted
    }

    /// What a model cannot do without and the listing lacks, in words.
    pub(super) fn lacks(&self, listing: &Listing) -> Vec<String> {
        let parts = self.parts();
        let somewhere = |name: &str| parts.iter().any(|part| listing.contains(&Folder::join(part, name)));
        let mut lacks = Vec::new();
        if self.modules.is_empty() && !listing.contains("config.json") {
            lacks.push("config.json".to_owned());
        }
        if !somewhere("tokenizer.json") {
            lacks.push("tokenizer.json".to_owned());
        }
        let modules = self.modules.iter().filter(|m| is_inside(&m.path));
        let inner = modules.filter(|m| matches!(m.name(), "Pooling" | "SpladePooling" | "Dense"));
        lacks.extend(
            inner.map(|m| Folder::join(&m.path, "config.json")).filter(|name| !listing.contains(name)),
        );
        let heavy =
            |m: &&Module| matches!(m.name(), "Transformer" | "MLMTransformer" | "StaticEmbedding" | "Dense");
        let mut holders: Vec<&str> = self.modules.iter().filter(heavy).map(|m| m.path.as_str()).collect();
        if holders.is_empty() {
            holders.push("");
        }
        for part in holders {
            lacks.extend(self.weights(listing, part).into_iter().filter(|name| !listing.contains(name)));
        }
        lacks.sort_unstable();
        lacks.dedup();
        lacks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(names: &[&str]) -> Listing {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn one_format_of_the_weights_is_taken_and_nothing_that_no_one_reads() {
        let all = listing(&[
            "README.md",
            "config.json",
            "modules.json",
            "model.safetensors",
            "pytorch_model.bin",
            "tokenizer.json",
            "vocab.txt",
            "onnx/model.onnx",
            "openvino/openvino_model.bin",
            "1_Pooling/config.json",
            "2_Dense/config.json",
            "2_Dense/model.safetensors",
            "2_Dense/pytorch_model.bin",
            "data/config.json",
        ]);
        let mut shape = Shape::default();
        let modules = br#"[{"type": "m.Transformer", "path": ""}, {"type": "m.Pooling", "path": "1_Pooling"},
            {"type": "m.Dense", "path": "2_Dense"}, {"type": "m.Normalize", "path": "3_Normalize"}]"#;
        shape.read_modules(modules).unwrap();
        let wanted: Vec<String> = shape.wanted(&all).into_iter().collect();
        let expected = [
            "1_Pooling/config.json",
            "2_Dense/config.json",
            "2_Dense/model.safetensors",
            "config.json",
            "model.safetensors",
            "modules.json",
            "tokenizer.json",
        ];
        assert_eq!(wanted, expected);
        assert!(shape.lacks(&all).is_empty());
        let gone = ["1_Pooling/config.json", "2_Dense/model.safetensors", "tokenizer.json"];
        let some = all.into_iter().filter(|name| !gone.contains(&name.as_str())).collect();
        assert_eq!(
            shape.lacks(&some),
            ["1_Pooling/config.json", "2_Dense/model.safetensors", "tokenizer.json"]
        );
    }

    #[test]
    fn shards_are_what_the_index_names_and_names_that_lead_out_are_left_alone() {
        let all = listing(&[
            "config.json",
            "tokenizer.json",
            INDEX,
            "a.safetensors",
            "b.safetensors",
            "other.safetensors",
        ]);
        let mut shape = Shape::default();
        assert_eq!(shape.indexes(&all), [INDEX]);
        let index = br#"{"weight_map": {"x": "a.safetensors", "y": "b.safetensors", "z": "a.safetensors", "w": "../c"}}"#;
        shape.read_index(INDEX, index).unwrap();
        assert!(
            shape.wanted(&all).contains("b.safetensors") && !shape.wanted(&all).contains("other.safetensors")
        );
        assert_eq!(
            shape.lacks(&listing(&["a.safetensors"])),
            ["b.safetensors", "config.json", "tokenizer.json"]
        );
        assert!(
            !is_inside("../c")
                && !is_inside("/etc/x")
                && !is_inside("")
                && is_inside("1_Pooling/config.json")
        );
    }
}
