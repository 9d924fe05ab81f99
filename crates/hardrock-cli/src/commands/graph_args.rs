//! The options of the corpus's graph, and of the families that it can make.

use clap::Args;
use hardrock::mine::MineSpec;
use hardrock::mine::spec::{FamilyBy, FiltersSpec, SourceSpec};
use hardrock::{Error, Result};

/// How the graph of the corpus is walked.
#[derive(Debug, Args)]
pub(crate) struct GraphArgs {
    /// Neighbours of each document in the source graph [default: --top-k]
    #[arg(long, value_name = "K", help_heading = "Candidates")]
    graph_neighbours: Option<usize>,
    /// Documents found for the anchor itself whose neighbours the source graph proposes, too [default: 0]
    #[arg(long, value_name = "N", help_heading = "Candidates")]
    graph_retrieved: Option<usize>,
}

impl GraphArgs {
    /// Sets what is given on every graph of the job.
    pub(crate) fn set(&self, spec: &mut MineSpec) -> Result<()> {
        let mut graphs = 0;
        for pool in &mut spec.pool {
            if let SourceSpec::Graph(graph) = &mut pool.source {
                graph.neighbours = self.graph_neighbours.or(graph.neighbours);
                graph.retrieved = self.graph_retrieved.unwrap_or(graph.retrieved);
                graphs += 1;
            }
        }
        let given = [
            ("--graph-neighbours", self.graph_neighbours.is_some()),
            ("--graph-retrieved", self.graph_retrieved.is_some()),
        ];
        match given.iter().find(|(_, given)| *given && graphs == 0) {
            Some((option, _)) => Err(Error::usage(
                format!("{option} is given, but no source of this run uses it"),
                "add graph to --source",
            )),
            None => Ok(()),
        }
    }
}

/// What makes a family.
#[derive(Debug, Args)]
pub(crate) struct FamilyArgs {
    /// What makes documents one family: text, or graph (cosine of neighbours in the source graph) [default: text]
    #[arg(long, value_name = "NAME", help_heading = "Filters", value_parser = parse_family_by)]
    family_by: Option<FamilyBy>,
}

fn parse_family_by(text: &str) -> std::result::Result<FamilyBy, String> {
    match text {
        "text" => Ok(FamilyBy::Text),
        "graph" => Ok(FamilyBy::Graph),
        _ => Err("one of text, graph".into()),
    }
}

impl FamilyArgs {
    /// Sets what is given, for the filter that reads it.
    pub(crate) fn set(&self, filters: &mut FiltersSpec) -> Result<()> {
        let Some(family_by) = self.family_by else { return Ok(()) };
        if !filters.chain.iter().any(|f| f.name() == "family") {
            return Err(Error::usage(
                "--family-by says what makes a family, but there is no family filter",
                "add family to --filter",
            ));
        }
        filters.family_by = family_by;
        Ok(())
    }
}
