//! The sections of the page that list: sources, short anchors, samples, and the run itself.

use super::{row, section};
use crate::explain::Explained;
use crate::manifest::Manifest;
use crate::report::summary::{Sample, Summary};
use crate::report::svg;
use crate::report::text::{bytes, count, cut, escape, number, percent, things};

/// Characters of a document shown in a sample.
const TEXT: usize = 320;

/// What each source brought, and where they agree.
pub(in crate::report) fn sources(s: &Summary) -> String {
    let mut body = String::from("<div class=\"rows\">");
    for source in &s.by_source {
        let shared = source.proposed - source.alone;
        let bar = svg::bar(
            &[
                ("selected", shared, format!("{} shared with another source", count(shared))),
                ("kept", source.alone, format!("{} from this source alone", count(source.alone))),
            ],
            s.totals.retrieved,
        );
        let note = format!(
            "{} from no other source · {} of the selected are among them · {} of its candidates were dropped",
            percent(source.alone, source.proposed),
            percent(source.selected, s.totals.selected),
            percent(source.dropped, source.proposed),
        );
        let figure = format!("{} <span class=\"soft\">candidates</span>", count(source.proposed));
        body.push_str(&row(&escape(&source.source), &figure, &bar, &note));
    }
    body.push_str("</div>\n");
    let several = s.sources.len() > 1;
    if several {
        body.push_str(&overlap(s));
        body.push_str(&agreement(s));
    }
    let says = match (several, s.sources.first()) {
        (true, _) => {
            "Each bar is a source's share of all candidates; the part in blue is shared with another source."
                .to_owned()
        }
        (false, Some(only)) => {
            format!("<b>{}</b> is the only source: nothing can agree with it.", escape(only))
        }
        (false, None) => "The file names no source.".to_owned(),
    };
    section("Sources", &says, &body)
}

fn overlap(s: &Summary) -> String {
    let head: String = s.sources.iter().map(|n| format!("<th class=\"n\">{}</th>", escape(n))).collect();
    let mut html = format!(
        "<h3>Overlap</h3>\n<p>Share of the row's candidates that the column's source proposed too.</p>\n<div class=\"scroll\"><table><thead><tr><th></th>{head}</tr></thead><tbody>\n"
    );
    for (i, (name, both)) in s.sources.iter().zip(&s.overlap).enumerate() {
        let own = both.get(i).copied().unwrap_or(0);
        let cells: String = both
            .iter()
            .enumerate()
            .map(|(j, &n)| {
                if i == j {
                    "<td class=\"n soft\">–</td>".into()
                } else {
                    format!("<td class=\"n\">{}</td>", percent(n, own))
                }
            })
            .collect();
        html.push_str(&format!("<tr><th>{}</th>{cells}</tr>\n", escape(name)));
    }
    html + "</tbody></table></div>\n"
}

fn agreement(s: &Summary) -> String {
    let mut html = String::from(
        "<h3>Agreement</h3>\n<div class=\"scroll\"><table><thead><tr><th>proposed by</th><th class=\"n\">candidates</th>\
         <th class=\"n\">selected</th><th class=\"n\">dropped</th></tr></thead><tbody>\n",
    );
    for a in &s.agreement {
        html.push_str(&format!(
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n",
            things(a.sources as u64, "source", "sources"),
            count(a.candidates),
            percent(a.selected, a.candidates),
            percent(a.dropped, a.candidates)
        ));
    }
    html + "</tbody></table></div>\n"
}

/// Anchors by number of negatives.
pub(in crate::report) fn shortfall(s: &Summary) -> String {
    let t = &s.totals;
    let rows: String = s
        .anchors_by_negatives
        .iter()
        .rev()
        .map(|(&n, &anchors)| {
            let class = if t.asked.is_some_and(|k| n < k) { "dropped" } else { "selected" };
            let told =
                format!("{}: {}", things(n, "negative", "negatives"), things(anchors, "anchor", "anchors"));
            let bar = svg::bar(&[(class, anchors, told)], t.anchors);
            let figure = format!(
                "{} <span class=\"soft\">{}</span>",
                things(anchors, "anchor", "anchors"),
                percent(anchors, t.anchors)
            );
            row(&things(n, "negative", "negatives"), &figure, &bar, "")
        })
        .collect();
    let mut body = format!("<div class=\"rows\">{rows}</div>\n");
    if !s.shortest.is_empty() {
        body.push_str(
            "<h3>Anchors with the fewest</h3>\n<div class=\"scroll\"><table><thead><tr><th>anchor</th><th class=\"n\">selected</th>\
             <th class=\"n\">candidates</th><th class=\"n\">dropped</th></tr></thead><tbody>\n",
        );
        for a in &s.shortest {
            body.push_str(&format!(
                "<tr><td class=\"id\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n",
                escape(&a.query_id),
                count(a.selected),
                count(a.retrieved),
                count(a.dropped)
            ));
        }
        body.push_str("</tbody></table></div>\n");
    }
    let says = match t.asked {
        Some(k) => format!(
            "{k} were asked for. Nothing is padded in silence: an anchor with too few candidates left shows here."
        ),
        None => "How many were asked for is not known.".to_owned(),
    };
    section("Negatives per anchor", &says, &body)
}

/// Some anchors with their documents.
pub(in crate::report) fn samples(s: &Summary) -> String {
    let body: String = s.samples.iter().enumerate().map(|(i, sample)| anchor(sample, i == 0)).collect();
    let says = format!(
        "{}, drawn at random by the seed. <code>hardrock explain</code> shows any other in full.",
        things(s.samples.len() as u64, "anchor", "anchors")
    );
    section("Samples", &says, &body)
}

fn anchor(sample: &Sample, open: bool) -> String {
    let text = sample.text.as_deref().map(|t| format!(" {}", escape(&cut(t, TEXT)))).unwrap_or_default();
    let mut html = format!(
        "<details{}><summary><code>{}</code>{text} <span class=\"soft\">· {} selected, {} dropped</span></summary>\n",
        if open { " open" } else { "" },
        escape(&sample.query_id),
        sample.counts[1],
        sample.counts[2]
    );
    let groups = [
        ("p", "positive", &sample.positives),
        ("s", "selected", &sample.selected),
        ("d", "dropped", &sample.dropped),
    ];
    for ((class, tag, documents), total) in groups.into_iter().zip(sample.counts) {
        documents.iter().for_each(|d| html.push_str(&document(d, class, tag)));
        if total > documents.len() {
            html.push_str(&format!("<small>and {} more {tag}</small>\n", total - documents.len()));
        }
    }
    html + "</details>\n"
}

fn document(d: &Explained, class: &str, tag: &str) -> String {
    let score = d.score.map(|s| format!(" · score {}", number(f64::from(s)))).unwrap_or_default();
    let rank = d.rank.map(|r| format!(" · rank {r}")).unwrap_or_default();
    let text = d.text.as_deref().map(|t| format!("<br>{}", escape(&cut(t, TEXT)))).unwrap_or_default();
    let why = match (d.reason, &d.because) {
        (Some(reason), Some(because)) => {
            format!("<br><span class=\"why\"><b>{}</b>: {}</span>", escape(reason), escape(because))
        }
        _ => String::new(),
    };
    format!(
        "<div class=\"doc {class}\"><span class=\"tag\">{tag}</span> <span class=\"id\">{}</span><span class=\"soft\">{score}{rank}</span>{text}{why}</div>\n",
        escape(&d.doc_id)
    )
}

/// What was asked and what it took.
pub(in crate::report) fn run(s: &Summary) -> String {
    let Some(m) = &s.manifest else {
        return section("The run", "There is no manifest beside the mined file.", "");
    };
    let total: f64 = m.seconds.iter().map(|(_, t)| t).sum();
    let says = format!(
        "hardrock {}: {} seconds, {} at the peak.",
        escape(&m.version),
        number(total),
        bytes(m.peak_memory)
    );
    let mut body = stages(m, total);
    if !m.notices.is_empty() {
        body.push_str("<h3>What the readers noticed</h3>\n<div class=\"scroll\"><table><tbody>\n");
        for (what, n) in &m.notices {
            body.push_str(&format!("<tr><td>{}</td><td class=\"n\">{}</td></tr>\n", escape(what), count(*n)));
        }
        body.push_str("</tbody></table></div>\n");
    }
    if !m.recall.is_empty() {
        body.push_str("<h3>Search that is not exact</h3>\n<div class=\"scroll\"><table><tbody>\n");
        for (source, recall) in &m.recall {
            body.push_str(&format!("<tr><td>{}</td><td>{recall}</td></tr>\n", escape(source)));
        }
        body.push_str("</tbody></table></div>\n");
    }
    for (title, files) in [("Inputs", &m.inputs), ("Outputs", &m.outputs)] {
        if files.is_empty() {
            continue;
        }
        body.push_str(&format!(
            "<h3>{title}</h3>\n<div class=\"scroll\"><table><thead><tr><th>file</th><th>BLAKE3</th></tr></thead><tbody>\n"
        ));
        for (file, hash) in files {
            let (file, hash, short) =
                (escape(file), escape(hash), escape(&hash.chars().take(16).collect::<String>()));
            body.push_str(&format!(
                "<tr><td class=\"id\">{file}</td><td><code title=\"{hash}\">{short}…</code></td></tr>\n"
            ));
        }
        body.push_str("</tbody></table></div>\n");
    }
    let config = serde_json::to_string_pretty(&m.config).unwrap_or_default();
    body.push_str(&format!(
        "<details><summary>Configuration</summary><pre>{}</pre></details>\n",
        escape(&config)
    ));
    section("The run", &says, &body)
}

fn stages(m: &Manifest, total: f64) -> String {
    // Bars need whole numbers: microseconds.
    let micro = |seconds: f64| (seconds.max(0.0) * 1e6) as u64;
    let rows: String = m
        .seconds
        .iter()
        .map(|(stage, seconds)| {
            let bar =
                svg::bar(&[("kept", micro(*seconds), format!("{stage}: {seconds:.3} s"))], micro(total));
            row(&escape(stage), &format!("{} s", number(*seconds)), &bar, "")
        })
        .collect();
    format!("<div class=\"rows\">{rows}</div>\n")
}
