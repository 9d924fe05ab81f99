//! What `mine` says at its end.

use hardrock::mine::Outcome;

use crate::render;

/// Tells a person how the run went, on stderr.
#[expect(clippy::print_stderr, reason = "the summary belongs on stderr")]
pub(super) fn tell(outcome: &Outcome) {
    eprintln!("{}", summary(outcome));
}

fn summary(outcome: &Outcome) -> String {
    let c = &outcome.manifest.counts;
    let n = render::count;
    let mut dropped: Vec<(&String, &u64)> = c.dropped.iter().filter(|(_, n)| **n > 0).collect();
    dropped.sort_by_key(|(name, n)| (std::cmp::Reverse(**n), name.as_str()));
    let reasons: Vec<String> = dropped.iter().map(|(name, count)| format!("{} {name}", n(**count))).collect();
    let total: u64 = c.dropped.values().sum();
    let many = render::plural;
    let mut text = format!("mined {} for {}", many(c.selected, "negative"), many(c.anchors, "anchor"));
    if c.filled > 0 {
        text += &format!(" ({} of them random fill)", n(c.filled));
    }
    text += &format!("; {}, {} kept, {} dropped", many(c.retrieved, "candidate"), n(c.kept), n(total));
    if !reasons.is_empty() {
        text += &format!(" ({})", reasons.join(", "));
    }
    text += &match c.short {
        0 => "; none short".to_owned(),
        short => format!("; {} short on {}", n(short), many(c.short_anchors, "anchor")),
    };
    if c.dropped_anchors > 0 {
        text += &format!("; {} left out", many(c.dropped_anchors, "anchor"));
    }
    if let Some(p_fn) = &outcome.manifest.p_fn {
        text += &match &p_fn.promise {
            Some(promise) => format!("\n  promise: {}", promise.words),
            None => format!(
                "\n  p_fn says that {:.1} % of the selected are false negatives (an estimate; {})",
                p_fn.expected * 100.0,
                p_fn.models.note
            ),
        };
    }
    for (what, count) in &outcome.manifest.notices {
        text += &format!("\n  note: {} {what}", n(*count));
    }
    for (source, recall) in &outcome.manifest.recall {
        text += &format!("\n  note: {source}: {recall}");
    }
    let files: Vec<String> = outcome.files.iter().map(|f| f.display().to_string()).collect();
    text += &format!(
        "\n  {} with {} at peak{}; wrote {}",
        render::seconds(outcome.seconds),
        render::bytes(outcome.manifest.peak_memory),
        if outcome.reused > 0 {
            format!(", {} finished chunks used again", n(outcome.reused))
        } else {
            String::new()
        },
        files.join(", "),
    );
    text
}
