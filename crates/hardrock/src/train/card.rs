//! The model card: `README.md` of a trained model's folder. Names data, hashes, recipe and figures.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use super::run::Epoch;
use super::spec::TrainSpec;
use crate::Result;

/// What a card tells.
pub(crate) struct Card<'a> {
    pub(crate) spec: &'a TrainSpec,
    /// What learning started from, in words.
    pub(crate) start: &'a str,
    pub(crate) vocabulary: usize,
    pub(crate) dim: usize,
    pub(crate) pairs: usize,
    pub(crate) held_out: usize,
    pub(crate) documents: usize,
    /// Anchors with mined negatives.
    pub(crate) mined: usize,
    /// Input files with their hashes.
    pub(crate) inputs: &'a BTreeMap<String, String>,
    pub(crate) history: &'a [Epoch],
    /// The epoch whose weights these are.
    pub(crate) best: usize,
    pub(crate) warnings: &'a [String],
}

impl Card<'_> {
    /// The card as Markdown.
    pub(crate) fn markdown(&self) -> Result<String> {
        let name = self.spec.write.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut text = format!(
            "---\npipeline_tag: sentence-similarity\nlibrary_name: sentence-transformers\ntags:\n- sentence-transformers\n\
             - sentence-similarity\n- feature-extraction\n- static-embeddings\n- hardrock\n---\n\n# {name}\n\n\
             A static embedding model: a text is the mean of its tokens' vectors, at unit length. {} tokens, {} columns.\n\n\
             ```python\nfrom sentence_transformers import SentenceTransformer\n\n\
             model = SentenceTransformer(\"{name}\")\nvectors = model.encode([\"a text\", \"another text\"])\n```\n",
            self.vocabulary, self.dim
        );
        let _ = write!(
            text,
            "\n## Data\n\n{} pairs over {} documents; {} anchors were held out and seen by no step.\n\n| file | BLAKE3 |\n|---|---|\n",
            self.pairs, self.documents, self.held_out
        );
        for (path, hash) in self.inputs {
            let file = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
            let _ = writeln!(text, "| `{file}` | `{hash}` |");
        }
        let negatives = match self.mined {
            0 => {
                "No negatives were mined: the other rows' documents of a batch are the negatives.".to_owned()
            }
            mined => format!("{mined} anchors have mined negatives beside the other rows' documents."),
        };
        let _ = write!(
            text,
            "\n## Recipe\n\nStart: {}. {negatives} Trained with hardrock {}; the same data and this recipe give the same \
             weights on any number of threads.\n\n```toml\n{}```\n",
            self.start,
            env!("CARGO_PKG_VERSION"),
            self.recipe()?
        );
        let _ = write!(
            text,
            "\n## Figures\n\nThe weights are those after epoch {} (0 = the start). nDCG@10: the held-out anchors' positives, \
             exact search over all documents.\n\n\
             | epoch | loss | nDCG@10 | positive | hardest negative | alignment | uniformity | effective rank |\n\
             |---:|---:|---:|---:|---:|---:|---:|---:|\n",
            self.best
        );
        for epoch in self.history {
            let health = &epoch.measured.health;
            let loss =
                if epoch.epoch == 0 { "–".to_owned() } else { format!("{:.4}", epoch.losses.mean()) };
            let ndcg = epoch.measured.ndcg.map_or_else(|| "–".to_owned(), |ndcg| format!("{ndcg:.4}"));
            let _ = writeln!(
                text,
                "| {} | {loss} | {ndcg} | {:.3} | {:.3} | {:.3} | {:.2} | {:.1} |",
                epoch.epoch,
                health.positive,
                health.hardest,
                health.alignment,
                health.uniformity,
                health.effective_rank
            );
        }
        text.push_str("\n![Loss and nDCG@10 by epoch](curves.svg)\n");
        if !self.warnings.is_empty() {
            text.push_str("\n## Warnings\n\n");
            for warning in self.warnings {
                let _ = writeln!(text, "- {warning}");
            }
        }
        Ok(text)
    }

    /// The job without this machine's folders.
    fn recipe(&self) -> Result<String> {
        let mut spec = self.spec.clone();
        let short = |path: &mut std::path::PathBuf| {
            if let Some(name) = path.file_name() {
                *path = name.into();
            }
        };
        let data = &mut spec.data;
        let files = [
            &mut data.folder,
            &mut data.corpus,
            &mut data.queries,
            &mut data.qrels,
            &mut data.pairs,
            &mut data.triples,
            &mut data.rows,
        ];
        files.into_iter().flatten().for_each(short);
        short(&mut spec.write.path);
        if let Some(name) = Path::new(&spec.model.start).file_name() {
            spec.model.start = name.to_string_lossy().into_owned();
        }
        spec.to_toml()
    }
}
