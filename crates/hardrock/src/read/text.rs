//! When two texts say the same: the normal form behind the `text` and `known` filters.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The normal form of a text: Unicode NFKC, lower case, every run of white space and punctuation one blank, none at the ends.
///
/// Symbols that carry meaning (`+ # $ % & < = > @ ^ | ~`, currency, arrows, emoji …) stay, so that `C++`, `C#` and `C` are three
/// texts. A text of punctuation alone keeps it, only its white space is collapsed: `?` and `!` are not the same text.
pub fn normalise(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    normalise_into(text, &mut out);
    out
}

/// [`normalise`] into `out`, which is cleared first: for loops over many texts.
pub fn normalise_into(text: &str, out: &mut String) {
    out.clear();
    if text.is_ascii() {
        collapse(text.chars().map(|c| c.to_ascii_lowercase()), out, is_break);
        if out.is_empty() {
            collapse(text.chars(), out, char::is_whitespace);
        }
        return;
    }
    // Lower-casing can leave the normal form (a dotted capital I becomes two characters), hence the second pass.
    let lower = || text.nfkc().flat_map(char::to_lowercase).nfkc();
    collapse(lower(), out, is_break);
    if out.is_empty() {
        collapse(lower(), out, char::is_whitespace);
    }
}

/// 64-bit hash of the normal form: the first 8 bytes, little-endian, of its BLAKE3 hash. The same on every machine.
pub fn text_hash(text: &str) -> u64 {
    hash_normalised(&normalise(text))
}

/// [`text_hash`] of a text that is already in normal form.
pub fn hash_normalised(normal: &str) -> u64 {
    let hash = blake3::hash(normal.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(first)
}

/// 128 bits of the BLAKE3 hash of the exact text: equal texts for all that can be seen, without keeping the texts.
pub(crate) fn exact_hash(text: &str) -> u128 {
    let hash = blake3::hash(text.as_bytes());
    let mut first = [0; 16];
    first.copy_from_slice(&hash.as_bytes()[..16]);
    u128::from_le_bytes(first)
}

fn collapse(chars: impl Iterator<Item = char>, out: &mut String, is_break: impl Fn(char) -> bool) {
    let mut gap = false;
    for c in chars {
        if is_break(c) {
            gap = !out.is_empty();
        } else {
            if gap {
                out.push(' ');
                gap = false;
            }
            out.push(c);
        }
    }
}

/// White space, control characters and punctuation.
fn is_break(c: char) -> bool {
    if c.is_ascii() {
        return matches!(
            c,
            '\0'..=' '
                | '\x7F'
                | '!'
                | '"'
                | '\''
                | '('
                | ')'
                | '*'
                | ','
                | '-'
                | '.'
                | '/'
                | ':'
                | ';'
                | '?'
                | '['
                | '\\'
                | ']'
                | '_'
                | '`'
                | '{'
                | '}'
        );
    }
    if c.is_alphanumeric() || is_combining_mark(c) {
        return false;
    }
    c.is_whitespace()
        || c.is_control()
        || matches!(c,
            '¡' | '§' | '«' | '\u{AD}' | '¶' | '·' | '»' | '¿'
            | '\u{055A}'..='\u{055F}' | '\u{0589}' | '\u{058A}' // Armenian
            | '\u{05BE}' | '\u{05C0}' | '\u{05C3}' | '\u{05C6}' | '\u{05F3}' | '\u{05F4}' // Hebrew
            | '\u{060C}' | '\u{061B}' | '\u{061D}'..='\u{061F}' | '\u{066A}'..='\u{066D}' | '\u{06D4}' // Arabic
            | '\u{0964}' | '\u{0965}' | '\u{0970}' // Devanagari and its neighbours
            | '\u{0E4F}' | '\u{0E5A}' | '\u{0E5B}' // Thai
            | '\u{1361}'..='\u{1368}' // Ethiopic
            | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205E}' // general punctuation
            | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2064}' | '\u{FEFF}' // invisible
            | '\u{2E00}'..='\u{2E5D}' // supplemental
            | '\u{3001}'..='\u{3003}' | '\u{3008}'..='\u{3011}' | '\u{3014}'..='\u{301F}' | '\u{30FB}') // CJK
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn case_width_and_punctuation_do_not_count() {
        assert_eq!(normalise("  Hello,\tWORLD! "), "hello world");
        assert_eq!(normalise("Ｈｅｌｌｏ—World…"), "hello world");
        assert_eq!(normalise("Cafe\u{301}"), normalise("CAFÉ"));
    }

    #[test]
    fn symbols_that_carry_meaning_stay() {
        assert_eq!(normalise("C++"), "c++");
        assert_ne!(text_hash("C#"), text_hash("C"));
        assert_ne!(text_hash("5 €"), text_hash("5 $"));
    }

    #[test]
    fn punctuation_alone_is_kept_apart() {
        assert_eq!(normalise(" ? "), "?");
        assert_ne!(text_hash("!"), text_hash("?"));
    }

    #[test]
    fn hash_is_fixed_for_all_machines() {
        assert_eq!(text_hash("Hello, world"), hash_normalised("hello world"));
        // The first bytes of BLAKE3's published hash of nothing: af 13 49 b9 f5 f9 a1 a6 …
        assert_eq!(text_hash(""), 0xa6a1_f9f5_b949_13af);
    }

    proptest! {
        #[test]
        fn normal_form_is_a_fixed_point(text in "\\PC{0,40}") {
            let once = normalise(&text);
            prop_assert_eq!(normalise(&once), once.clone());
        }

        #[test]
        fn ascii_takes_the_same_way_as_all_text(text in "[ -~\t]{0,40}") {
            // A letter beyond ASCII that survives as itself sends the text down the general way.
            let general = normalise(&format!("{text} ж"));
            let ascii = normalise(&text);
            if ascii.chars().any(|c| !is_break(c)) {
                prop_assert_eq!(general, format!("{ascii} ж"));
            }
        }
    }
}
