//! Turns a text into terms: words, lower case, stop words, stems.
//!
//! The default is Unicode words in lower case without English stop words, stemmed by Snowball's English stemmer: the best mean
//! of three data sets (`docs/benchmarks/bm25.md`). For texts in another language name it, or set both to `none`.

use std::borrow::Cow;

use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};
use snowball_stemmers_rs::{Algorithm, Stemmer};
use unicode_segmentation::UnicodeSegmentation;

use super::{IndexError, Result};

/// What a word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Words {
    /// Unicode words (UAX 29) that hold a letter or a digit.
    #[default]
    Unicode,
    /// Whatever stands between white space (for texts that are tokenised already).
    Whitespace,
}

/// Tokenisation as written in TOML: `tokens = { stop_words = "english", stem = "english" }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "snake_case")]
pub struct TokenOptions {
    /// Where words begin and end.
    pub words: Words,
    /// Whether words are lower-cased (by Unicode's rules, independent of locale).
    pub lowercase: bool,
    /// Language (English name or ISO 639-1 code) whose stop words are dropped, or `none`.
    pub stop_words: String,
    /// Language (or `porter`, `lovins`) whose Snowball stemmer shortens the words, or `none`. Needs `lowercase`.
    pub stem: String,
}

impl Default for TokenOptions {
    fn default() -> Self {
        Self { words: Words::Unicode, lowercase: true, stop_words: "english".into(), stem: "english".into() }
    }
}

/// Languages with a stop-word list: name and ISO code.
const STOP_WORDS: &[(&str, &str)] = &[
    ("albanian", "sq"),
    ("arabic", "ar"),
    ("azerbaijani", "az"),
    ("basque", "eu"),
    ("belarusian", "be"),
    ("bengali", "bn"),
    ("catalan", "ca"),
    ("chinese", "zh"),
    ("danish", "da"),
    ("dutch", "nl"),
    ("english", "en"),
    ("finnish", "fi"),
    ("french", "fr"),
    ("german", "de"),
    ("greek", "el"),
    ("hebrew", "he"),
    ("hungarian", "hu"),
    ("indonesian", "id"),
    ("italian", "it"),
    ("kazakh", "kk"),
    ("nepali", "ne"),
    ("norwegian", "no"),
    ("portuguese", "pt"),
    ("romanian", "ro"),
    ("russian", "ru"),
    ("slovenian", "sl"),
    ("spanish", "es"),
    ("swedish", "sv"),
    ("tajik", "tg"),
    ("tamil", "ta"),
    ("turkish", "tr"),
    ("uzbek", "uz"),
];

/// Stemmers: name, ISO code (empty for none of its own), algorithm.
const STEMMERS: &[(&str, &str, Algorithm)] = &[
    ("arabic", "ar", Algorithm::Arabic),
    ("armenian", "hy", Algorithm::Armenian),
    ("basque", "eu", Algorithm::Basque),
    ("catalan", "ca", Algorithm::Catalan),
    ("czech", "cs", Algorithm::Czech),
    ("danish", "da", Algorithm::Danish),
    ("dutch", "nl", Algorithm::Dutch),
    ("dutch-porter", "", Algorithm::DutchPorter),
    ("english", "en", Algorithm::English),
    ("esperanto", "eo", Algorithm::Esperanto),
    ("estonian", "et", Algorithm::Estonian),
    ("finnish", "fi", Algorithm::Finnish),
    ("french", "fr", Algorithm::French),
    ("german", "de", Algorithm::German),
    ("greek", "el", Algorithm::Greek),
    ("hindi", "hi", Algorithm::Hindi),
    ("hungarian", "hu", Algorithm::Hungarian),
    ("indonesian", "id", Algorithm::Indonesian),
    ("irish", "ga", Algorithm::Irish),
    ("italian", "it", Algorithm::Italian),
    ("lithuanian", "lt", Algorithm::Lithuanian),
    ("lovins", "", Algorithm::Lovins),
    ("nepali", "ne", Algorithm::Nepali),
    ("norwegian", "no", Algorithm::Norwegian),
    ("persian", "fa", Algorithm::Persian),
    ("polish", "pl", Algorithm::Polish),
    ("porter", "", Algorithm::Porter),
    ("portuguese", "pt", Algorithm::Portuguese),
    ("romanian", "ro", Algorithm::Romanian),
    ("russian", "ru", Algorithm::Russian),
    ("serbian", "sr", Algorithm::Serbian),
    ("sesotho", "st", Algorithm::Sesotho),
    ("spanish", "es", Algorithm::Spanish),
    ("swedish", "sv", Algorithm::Swedish),
    ("tamil", "ta", Algorithm::Tamil),
    ("turkish", "tr", Algorithm::Turkish),
    ("ukrainian", "uk", Algorithm::Ukrainian),
    ("yiddish", "yi", Algorithm::Yiddish),
];

impl TokenOptions {
    /// Unicode words in lower case and nothing else: all words kept as they are, in any language.
    pub fn plain() -> Self {
        Self { words: Words::Unicode, lowercase: true, stop_words: "none".into(), stem: "none".into() }
    }

    /// Says whether the options can be followed.
    ///
    /// # Errors
    /// An unknown language (with the nearest known name), or stemming without lower-casing.
    pub fn check(&self) -> Result<()> {
        self.stop_list()?;
        let stem = self.algorithm()?;
        if stem.is_some() && !self.lowercase {
            return Err(IndexError::Option {
                stage: "tokens",
                field: "lowercase",
                must: "true where stem is set, because Snowball's stemmers know only lower case".into(),
                got: "false".into(),
                hint: String::new(),
            });
        }
        Ok(())
    }

    /// One line that names every option: equal lines, equal tokens. `en` and `english` give the same line.
    pub fn key(&self) -> String {
        let words = match self.words {
            Words::Unicode => "unicode",
            Words::Whitespace => "whitespace",
        };
        let stop_words = STOP_WORDS.iter().find(|(_, code)| *code == self.stop_words).map(|l| l.0);
        let stem = STEMMERS.iter().find(|(_, code, _)| *code == self.stem).map(|l| l.0);
        format!(
            "words={words} lowercase={} stop-words={} stem={}",
            self.lowercase,
            stop_words.unwrap_or(&self.stop_words),
            stem.unwrap_or(&self.stem),
        )
    }

    fn stop_list(&self) -> Result<Option<&'static [&'static str]>> {
        let wanted = self.stop_words.as_str();
        if wanted == "none" {
            return Ok(None);
        }
        STOP_WORDS
            .iter()
            .find(|(name, code)| *name == wanted || *code == wanted)
            .and_then(|(_, code)| stop_words::lookup(code))
            .map(Some)
            .ok_or_else(|| unknown("stop_words", "a language", wanted, STOP_WORDS.iter().map(|l| l.0)))
    }

    fn algorithm(&self) -> Result<Option<Algorithm>> {
        let wanted = self.stem.as_str();
        if wanted == "none" {
            return Ok(None);
        }
        STEMMERS
            .iter()
            .find(|(name, code, _)| *name == wanted || (!code.is_empty() && *code == wanted))
            .map(|&(_, _, algorithm)| Some(algorithm))
            .ok_or_else(|| unknown("stem", "a language with a stemmer", wanted, STEMMERS.iter().map(|l| l.0)))
    }
}

fn unknown(
    field: &'static str,
    must: &str,
    got: &str,
    known: impl Iterator<Item = &'static str> + Clone,
) -> IndexError {
    let near = known
        .clone()
        .chain(["none"])
        .map(|name| (strsim::damerau_levenshtein(&got.to_lowercase(), name), name))
        .min()
        .filter(|&(edits, name)| edits <= (name.len() / 3).max(1));
    let hint = match near {
        Some((_, name)) => format!("; did you mean \"{name}\"?"),
        None => format!("; known are none, {}", known.collect::<Vec<_>>().join(", ")),
    };
    IndexError::Option {
        stage: "tokens",
        field,
        must: format!("{must} or \"none\""),
        got: format!("\"{got}\""),
        hint,
    }
}

/// Makes terms from texts; can be used from many threads at once.
pub struct Tokenizer {
    options: TokenOptions,
    stop: Option<FxHashSet<&'static str>>,
    stemmer: Option<Stemmer>,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// A tokenizer that follows `options`.
    ///
    /// # Errors
    /// Those of [`TokenOptions::check`].
    pub fn new(options: TokenOptions) -> Result<Self> {
        options.check()?;
        Ok(Self {
            stop: options.stop_list()?.map(|list| list.iter().copied().collect()),
            stemmer: options.algorithm()?.map(Stemmer::create),
            options,
        })
    }

    /// The options it was made with.
    pub fn options(&self) -> &TokenOptions {
        &self.options
    }

    /// Calls `f` for each term of `text`, in order, repeats included.
    pub fn tokens(&self, text: &str, mut f: impl FnMut(&str)) {
        self.words(text, &mut String::new(), |word| {
            if let Some(term) = self.term(word) {
                f(&term);
            }
        });
    }

    /// Whether a word is its own term: no stop words, no stemmer.
    pub(super) fn words_are_terms(&self) -> bool {
        self.stop.is_none() && self.stemmer.is_none()
    }

    /// The words before stop words and stemming, so that a caller can remember [`Self::term`] per word.
    pub(super) fn words(&self, text: &str, lower: &mut String, mut f: impl FnMut(&str)) {
        let text = if self.options.lowercase {
            lower.clear();
            if text.is_ascii() {
                lower.push_str(text);
                lower.make_ascii_lowercase();
            } else {
                *lower = text.to_lowercase();
            }
            lower.as_str()
        } else {
            text
        };
        match self.options.words {
            // The white space below U+0080, so that the usual text needs no table of the others.
            Words::Whitespace if text.is_ascii() => {
                let space = |byte: &u8| matches!(byte, b'\t'..=b'\r' | b' ');
                let mut from = 0;
                for word in text.as_bytes().split(space) {
                    if !word.is_empty() {
                        f(&text[from..from + word.len()]);
                    }
                    from += word.len() + 1;
                }
            }
            Words::Whitespace => text.split_whitespace().for_each(f),
            Words::Unicode => unicode_words(text, f),
        }
    }

    /// What a word becomes; `None` for a stop word.
    pub(super) fn term<'w>(&self, word: &'w str) -> Option<Cow<'w, str>> {
        if self.stop.as_ref().is_some_and(|stop| stop.contains(word)) {
            return None;
        }
        match &self.stemmer {
            Some(stemmer) => Some(stemmer.stem(word)),
            None => Some(Cow::Borrowed(word)),
        }
    }
}

/// UAX 29 words, trimmed: the standard hangs a vowel sign that is astray on the space before it, and a narrow no-break space
/// on the word before it. The text is cut at ASCII white space first, so that one accent costs the slow path for its own
/// word and not for the whole text.
fn unicode_words(text: &str, mut f: impl FnMut(&str)) {
    if text.is_ascii() {
        text.unicode_words().for_each(f);
    } else {
        for piece in text.split_ascii_whitespace() {
            piece.unicode_words().for_each(|word| f(word.trim()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tokens(options: TokenOptions, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        Tokenizer::new(options).unwrap().tokens(text, |t| found.push(t.to_owned()));
        found
    }

    #[test]
    fn plain_tokens_are_lower_case_unicode_words() {
        let text = "Don't PANIC: \"Größe\" 3.14, e.g. foo_bar -- ΟΔΥΣΣΕΥΣ!";
        assert_eq!(
            tokens(TokenOptions::plain(), text),
            ["don't", "panic", "größe", "3.14", "e.g", "foo_bar", "οδυσσευς"]
        );
    }

    #[test]
    fn by_default_english_stop_words_go_and_endings_fall() {
        let text = "The packages don't contain MANUALS; is OpenSSL 3.0 needed?";
        assert_eq!(
            tokens(TokenOptions::default(), text),
            ["packag", "contain", "manual", "openssl", "3.0", "need"]
        );
    }

    #[test]
    fn whitespace_keeps_punctuation_and_case_where_asked() {
        let options = TokenOptions { words: Words::Whitespace, lowercase: false, ..TokenOptions::plain() };
        assert_eq!(tokens(options, "A,b \u{a0} C."), ["A,b", "C."]);
    }

    #[test]
    fn stop_words_go_before_stems_are_made() {
        let options =
            TokenOptions { stop_words: "en".into(), stem: "english".into(), ..TokenOptions::plain() };
        assert_eq!(tokens(options, "The ponies were having running shoes"), ["poni", "run", "shoe"]);
        let options =
            TokenOptions { stop_words: "german".into(), stem: "de".into(), ..TokenOptions::plain() };
        assert_eq!(tokens(options, "Die Häuser und der Garten"), ["haus", "gart"]);
    }

    #[test]
    fn a_wrong_language_gets_the_nearest_name() {
        let wrong = |o: TokenOptions| o.check().unwrap_err().to_string();
        assert_eq!(
            wrong(TokenOptions { stem: "englisch".into(), ..TokenOptions::plain() }),
            "tokens.stem must be a language with a stemmer or \"none\", got \"englisch\"; did you mean \"english\"?"
        );
        let far = wrong(TokenOptions { stop_words: "klingon".into(), ..TokenOptions::plain() });
        assert!(far.contains("known are none, albanian, arabic"), "{far}");
        let case = wrong(TokenOptions { lowercase: false, stem: "english".into(), ..TokenOptions::plain() });
        assert!(case.starts_with("tokens.lowercase must be true"), "{case}");
    }

    #[test]
    fn a_code_and_a_name_have_the_same_key() {
        let named = TokenOptions::default();
        let coded = TokenOptions { stop_words: "en".into(), stem: "en".into(), ..TokenOptions::default() };
        assert_eq!(named.key(), "words=unicode lowercase=true stop-words=english stem=english");
        assert_eq!(named.key(), coded.key());
        assert_ne!(named.key(), TokenOptions::plain().key());
    }

    #[test]
    fn every_listed_language_exists() {
        for (name, code) in STOP_WORDS {
            let by_name = TokenOptions { stop_words: (*name).into(), ..TokenOptions::plain() };
            let by_code = TokenOptions { stop_words: (*code).into(), ..TokenOptions::plain() };
            assert_eq!(by_name.stop_list().unwrap().unwrap(), by_code.stop_list().unwrap().unwrap());
        }
        for (name, _, _) in STEMMERS {
            Tokenizer::new(TokenOptions { stem: (*name).into(), ..TokenOptions::plain() })
                .unwrap()
                .tokens("wordings", |term| assert!(!term.is_empty()));
        }
    }

    #[test]
    fn options_are_written_in_toml_with_strict_names() {
        let read: TokenOptions = toml::from_str("stop_words = 'english'\nwords = 'whitespace'").unwrap();
        assert_eq!(read.stop_words, "english");
        assert_eq!(read.words, Words::Whitespace);
        assert!(read.lowercase);
        assert!(toml::from_str::<TokenOptions>("stopwords = 'english'").is_err());
    }

    proptest! {
        #[test]
        fn ascii_white_space_is_found_as_unicode_finds_it(text in "[\\x00-\\x7f]{0,40}") {
            let options = TokenOptions { words: Words::Whitespace, lowercase: false, ..TokenOptions::plain() };
            prop_assert_eq!(tokens(options, &text), text.split_whitespace().collect::<Vec<_>>());
        }

        #[test]
        fn cutting_at_white_space_changes_no_trimmed_word(text in "\\PC{0,40}|[a-zA-Z0-9 .,:;'_\\-éß\u{301}\u{200d}\n\t]{0,40}") {
            let mut cut = Vec::new();
            unicode_words(&text, |w| cut.push(w.to_owned()));
            let whole: Vec<_> = text.unicode_words().map(|w| w.trim().to_owned()).collect();
            prop_assert_eq!(cut, whole);
        }
    }
}
