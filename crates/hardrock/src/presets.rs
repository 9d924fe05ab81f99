//! Published mining set-ups as data: what each one sets, where that stands, and where hardrock differs from the original.
//!
//! A preset is a partial override of the flat options of `hardrock mine`: what it leaves `None` keeps its default, and a
//! flag given beside it wins. Originals drop the labelled positives and little else, so every preset names its filters:
//! otherwise the default filters would make it better than what it stands for.

use std::fmt::Write as _;

/// Options of `hardrock mine`, each in the syntax of its flag; `None` leaves the default.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Overrides {
    /// `--num-negatives`, per anchor.
    pub num_negatives: Option<usize>,
    /// `--top-k`, candidates per anchor and source.
    pub top_k: Option<usize>,
    /// `--range-min`, first rank of the window, 0 = best.
    pub range_min: Option<usize>,
    /// `--range-max`, first rank behind the window.
    pub range_max: Option<usize>,
    /// `--max-score`, in units of the judging source.
    pub max_score: Option<f32>,
    /// `--min-score`, in units of the judging source.
    pub min_score: Option<f32>,
    /// `--absolute-margin`, in units of the judging source.
    pub absolute_margin: Option<f32>,
    /// `--relative-margin`, share of the positive's score.
    pub relative_margin: Option<f32>,
    /// `--margin-against`: `min`, `max` or `mean`.
    pub margin_against: Option<&'static str>,
    /// `--filter`, one entry per filter.
    pub filters: Option<&'static [&'static str]>,
    /// `--select`.
    pub select: Option<&'static str>,
    /// `--shortfall`: `fewer`, `random` or `drop`.
    pub shortfall: Option<&'static str>,
    /// What the user must give besides, in words; nothing is set by it.
    pub needs: Option<&'static str>,
}

impl Overrides {
    /// Nothing set.
    const NONE: Self = Self {
        num_negatives: None,
        top_k: None,
        range_min: None,
        range_max: None,
        max_score: None,
        min_score: None,
        absolute_margin: None,
        relative_margin: None,
        margin_against: None,
        filters: None,
        select: None,
        shortfall: None,
        needs: None,
    };

    /// The flags that say the same, in the order of the help page: name without dashes, value.
    pub fn flags(&self) -> Vec<(&'static str, String)> {
        let number = |name, value: Option<usize>| value.map(|v| (name, v.to_string()));
        let real = |name, value: Option<f32>| value.map(|v| (name, v.to_string()));
        let word = |name, value: Option<&str>| value.map(|v| (name, v.to_owned()));
        [
            number("top-k", self.top_k),
            number("num-negatives", self.num_negatives),
            number("range-min", self.range_min),
            number("range-max", self.range_max),
            real("max-score", self.max_score),
            real("min-score", self.min_score),
            real("absolute-margin", self.absolute_margin),
            real("relative-margin", self.relative_margin),
            word("margin-against", self.margin_against),
            self.filters.map(|f| ("filter", f.join(","))),
            word("select", self.select),
            word("shortfall", self.shortfall),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// A published set-up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preset {
    /// Name on the command line.
    pub name: &'static str,
    /// Other names for it.
    pub aliases: &'static [&'static str],
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// The options it sets.
    pub sets: Overrides,
    /// Where the values stand: paper with section, or repository with file.
    pub source: &'static str,
    /// Where hardrock differs from the original, one sentence each.
    pub differs: &'static [&'static str],
}

impl Preset {
    /// The preset of a name or alias.
    pub fn find(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|p| p.name == name || p.aliases.contains(&name))
    }
}

const NV_RETRIEVER: &str = "NV-Retriever (arXiv 2407.15831), comparison of mining methods";
const FEWER: Option<&str> = Some("fewer");
const KNOWN: Option<&[&str]> = Some(&["known"]);
const NV_DEPTH: &str =
    "the original mines with a strong dense model; any source runs here, and --top-k keeps its default";

/// Every preset, in the order of the docs.
pub static PRESETS: &[Preset] = &[
    Preset {
        name: "naive",
        aliases: &["topk"],
        summary: "the hardest candidates that are no labelled positive",
        sets: Overrides {
            num_negatives: Some(4),
            filters: KNOWN,
            select: Some("top"),
            shortfall: FEWER,
            ..Overrides::NONE
        },
        source: NV_RETRIEVER,
        differs: &[NV_DEPTH],
    },
    Preset {
        name: "shifted",
        aliases: &["topk-shifted"],
        summary: "skips the ten best candidates, where false negatives crowd, and takes the next",
        sets: Overrides {
            num_negatives: Some(4),
            range_min: Some(10),
            filters: KNOWN,
            select: Some("top"),
            shortfall: FEWER,
            ..Overrides::NONE
        },
        source: NV_RETRIEVER,
        differs: &[
            NV_DEPTH,
            "ranks here count what is no labelled positive; the original counts the raw list",
        ],
    },
    Preset {
        name: "topk-abs",
        aliases: &[],
        summary: "drops candidates that score above 0.7, whatever the positive scores",
        sets: Overrides {
            num_negatives: Some(4),
            max_score: Some(0.7),
            filters: KNOWN,
            select: Some("top"),
            shortfall: FEWER,
            ..Overrides::NONE
        },
        source: NV_RETRIEVER,
        differs: &[NV_DEPTH, "0.7 is a cosine of the original's teacher; it means nothing for BM25 scores"],
    },
    Preset {
        name: "topk-marginpos",
        aliases: &[],
        summary: "drops candidates that score above the positive less 0.05",
        sets: Overrides {
            num_negatives: Some(4),
            absolute_margin: Some(0.05),
            margin_against: Some("min"),
            filters: KNOWN,
            select: Some("top"),
            shortfall: FEWER,
            ..Overrides::NONE
        },
        source: NV_RETRIEVER,
        differs: &[
            NV_DEPTH,
            "0.05 is a difference of cosines; scale it for other scores",
            "a score exactly on the limit stays here; of several positives the lowest counts, the original has one",
        ],
    },
    Preset {
        name: "topk-percpos",
        aliases: &["nv-retriever"],
        summary: "drops candidates that score above 95 % of the positive",
        sets: Overrides {
            num_negatives: Some(4),
            relative_margin: Some(0.05),
            margin_against: Some("min"),
            filters: KNOWN,
            select: Some("top"),
            shortfall: FEWER,
            ..Overrides::NONE
        },
        source: NV_RETRIEVER,
        differs: &[
            NV_DEPTH,
            "a score exactly on the limit stays here; of several positives the lowest counts, the original has one",
            "the margin is 5 % of the score's size, so it keeps its meaning below zero, where 95 % of the score does not",
            "4 negatives as in the comparison; the released model used 1 in its first stage and 5 in its second",
        ],
    },
    Preset {
        name: "sentence-transformers",
        aliases: &["st"],
        summary: "mine_hard_negatives with its defaults: the 3 best that are no positive, no margin",
        sets: Overrides {
            num_negatives: Some(3),
            range_min: Some(0),
            filters: Some(&["known", "text"]),
            select: Some("top"),
            shortfall: FEWER,
            ..Overrides::NONE
        },
        source: "sentence_transformers.util.mine_hard_negatives (commit cad2119)",
        differs: &[
            "the anchor's own text is dropped here when it stands in the corpus; the original keeps it as a negative",
            "the original looks only as deep as num_negatives + positives; with `top` the result is the same",
            "in n-tuple format the original leaves out anchors that are short: --shortfall drop",
        ],
    },
    Preset {
        name: "flagembedding",
        aliases: &["bge"],
        summary: "hn_mine.py with its defaults: 15 drawn at random from ranks 10 to 210",
        sets: Overrides {
            num_negatives: Some(15),
            top_k: Some(210),
            range_min: Some(10),
            range_max: Some(210),
            filters: Some(&["known", "text"]),
            select: Some("random"),
            shortfall: Some("random"),
            ..Overrides::NONE
        },
        source: "FlagEmbedding, scripts/hn_mine.py (commit 7ed43d6)",
        differs: &[
            "ranks here count what is no positive and not the anchor's text; the original counts the raw list",
            "the draw is seeded; the original's differs from run to run",
            "where a row is short, both fill with random documents; the fill is seeded here as well",
        ],
    },
    Preset {
        name: "ance",
        aliases: &[],
        summary: "20 drawn at random from the 200 nearest of the model that is being trained",
        sets: Overrides {
            num_negatives: Some(20),
            top_k: Some(200),
            filters: KNOWN,
            select: Some("random"),
            shortfall: FEWER,
            needs: Some("vectors of the current checkpoint: --corpus-vectors and --query-vectors"),
            ..Overrides::NONE
        },
        source: "microsoft/ANCE, commands/run_ann_data_gen.sh and drivers/run_ann_data_gen.py (arXiv 2007.00808)",
        differs: &[
            "the original mines again while it trains; run this once per refresh",
            "the original drops the anchor's one positive; here all its positives go",
        ],
    },
    Preset {
        name: "rocketqa",
        aliases: &[],
        summary: "keeps candidates that a cross-encoder scores at most 0.1, from the 50 best of a retriever",
        sets: Overrides {
            num_negatives: Some(4),
            top_k: Some(50),
            max_score: Some(0.1),
            filters: KNOWN,
            select: Some("top"),
            shortfall: Some("random"),
            needs: Some(
                "a run file ce.trec of cross-encoder scores in [0, 1] for the retrieved pairs, as second source and as judge: \
                 --source vectors,run:ce.trec --score-by ce",
            ),
            ..Overrides::NONE
        },
        source: "PaddlePaddle/Research, NLP/NAACL2021-RocketQA/data_process/construct_marco_train_de.py (arXiv 2010.08191)",
        differs: &[
            "takes the highest cross-encoder scores below the limit; the original goes down the retriever's list: \
             --select mix:vectors=1",
            "4 per anchor, the original 4 per positive; 0.1 itself stays here",
            "a candidate without a cross-encoder score is dropped, since nothing clears it",
            "short anchors are filled with random documents; the original draws from ranks behind 50",
        ],
    },
    Preset {
        name: "simans",
        aliases: &[],
        summary: "15 drawn around the positive's score, neither the hardest nor the easy ones",
        sets: Overrides {
            num_negatives: Some(15),
            filters: KNOWN,
            select: Some("simans:a=0.5,b=0"),
            shortfall: FEWER,
            needs: Some(
                "scores on the scale that a was chosen for: inner products that span tens (cosines need a in the hundreds)",
            ),
            ..Overrides::NONE
        },
        source: "microsoft/SimXNS, SimANS/utils/MARCO_until_Doc.py and train_MS_Pas_AR2.sh (arXiv 2210.11773)",
        differs: &[
            "the original draws anew at every training step, around one positive drawn at random; here once, around the lowest",
            "the original's passage variant weighs exp(-3 |s - p|) instead of the paper's square",
            "the depth of the pool is not set: --top-k keeps its default",
        ],
    },
    Preset {
        name: "star",
        aliases: &[],
        summary: "the 200 nearest of a warmed-up model, from which the trainer draws one per step",
        sets: Overrides {
            num_negatives: Some(200),
            top_k: Some(210),
            filters: KNOWN,
            select: Some("top"),
            shortfall: FEWER,
            needs: Some("vectors of the warm-up model: --corpus-vectors and --query-vectors"),
            ..Overrides::NONE
        },
        source: "jingtaozhan/DRhard, star/prepare_hardneg.py (arXiv 2104.08051)",
        differs: &[
            "the random half of STAR's negatives are the other documents of the training batch: the trainer's part",
            "an anchor with more than 10 positives may come short here; the original stops with an error",
        ],
    },
];

/// What a preset sets, as text for the terminal and the docs: a line each for what it does, the flags that say the same,
/// what it needs, where it stands and where hardrock differs.
pub fn describe(preset: &Preset) -> String {
    let mut text = format!("preset {}", preset.name);
    if !preset.aliases.is_empty() {
        let _ = write!(text, " (also {})", preset.aliases.join(", "));
    }
    let _ = writeln!(text, ": {}", preset.summary);
    let flags: Vec<_> = preset.sets.flags().iter().map(|(name, value)| format!("--{name} {value}")).collect();
    let _ = writeln!(text, "  sets     {}", flags.join(" "));
    if let Some(needs) = preset.sets.needs {
        let _ = writeln!(text, "  needs    {needs}");
    }
    let _ = writeln!(text, "  source   {}", preset.source);
    for difference in preset.differs {
        let _ = writeln!(text, "  differs  {difference}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_aliases_are_unique_and_lead_to_their_preset() {
        let mut names = Vec::new();
        for preset in PRESETS {
            for name in std::iter::once(&preset.name).chain(preset.aliases) {
                assert_eq!(Preset::find(name), Some(preset));
                names.push(*name);
            }
        }
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        assert_eq!(Preset::find("no-such-preset"), None);
    }

    #[test]
    fn no_two_presets_set_the_same() {
        for (i, a) in PRESETS.iter().enumerate() {
            for b in &PRESETS[..i] {
                assert_ne!(a.sets, b.sets, "{} and {}", a.name, b.name);
            }
        }
    }

    #[test]
    fn windows_lie_inside_what_is_retrieved_and_hold_enough() {
        for preset in PRESETS {
            let sets = preset.sets;
            let end = sets.range_max.or(sets.top_k).unwrap_or(100);
            assert!(end <= sets.top_k.unwrap_or(100), "{}", preset.name);
            assert!(sets.range_min.unwrap_or(0) + sets.num_negatives.unwrap_or(5) <= end, "{}", preset.name);
        }
    }

    #[test]
    fn every_preset_names_its_filters_selector_source_and_differences() {
        for p in PRESETS {
            assert!(p.sets.filters.is_some_and(|f| f.contains(&"known")), "{}", p.name);
            assert!(p.sets.select.is_some() && p.sets.shortfall.is_some(), "{}", p.name);
            assert!(!p.source.is_empty() && !p.differs.is_empty(), "{}", p.name);
        }
    }

    #[test]
    fn the_description_is_the_command_line_that_says_the_same() {
        let text = Preset::find("bge").map(describe).unwrap_or_default();
        let mut lines = text.lines();
        assert_eq!(
            lines.next(),
            Some(
                "preset flagembedding (also bge): hn_mine.py with its defaults: 15 drawn at random from ranks 10 to 210"
            )
        );
        assert_eq!(
            lines.next(),
            Some(
                "  sets     --top-k 210 --num-negatives 15 --range-min 10 --range-max 210 --filter known,text \
                 --select random --shortfall random"
            )
        );
        assert!(Preset::find("rocketqa").map(describe).unwrap_or_default().contains("--score-by ce"));
        assert!(
            Preset::find("nv-retriever")
                .map(describe)
                .unwrap_or_default()
                .contains("--relative-margin 0.05 ")
        );
    }
}
