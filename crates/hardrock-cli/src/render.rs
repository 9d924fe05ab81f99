//! How the terminal is told: errors in four lines, numbers that a person can read.

use std::io::IsTerminal;

/// Prints an error: what, where, why, and how to mend it.
#[expect(clippy::print_stderr, reason = "the one place where errors reach the terminal")]
pub(crate) fn error(error: &hardrock::Error, json: bool) {
    if json {
        let (file, line) = match error {
            hardrock::Error::Input(e) => (Some(e.path.display().to_string()), e.line),
            _ => (None, None),
        };
        let object = serde_json::json!({
            "ok": false,
            "error": {
                "message": error.to_string(), "help": error.help(), "file": file, "line": line,
                "exit_code": error.exit_code(),
            },
        });
        eprintln!("{object}");
        return;
    }
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let (red, cyan, off) = if colour { ("\x1b[1;31m", "\x1b[36m", "\x1b[0m") } else { ("", "", "") };
    eprintln!("{red}error{off}: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let text = cause.to_string();
        if !error.to_string().contains(&text) {
            eprintln!("  cause: {text}");
        }
        source = cause.source();
    }
    if let Some(help) = error.help() {
        eprintln!("   {cyan}help{off}: {help}");
    }
}

/// `12345678` as `12,345,678`.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// `1 anchor`, `2 anchors`.
pub(crate) fn plural(n: u64, what: &str) -> String {
    format!("{} {what}{}", count(n), if n == 1 { "" } else { "s" })
}

/// Bytes in the unit that fits.
pub(crate) fn bytes(n: u64) -> String {
    let mut value = n as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{n} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// Seconds as a person says them.
pub(crate) fn seconds(s: f64) -> String {
    match s {
        s if s < 60.0 => format!("{s:.1} s"),
        s if s < 3600.0 => format!("{:.0} min {:.0} s", (s / 60.0).floor(), s % 60.0),
        s => format!("{:.0} h {:.0} min", (s / 3600.0).floor(), (s % 3600.0) / 60.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            (count(0), count(999), count(1000), count(1_234_567)),
            ("0".into(), "999".into(), "1,000".into(), "1,234,567".into())
        );
        assert_eq!((bytes(512), bytes(3 << 20)), ("512 B".into(), "3.0 MiB".into()));
        assert_eq!(
            (seconds(2.04), seconds(125.0), seconds(7260.0)),
            ("2.0 s".into(), "2 min 5 s".into(), "2 h 1 min".into())
        );
    }
}
