//! BM25 over the corpus.

use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hardrock_core::{AnchorId, ItemId};
use hardrock_engine::index::{
    Bm25, Bm25Options, Forward, IndexError, Neighbours, RowBuffer, Texts, TokenOptions, Tokenizer, Watch,
};

use super::Source;
use crate::read::Table;
use crate::store::Stage;
use crate::{Error, Result};

/// A table's texts, or those of some of its records, as an index wants them.
#[derive(Clone, Copy)]
pub struct TableTexts<'a> {
    table: &'a Table,
    chosen: Option<&'a [AnchorId]>,
}

impl<'a> TableTexts<'a> {
    /// All records.
    pub fn all(table: &'a Table) -> Self {
        Self { table, chosen: None }
    }

    /// The records of these anchors, numbered by their place in the list.
    pub fn of(table: &'a Table, chosen: &'a [AnchorId]) -> Self {
        Self { table, chosen: Some(chosen) }
    }
}

impl Texts for TableTexts<'_> {
    fn len(&self) -> usize {
        self.chosen.map_or(self.table.len(), <[AnchorId]>::len)
    }

    fn for_each(
        &self,
        range: Range<usize>,
        f: &mut dyn FnMut(usize, &str),
    ) -> hardrock_engine::index::Result<()> {
        let failed = |e: Error| IndexError::Texts(Box::new(e));
        let Some(chosen) = self.chosen else { return self.table.for_each(range, f).map_err(failed) };
        for at in range {
            f(at, &self.table.text(chosen[at].0).map_err(failed)?);
        }
        Ok(())
    }
}

/// The corpus as terms, kept in a file of its stage.
#[derive(Debug, Clone)]
pub struct Lexical {
    /// The forward index.
    pub forward: Arc<Forward>,
    /// What made its terms.
    pub tokens: TokenOptions,
}

/// Name of the forward index in its stage.
const FORWARD: &str = "forward.bin";

impl Lexical {
    /// Opens the stage's forward index, or builds it; `fresh` builds it in any case. Its rows come into memory when they
    /// take at most `room` bytes.
    pub fn open(
        items: &Table,
        tokens: &TokenOptions,
        stage: &Stage,
        (fresh, room): (bool, u64),
        cancel: &AtomicBool,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<Self> {
        let path = stage.folder().join(FORWARD);
        let tokenizer = || Tokenizer::new(tokens.clone());
        let forward = match (path.exists() && !fresh).then(|| Forward::open(&path, tokenizer()?, room)) {
            Some(Ok(forward)) if forward.len() == items.len() => forward,
            _ => {
                Self::build(items, tokenizer()?, &path, cancel, progress)?;
                Forward::open(&path, tokenizer()?, room)?
            }
        };
        Ok(Self { forward: Arc::new(forward), tokens: tokens.clone() })
    }

    fn build(
        items: &Table,
        tokenizer: Tokenizer,
        path: &Path,
        cancel: &AtomicBool,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<()> {
        let part = path.with_extension("part");
        let watch = Watch { cancel: Some(cancel), progress: Some(progress) };
        let built = Forward::build_in_file(&TableTexts::all(items), tokenizer, &part, &watch);
        if let Err(e) = built {
            let _ = std::fs::remove_file(&part);
            return Err(e.into());
        }
        std::fs::rename(&part, path).map_err(Error::io("write", path))
    }
}

/// BM25 as a source of candidates.
pub struct Bm25Source<'a> {
    index: Bm25,
    anchors: &'a Table,
    judged: &'a [AnchorId],
}

impl<'a> Bm25Source<'a> {
    /// `budget` in bytes bounds the postings in memory.
    pub fn new(
        lexical: &Lexical,
        options: &Bm25Options,
        budget: u64,
        anchors: &'a Table,
        judged: &'a [AnchorId],
    ) -> Result<Self> {
        let index = Bm25::build(Arc::clone(&lexical.forward), *options, budget)?;
        Ok(Self { index, anchors, judged })
    }
}

thread_local! {
    /// Room for rows of a forward index that lies in a file.
    static ROWS: RefCell<RowBuffer> = RefCell::default();
}

/// Lends this thread's row buffer.
pub(crate) fn with_rows<T>(work: impl FnOnce(&mut RowBuffer) -> T) -> T {
    ROWS.with_borrow_mut(work)
}

impl Source for Bm25Source<'_> {
    fn propose(&self, range: Range<usize>, depth: usize, cancel: &AtomicBool) -> Result<Neighbours> {
        let queries = TableTexts::of(self.anchors, self.judged);
        let watch = Watch { cancel: Some(cancel), progress: None };
        self.index.search(&queries, range, depth, &watch).map_err(Error::from)
    }

    fn score(&self, anchor: AnchorId, items: &[ItemId], out: &mut [f32]) -> Result<()> {
        let query = self.index.forward().query(&self.anchors.text(anchor.0)?);
        with_rows(|rows| {
            for (slot, item) in out.iter_mut().zip(items) {
                *slot = self.index.score(&query, item.0, rows)?;
            }
            Ok(())
        })
    }

    fn exactness(&self) -> String {
        match self.index.parts() {
            0 | 1 => "exact, index in memory".into(),
            n => format!("exact, index in {n} parts made one after another to stay within memory"),
        }
    }
}
