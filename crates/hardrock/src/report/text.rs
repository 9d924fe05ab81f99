//! Numbers and texts as the report prints them.

/// A text that is safe inside an element or a quoted attribute.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // HTML knows no other control characters, not even as references.
            c if c.is_control() && c != '\n' && c != '\t' => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// `1234567` as `1,234,567`.
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `n` things, the noun in the right number.
pub(super) fn things(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// A share in per cent; what is not nothing is never called 0, what is not all never 100.
pub(super) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".into();
    }
    let share = part as f64 / whole as f64 * 100.0;
    match (part, share) {
        (0, _) => "0\u{a0}%".into(),
        (_, s) if part == whole => format!("{s:.0}\u{a0}%"),
        (_, s) if s < 0.1 => "< 0.1\u{a0}%".into(),
        (_, s) if s > 99.9 => "> 99.9\u{a0}%".into(),
        (_, s) if !(10.0..=90.0).contains(&s) => format!("{s:.1}\u{a0}%"),
        (_, s) => format!("{s:.0}\u{a0}%"),
    }
}

/// A measured number with the digits that matter.
pub(super) fn number(x: f64) -> String {
    let digits = match x.abs() {
        a if a == 0.0 || !a.is_finite() => 0,
        a if a < 0.001 => return format!("{x:.1e}"),
        a if a < 1.0 => 3,
        a if a < 10.0 => 2,
        a if a < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{x:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    text.replacen('-', "−", 1)
}

/// Bytes in a unit that suits them.
pub(super) fn bytes(n: u64) -> String {
    match n {
        n if n >= 1 << 30 => format!("{:.2} GiB", n as f64 / f64::from(1 << 30)),
        n if n >= 1 << 20 => format!("{:.0} MiB", n as f64 / f64::from(1 << 20)),
        n => format!("{:.0} KiB", n as f64 / 1024.0),
    }
}

/// The first `limit` characters.
pub(super) fn cut(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((at, _)) => format!("{}…", text[..at].trim_end()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_control_characters_do_no_harm() {
        assert_eq!(
            escape("<b a=\"1\" c='2'>&\u{0}\u{1b}"),
            "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;\u{fffd}\u{fffd}"
        );
    }

    #[test]
    fn numbers_read_well() {
        let counts = [0, 999, 1000, 1_234_567].map(count);
        assert_eq!(counts, ["0", "999", "1,000", "1,234,567"]);
        let shares = [(0, 7), (7, 7), (1, 1_000_000), (999_999, 1_000_000), (1, 20), (1, 2), (1, 0)];
        // A blank that does not break: a figure and its sign stay on one line.
        let shares = shares.map(|(a, b)| percent(a, b).replace('\u{a0}', " "));
        assert_eq!(shares, ["0 %", "100 %", "< 0.1 %", "> 99.9 %", "5.0 %", "50 %", "–"]);
        let numbers = [0.0, -0.5, 12.3456, 1234.5, 0.000012].map(number);
        assert_eq!(numbers, ["0", "−0.5", "12.3", "1234", "1.2e-5"]);
        assert_eq!(cut("añb c", 3), "añb…");
    }
}
