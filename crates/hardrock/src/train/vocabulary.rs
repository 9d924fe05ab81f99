//! The tokenizer of a model that learns: that of a folder, or one made of the texts.
//!
//! ## How a vocabulary is made
//! Words as BERT cuts them (lower case, no accents, punctuation apart). The most frequent words get a token each; a fifth of
//! the vocabulary goes to endings: what the words without a token leave after their longest known beginning. Every character
//! that the texts hold has a token, so that little is unknown. Counts decide, ties go to the lesser word: the same texts give
//! the same file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use hashbrown::HashMap;
use rayon::prelude::*;
use serde_json::{Value, json};
use tokenizers::{
    NormalizedString, Normalizer, OffsetReferential, OffsetType, PostProcessorWrapper, PreTokenizedString,
    PreTokenizer, Tokenizer, TruncationDirection, TruncationParams, TruncationStrategy,
};

use crate::mine::Progress;
use crate::read::Table;
use crate::{Error, Result};

/// A tokenizer with the file that it is written to.
pub(crate) struct Reader {
    inner: Tokenizer,
    /// `tokenizer.json`.
    pub(crate) file: Vec<u8>,
    name: PathBuf,
}

/// What stands for a piece of text without a token.
const UNKNOWN: &str = "[UNK]";

/// What a piece inside of a word begins with.
const INSIDE: &str = "##";

/// Longest word in characters; a longer one is unknown.
const LONGEST: usize = 100;

/// Texts that a task takes at least.
const TEXTS: usize = 8;

/// Most characters that get a token of their own, at the beginning and inside of words.
const CHARACTERS: usize = 1000;

impl Reader {
    /// Reads a `tokenizer.json`; `name` for errors. Texts are cut to `length` tokens, the file's own cut otherwise stays.
    pub(crate) fn new(file: &[u8], name: &Path, length: Option<usize>) -> Result<Self> {
        let failed = |e: &dyn std::fmt::Display| {
            Error::input(name, None, e.to_string(), "save it with a recent tokenizers")
        };
        let mut inner = Tokenizer::from_bytes(file).map_err(|e| failed(&e))?;
        inner.with_padding(None);
        inner.with_post_processor(None::<PostProcessorWrapper>);
        if let Some(max_length) = length {
            let cut = TruncationParams {
                direction: TruncationDirection::Right,
                max_length,
                strategy: TruncationStrategy::LongestFirst,
                stride: 0,
            };
            inner.with_truncation(Some(cut)).map_err(|e| failed(&e))?;
        }
        let file = inner.to_string(true).map_err(|e| failed(&e))?.into_bytes();
        Ok(Self { inner, file, name: name.to_owned() })
    }

    /// Makes a vocabulary of at most `size` tokens from all texts of the tables.
    pub(crate) fn of_texts(
        tables: [&Table; 2],
        size: usize,
        length: Option<usize>,
        progress: &dyn Progress,
        cancel: &AtomicBool,
    ) -> Result<Self> {
        let name = Path::new("tokenizer.json");
        let plain = Self::new(&write(&[UNKNOWN.to_owned()])?, name, None)?;
        let mut counts: HashMap<String, u64> = HashMap::new();
        for table in tables {
            for from in (0..table.len()).step_by(4096) {
                crate::mine::check(cancel)?;
                let range = from..table.len().min(from + 4096);
                let count = range.len() as u64;
                let mut texts = Vec::with_capacity(range.len());
                table.for_each(range, &mut |_, text| texts.push(text.to_owned()))?;
                let parts: Vec<HashMap<String, u64>> =
                    texts.par_chunks(256).map(|texts| plain.count(texts)).collect::<Result<_>>()?;
                for (word, n) in parts.into_iter().flatten() {
                    *counts.entry(word).or_default() += n;
                }
                progress.advance(count);
            }
        }
        let words: Vec<(String, u64)> = counts.into_iter().collect();
        Self::new(&write(&pieces(words, size))?, name, length)
    }

    /// Counts the words of some texts.
    fn count(&self, texts: &[String]) -> Result<HashMap<String, u64>> {
        let mut counts = HashMap::new();
        for text in texts {
            let mut normal = NormalizedString::from(text.as_str());
            if let Some(normalizer) = self.inner.get_normalizer() {
                normalizer.normalize(&mut normal).map_err(|e| self.error(&*e))?;
            }
            let mut words = PreTokenizedString::from(normal);
            if let Some(cutter) = self.inner.get_pre_tokenizer() {
                cutter.pre_tokenize(&mut words).map_err(|e| self.error(&*e))?;
            }
            for (word, ..) in words.get_splits(OffsetReferential::Normalized, OffsetType::None) {
                match counts.get_mut(word) {
                    Some(count) => *count += 1,
                    None => {
                        counts.insert(word.to_owned(), 1);
                    }
                }
            }
        }
        Ok(counts)
    }

    /// Number of tokens.
    pub(crate) fn vocabulary(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The ids of each text, on the current rayon pool; special tokens are left out.
    pub(crate) fn encode(&self, texts: &[String]) -> Result<Vec<Vec<u32>>> {
        let ids = |text: &String| {
            let encoding = self.inner.encode_fast(text.as_str(), false).map_err(|e| self.error(&*e))?;
            Ok(encoding.get_ids().to_vec())
        };
        texts.par_iter().with_min_len(TEXTS).map(ids).collect()
    }

    fn error(&self, e: &(dyn std::error::Error + Send + Sync)) -> Error {
        Error::input(&self.name, None, e.to_string(), "save it with a recent tokenizers")
    }
}

/// The tokens of a vocabulary, the unknown one first.
fn pieces(mut words: Vec<(String, u64)>, size: usize) -> Vec<String> {
    words.retain(|(word, _)| word.chars().count() <= LONGEST);
    words.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let mut heads: HashMap<char, u64> = HashMap::new();
    let mut insides: HashMap<char, u64> = HashMap::new();
    for (word, n) in &words {
        let mut characters = word.chars();
        if let Some(first) = characters.next() {
            *heads.entry(first).or_default() += n;
        }
        characters.for_each(|c| *insides.entry(c).or_default() += n);
    }
    let mut out = vec![UNKNOWN.to_owned()];
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let add = |token: String, out: &mut Vec<String>, seen: &mut BTreeSet<String>| {
        if out.len() < size && seen.insert(token.clone()) {
            out.push(token);
        }
    };
    for (counts, before) in [(heads, ""), (insides, INSIDE)] {
        let mut counts: Vec<(char, u64)> = counts.into_iter().collect();
        counts.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        for (c, _) in counts.into_iter().take(CHARACTERS.min(size / 8)) {
            add(format!("{before}{c}"), &mut out, &mut seen);
        }
    }
    let room = size.saturating_sub(out.len());
    let rare = words.len() > room;
    let wholes = if rare { room - room / 5 } else { room };
    // A word seen once teaches nothing of its own; its pieces do.
    let wanted = words.iter().take(wholes).take_while(|(_, n)| *n > 1).count();
    for (word, _) in &words[..wanted] {
        add(word.clone(), &mut out, &mut seen);
    }
    let mut endings: HashMap<&str, u64> = HashMap::new();
    for (word, n) in &words[wanted..] {
        let cuts = word.char_indices().map(|(at, _)| at).skip(3);
        if let Some(at) = cuts.collect::<Vec<_>>().into_iter().rev().find(|&at| seen.contains(&word[..at])) {
            *endings.entry(&word[at..]).or_default() += n;
        }
    }
    let mut endings: Vec<(&str, u64)> = endings.into_iter().filter(|(_, n)| *n > 1).collect();
    endings.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    for (ending, _) in endings {
        add(format!("{INSIDE}{ending}"), &mut out, &mut seen);
    }
    out
}

/// `tokenizer.json` of these tokens, numbered in their order.
fn write(tokens: &[String]) -> Result<Vec<u8>> {
    let vocabulary: serde_json::Map<String, Value> =
        tokens.iter().enumerate().map(|(id, token)| (token.clone(), Value::from(id))).collect();
    let unknown = json!({
        "id": 0, "content": UNKNOWN, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        "special": true,
    });
    let file = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [unknown],
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": true,
            "lowercase": true,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": null,
        "decoder": {"type": "WordPiece", "prefix": INSIDE, "cleanup": true},
        "model": {
            "type": "WordPiece", "unk_token": UNKNOWN, "continuing_subword_prefix": INSIDE,
            "max_input_chars_per_word": LONGEST, "vocab": vocabulary,
        },
    });
    serde_json::to_vec(&file).map_err(|e| Error::usage(format!("a tokenizer cannot be written: {e}"), ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_words_get_tokens_and_rare_ones_pieces() {
        let words = [("print", 9), ("the", 20), ("printing", 1), ("painting", 1), ("paint", 3), ("a", 5)];
        let words = words.map(|(word, n)| (word.to_owned(), n)).to_vec();
        let tokens = pieces(words.clone(), 120);
        let has = |token: &str| tokens.iter().any(|t| t == token);
        assert_eq!(tokens[0], UNKNOWN);
        assert!(has("print") && has("the") && has("paint") && has("##ing") && !has("printing"), "{tokens:?}");
        assert_eq!(pieces(words.iter().rev().cloned().collect(), 120), tokens, "order does not matter");
        assert!(pieces(words, 20).len() <= 20);

        let reader = Reader::new(&write(&tokens).unwrap(), Path::new("t"), Some(3)).unwrap();
        let id = |token: &str| tokens.iter().position(|t| t == token).unwrap() as u32;
        let got = reader
            .encode(&["The PRINTING".to_owned(), "paint, \u{6f22}".to_owned(), "a a a a".to_owned()])
            .unwrap();
        assert_eq!(got[0], [id("the"), id("print"), id("##ing")]);
        assert_eq!(got[1][0], id("paint"));
        assert_eq!(got[1][1..], [0, 0], "neither the comma nor the sign was seen");
        assert_eq!(got[2].len(), 3, "cut");
        let again = Reader::new(&reader.file, Path::new("t"), None).unwrap();
        assert_eq!(again.encode(&["a a a a".to_owned()]).unwrap()[0].len(), 3, "the file keeps the cut");
    }
}
