//! How far training has come, on disk: a killed run goes on from here and ends with the same weights.

use hardrock_engine::training::State;
use serde::{Deserialize, Serialize};

use super::fit::Losses;
use super::run::Epoch;
use crate::store::{Array, Stage};
use crate::{Error, Result};

/// The place in the schedule.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Epochs that are done.
    pub(crate) epoch: usize,
    /// Steps of the next epoch that are done.
    pub(crate) step: usize,
    /// What those steps saw.
    pub(crate) losses: Losses,
    /// Steps of the optimiser.
    pub(crate) steps: u64,
    /// What was measured after each epoch, the start first.
    pub(crate) history: Vec<Epoch>,
    /// The epoch whose table is kept.
    pub(crate) best: usize,
}

/// All that the rest of a training depends on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Checkpoint {
    pub(crate) place: Place,
    pub(crate) state: State,
    /// The kept table; none where it is the current one.
    pub(crate) best: Option<Vec<f32>>,
}

impl Checkpoint {
    /// The last one, if there is a whole one.
    pub(crate) fn load(stage: &Stage) -> Result<Option<Self>> {
        let Some(arrays) = stage.load(0)? else { return Ok(None) };
        let Ok(place) = serde_json::from_slice::<Place>(&arrays.u8s("place")?) else { return Ok(None) };
        let best = arrays.f32s("best")?;
        let state = State {
            table: arrays.f32s("table")?,
            mean: arrays.f32s("mean")?,
            square: arrays.f32s("square")?,
            steps: place.steps,
        };
        Ok(Some(Self { place, state, best: (!best.is_empty()).then_some(best) }))
    }

    /// Writes one over the last.
    pub(crate) fn save(stage: &Stage, place: &Place, state: &State, best: Option<&[f32]>) -> Result<()> {
        let place = Place { steps: state.steps, ..place.clone() };
        let text = serde_json::to_vec(&place)
            .map_err(|e| Error::usage(format!("a checkpoint cannot be written: {e}"), ""))?;
        stage.save(
            0,
            &[
                ("place", Array::from(&text[..])),
                ("table", Array::from(&state.table[..])),
                ("mean", Array::from(&state.mean[..])),
                ("square", Array::from(&state.square[..])),
                ("best", Array::from(best.unwrap_or_default())),
            ],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Key, Store};

    #[test]
    fn a_checkpoint_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let stage = Store::open(folder.path()).unwrap().stage("train", &Key::new("train")).unwrap();
        assert!(Checkpoint::load(&stage).unwrap().is_none());
        let state = State { table: vec![1.0, 2.0], mean: vec![0.5, 0.0], square: vec![0.1, 1e-30], steps: 9 };
        let place = Place {
            epoch: 1,
            step: 3,
            losses: Losses { loss: 0.1 + 0.2, rows: 7, ..Losses::default() },
            steps: 9,
            history: vec![Epoch::default(), Epoch { epoch: 1, rate: 0.01, ..Epoch::default() }],
            best: 1,
        };
        for best in [None, Some(vec![3.0, 4.0])] {
            Checkpoint::save(&stage, &place, &state, best.as_deref()).unwrap();
            let back = Checkpoint::load(&stage).unwrap().unwrap();
            assert_eq!(back, Checkpoint { place: place.clone(), state: state.clone(), best });
        }
    }
}
