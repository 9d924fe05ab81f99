//! From texts to token ids, by the model's own `tokenizer.json`.

use std::path::PathBuf;

use rayon::prelude::*;
use tokenizers::normalizers::{Lowercase, NormalizerWrapper, Sequence};
use tokenizers::{
    EncodeInput, Encoding, PostProcessor, PostProcessorWrapper, Tokenizer as Inner, TruncationDirection,
    TruncationParams, TruncationStrategy,
};

use super::folder::Folder;
use crate::{Error, Result};

/// Texts that a task takes at least.
const TEXTS: usize = 8;

/// What of `tokenizer_config.json` decides the ids.
#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct TokenizerConfig {
    /// Longest input in tokens; an absurd number stands for none.
    model_max_length: Option<f64>,
    /// `left` or `right`.
    truncation_side: Option<String>,
    /// What the model is given, where that is not what its tokenizer's class usually gives.
    model_input_names: Option<Vec<String>>,
    tokenizer_class: Option<String>,
}

impl TokenizerConfig {
    /// That of a part of the folder.
    ///
    /// # Errors
    /// As [`Folder::json`].
    pub(super) fn read(folder: &Folder, part: &str) -> Result<Self> {
        Ok(folder.json(&Folder::join(part, "tokenizer_config.json"))?.unwrap_or_default())
    }

    /// Longest input in tokens, where there is a limit.
    pub(super) fn max_length(&self) -> Option<usize> {
        self.model_max_length.filter(|&length| (1.0..1e9).contains(&length)).map(|length| length as usize)
    }
}

/// What an unknown piece of text becomes.
#[derive(serde::Deserialize)]
struct Unknown {
    unk_token: Option<String>,
    unk_id: Option<u32>,
}

/// The part of `tokenizer.json` that names it.
#[derive(serde::Deserialize)]
struct File {
    model: Unknown,
}

/// A tokenizer, ready for texts; it never pads.
pub(super) struct Tokenizer {
    path: PathBuf,
    inner: Inner,
    /// Whether special tokens go around a text.
    special: bool,
    /// A token that is left out.
    without: Option<u32>,
    /// Characters of a text that are looked at.
    characters: Option<usize>,
    /// Whether texts come in pairs.
    paired: bool,
    /// Whether the model is told which part of a pair a token belongs to.
    types: bool,
}

impl Tokenizer {
    /// Reads `tokenizer.json` in a part of the folder.
    ///
    /// # Errors
    /// [`Error::Input`] where there is none, or none that can be read.
    pub(super) fn read(folder: &Folder, part: &str, special: bool) -> Result<Self> {
        let name = Folder::join(part, "tokenizer.json");
        if !folder.has(&name) {
            let slow =
                ["vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model"];
            let slow = slow.into_iter().find(|name| folder.has(&Folder::join(part, name)));
            return Err(match slow {
                Some(slow) => folder.error(
                    part,
                    format!("has {slow} but no tokenizer.json"),
                    "make it once: python -c \"from transformers import AutoTokenizer; \
                     AutoTokenizer.from_pretrained('FOLDER').save_pretrained('FOLDER')\"",
                ),
                None => folder.error(part, "has no tokenizer.json", "fetch the whole model"),
            });
        }
        let path = folder.file(&name)?;
        let mut inner = Inner::from_file(&path).map_err(|e| {
            Error::input(
                &path,
                None,
                e.to_string(),
                "fetch the file again, or save it with a recent tokenizers",
            )
        })?;
        inner.with_padding(None);
        if !special {
            // What it would add is not wanted, and a cut shorter than that is none of its business.
            inner.with_post_processor(None::<PostProcessorWrapper>);
        }
        Ok(Self { path, inner, special, without: None, characters: None, paired: false, types: true })
    }

    /// For pairs of texts.
    pub(super) fn for_pairs(mut self, config: &TokenizerConfig) -> Self {
        self.paired = true;
        // The class that transformers has for tokenizers without a class of their own gives no types unless it is told to.
        self.types = match &config.model_input_names {
            Some(names) => names.iter().any(|name| name == "token_type_ids"),
            None => config.tokenizer_class.as_deref() != Some("TokenizersBackend"),
        };
        self
    }

    /// Lower-cases texts before everything else.
    ///
    /// # Errors
    /// [`Error::Input`] if the tokenizer does not take it.
    pub(super) fn lower_case(mut self) -> Result<Self> {
        let mut steps: Vec<NormalizerWrapper> = vec![Lowercase.into()];
        steps.extend(self.inner.get_normalizer().cloned());
        match self.inner.with_normalizer(Some(Sequence::new(steps))) {
            Ok(_) => Ok(self),
            Err(e) => Err(self.error(&*e)),
        }
    }

    /// Cuts texts to so many tokens, special tokens counted; `None` takes texts as they are.
    ///
    /// # Errors
    /// [`Error::Usage`] if special tokens leave no room for a text.
    pub(super) fn cut(mut self, length: Option<usize>, config: &TokenizerConfig) -> Result<Self> {
        let left = config.truncation_side.as_deref() == Some("left");
        let direction = if left { TruncationDirection::Left } else { TruncationDirection::Right };
        let cut = match length {
            None => None,
            Some(max_length) => {
                let added = self.inner.get_post_processor().map_or(0, |p| p.added_tokens(self.paired));
                if max_length <= added {
                    return Err(Error::usage(
                        format!("a length of {max_length} tokens leaves no room for a text"),
                        format!("the model adds {added} special tokens; give at least {}", added + 1),
                    ));
                }
                Some(TruncationParams {
                    direction,
                    max_length,
                    strategy: TruncationStrategy::LongestFirst,
                    stride: 0,
                })
            }
        };
        match self.inner.with_truncation(cut) {
            Ok(_) => Ok(self),
            Err(e) => Err(self.error(&*e)),
        }
    }

    /// As Model2Vec reads texts: unknown pieces are left out, and only so many characters are looked at as
    /// `length` tokens usually have.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Input`].
    pub(super) fn like_model2vec(mut self, length: Option<usize>) -> Result<Self> {
        let text = std::fs::read(&self.path).map_err(Error::io("read", &self.path))?;
        let file: File = serde_json::from_slice(&text).map_err(Error::format(&self.path))?;
        self.without = match file.model.unk_token {
            Some(token) => self.inner.token_to_id(&token),
            None => file.model.unk_id,
        };
        let mut lengths: Vec<usize> =
            self.inner.get_vocab(true).keys().map(|token| token.chars().count()).collect();
        lengths.sort_unstable();
        let middle = [lengths.len().saturating_sub(1) / 2, lengths.len() / 2];
        let median: usize = middle.iter().filter_map(|&at| lengths.get(at)).sum::<usize>() / 2;
        self.characters = length.map(|length| length.saturating_mul(median));
        Ok(self)
    }

    /// Longest input in tokens that `tokenizer.json` itself sets.
    pub(super) fn own_length(&self) -> Option<usize> {
        self.inner.get_truncation().map(|cut| cut.max_length)
    }

    /// The ids of each text, in their order, on the current rayon pool.
    ///
    /// # Errors
    /// [`Error::Input`] if the tokenizer fails on a text.
    pub(super) fn encode(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>> {
        let texts = texts.par_iter().with_min_len(TEXTS);
        texts.map(|text| Ok(self.keep(self.ids(self.head(text))?.get_ids()))).collect()
    }

    /// The ids of each pair as one text, with the place where its second part begins, in their order, on the current rayon
    /// pool. Where the model does not tell the parts apart the place is the end.
    ///
    /// # Errors
    /// [`Error::Input`] if the tokenizer fails on a text.
    pub(super) fn pairs(&self, pairs: &[(&str, &str)]) -> Result<Vec<(Vec<u32>, usize)>> {
        let one = |&(first, second): &(&str, &str)| {
            let encoding = self.ids((first, second))?;
            let ids = encoding.get_ids().to_vec();
            let place = encoding.get_type_ids().iter().position(|&kind| kind == 1).filter(|_| self.types);
            let place = place.unwrap_or(ids.len());
            Ok((ids, place))
        };
        pairs.par_iter().with_min_len(TEXTS).map(one).collect()
    }

    /// One text or pair through the library; offsets are not wanted.
    fn ids<'s>(&self, text: impl Into<EncodeInput<'s>>) -> Result<Encoding> {
        self.inner.encode_fast(text, self.special).map_err(|e| self.error(&*e))
    }

    /// The characters that are looked at.
    fn head<'s>(&self, text: &'s str) -> &'s str {
        let end = self.characters.and_then(|count| text.char_indices().nth(count));
        end.map_or(text, |(end, _)| &text[..end])
    }

    fn keep(&self, ids: &[u32]) -> Vec<u32> {
        match self.without {
            Some(without) => ids.iter().copied().filter(|&id| id != without).collect(),
            None => ids.to_vec(),
        }
    }

    fn error(&self, e: &(dyn std::error::Error + Send + Sync)) -> Error {
        Error::input(&self.path, None, e.to_string(), "fetch the model again")
    }
}
