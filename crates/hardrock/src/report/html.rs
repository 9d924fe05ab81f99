//! The report's page: head, headline, figures at a glance, then the sections.

use super::sections;
use super::summary::Summary;
use super::text::{count, escape, number, percent, things};

/// The page's style sheet.
const STYLE: &str = include_str!("style.css");

/// The whole page. `name` is the mined file's name.
pub fn page(s: &Summary, name: &str) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{name} · hardrock report</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n",
        name = escape(name)
    );
    html.push_str(&header(s, name));
    for section in [
        sections::funnel(s),
        sections::reasons(s),
        sections::scores(s),
        sections::hardness(s),
        sections::ranks(s),
        sections::suspects(s),
        sections::false_negatives(s),
        sections::sources(s),
        sections::shortfall(s),
        sections::samples(s),
        sections::run(s),
    ] {
        html.push_str(&section);
    }
    html.push_str("<footer>Ranks start at 0, as in the files and in --range-min. Quantiles are as exact as the bars of a fine histogram are wide.</footer>\n</main>\n</body>\n</html>\n");
    html
}

fn header(s: &Summary, name: &str) -> String {
    let version = s.manifest.as_ref().map(|m| format!(" · hardrock {}", m.version)).unwrap_or_default();
    let mut html = format!(
        "<header>\n<small><code>{}</code>{}</small>\n<h1>{}</h1>\n<p class=\"lead\">{}</p>\n",
        escape(name),
        escape(&version),
        headline(s),
        lead(s)
    );
    for warning in &s.warnings {
        html.push_str(&format!("<p class=\"warn\">{}</p>\n", escape(warning)));
    }
    html.push_str("</header>\n");
    html.push_str(&tiles(s));
    html
}

/// The result in one line.
fn headline(s: &Summary) -> String {
    format!(
        "{} for {}",
        things(s.totals.selected, "hard negative", "hard negatives"),
        things(s.totals.anchors, "anchor", "anchors")
    )
}

/// What happened, in words.
fn lead(s: &Summary) -> String {
    let t = &s.totals;
    let mut text = format!(
        "{} looked at, judged by <b>{}</b>; {} dropped ({}).",
        things(t.retrieved, "candidate was", "candidates were"),
        escape(&s.score_by),
        count(t.dropped),
        percent(t.dropped, t.retrieved)
    );
    if let Some(first) = s.reasons.first() {
        let (share, reason) = (percent(first.count, t.dropped), escape(first.reason));
        text.push_str(&format!(" The filter <b>{reason}</b> dropped most: {share} of them."));
    }
    let Some(counts) = s.manifest.as_ref().map(|m| &m.counts) else { return text };
    if counts.short == 0 {
        text.push_str(" Every anchor got all the negatives asked for.");
    } else {
        text.push_str(&format!(
            " Of {} negatives asked for, <b>{} could not be had</b> ({}).",
            count(counts.requested),
            count(counts.short),
            things(counts.short_anchors, "anchor is short", "anchors are short")
        ));
    }
    if counts.filled > 0 {
        text.push_str(&format!(" {} were filled in at random.", count(counts.filled)));
    }
    if counts.dropped_anchors > 0 {
        let anchors = things(counts.dropped_anchors, "anchor is", "anchors are");
        text.push_str(&format!(" {anchors} left out of the output."));
    }
    text
}

fn tiles(s: &Summary) -> String {
    let t = &s.totals;
    let per_anchor = if t.anchors > 0 { number(t.selected as f64 / t.anchors as f64) } else { "–".into() };
    let asked = t.asked.map(|k| format!("; {k} asked for")).unwrap_or_default();
    let above = &s.hardness;
    let tiles = [
        (per_anchor, format!("negatives per anchor{asked}")),
        (
            above.rank.mean().map_or_else(|| "–".into(), number),
            "mean rank of the selected among the judged candidates".to_owned(),
        ),
        (
            percent(above.above_positive, above.gap.n()),
            "of the selected score above their positive".to_owned(),
        ),
        (percent(t.dropped, t.retrieved), "of the candidates were dropped".to_owned()),
    ];
    let mut html = String::from("<div class=\"tiles\">\n");
    for (figure, what) in tiles {
        html.push_str(&format!("<div class=\"tile\"><b>{figure}</b><span>{what}</span></div>\n"));
    }
    html + "</div>\n"
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::report::summary::tests::{figures, hostile};

    /// Elements that have no end tag.
    const VOID: [&str; 2] = ["meta", "br"];

    /// Checks that tags are balanced and properly nested; gives every tag with its attributes.
    fn well_formed(html: &str) -> Vec<String> {
        let mut rest = html.strip_prefix("<!doctype html>").expect("a doctype first");
        let (mut open, mut tags) = (Vec::new(), Vec::new());
        while let Some(start) = rest.find('<') {
            let text = &rest[..start];
            assert!(!text.contains('>') || open.last() == Some(&"style".to_owned()), "stray `>` in {text:?}");
            let end = start + rest[start..].find('>').expect("a tag that ends");
            let tag = &rest[start + 1..end];
            rest = &rest[end + 1..];
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop().as_deref(), Some(name), "before {:?}", &rest[..rest.len().min(80)]);
                continue;
            }
            let name = tag.split([' ', '\n']).next().unwrap_or_default().to_owned();
            assert_eq!(tag.matches('"').count() % 2, 0, "quotes of <{tag}>");
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "<{tag}>");
            if !VOID.contains(&name.as_str()) {
                open.push(name);
            }
            tags.push(tag.to_owned());
        }
        assert!(open.is_empty(), "never closed: {open:?}");
        tags
    }

    #[test]
    fn the_page_is_well_formed_and_needs_nothing_but_itself() {
        for summary in [figures(), hostile()] {
            let html = page(&summary, "mined <&> \"quoted\".jsonl");
            let tags = well_formed(&html);
            for tag in &tags {
                let name = tag.split(' ').next().unwrap_or_default();
                assert!(
                    !["script", "link", "img", "iframe", "object", "base", "a"].contains(&name),
                    "<{tag}>"
                );
                for attribute in [" src=", " href=", " on", "xlink", "url("] {
                    assert!(!tag.contains(attribute), "<{tag}>");
                }
            }
            assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
            assert!(tags.iter().any(|t| t.contains("width=device-width")));
            assert!(STYLE.contains("prefers-color-scheme:dark"));
        }
    }

    #[test]
    fn texts_from_the_data_are_shown_as_text() {
        let html = page(&hostile(), "m");
        assert!(!html.contains("<script>alert"));
        assert!(html.contains("&lt;script&gt;alert"));
    }

    #[test]
    fn the_headline_says_what_came_out_and_what_did_not() {
        insta::assert_snapshot!(format!("{}\n{}", headline(&figures()), lead(&figures())));
    }

    #[test]
    fn an_empty_run_makes_a_page_too() {
        let collector = crate::report::summary::Collector::new(&["bm25".into()], "bm25", None);
        let html = page(&collector.finish(), "m");
        well_formed(&html);
        assert!(html.contains("0 hard negatives for 0 anchors") && !html.contains("NaN"));
    }
}
