//! A model's weights as they are trained: by the names they have in its files, with their slopes.

use std::borrow::Cow;

use crate::encoders::{Error, Result, Tensors};

use super::adapter::Adapter;

/// A parameter's place among all.
pub(super) type Index = usize;

/// Slopes of the last backward passes.
#[derive(Debug, Clone)]
pub(super) enum Slope {
    /// Like the values.
    Dense(Vec<f32>),
    /// Some rows of a table.
    Rows(Rows),
    /// It does not train.
    Fixed,
}

/// Slopes of the rows of a table that were touched.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows {
    pub(super) columns: usize,
    /// The touched rows, in the order in which they were.
    pub(super) touched: Vec<u32>,
    /// `[touched][columns]`.
    pub(super) values: Vec<f32>,
    /// Per row of the table its place among the touched plus one, or 0.
    places: Vec<u32>,
}

impl Rows {
    fn new(rows: usize, columns: usize) -> Self {
        Self { columns, touched: Vec::new(), values: Vec::new(), places: vec![0; rows] }
    }

    /// The slopes of a row, to be added to.
    pub(super) fn row(&mut self, row: u32) -> &mut [f32] {
        let place = &mut self.places[row as usize];
        if *place == 0 {
            self.touched.push(row);
            *place = self.touched.len() as u32;
            self.values.resize(self.touched.len() * self.columns, 0.0);
        }
        &mut self.values[(*place as usize - 1) * self.columns..][..self.columns]
    }

    /// The slopes of a row, where it was touched.
    pub(super) fn get(&self, row: usize) -> Option<&[f32]> {
        let place = (self.places[row] as usize).checked_sub(1)?;
        Some(&self.values[place * self.columns..][..self.columns])
    }

    /// All rows, as a table of `count` numbers.
    pub(super) fn whole(&self, count: usize) -> Vec<f32> {
        let mut whole = vec![0.0; count];
        for (&row, values) in self.touched.iter().zip(self.values.chunks_exact(self.columns.max(1))) {
            whole[row as usize * self.columns..][..self.columns].copy_from_slice(values);
        }
        whole
    }

    fn clear(&mut self) {
        self.touched.iter().for_each(|&row| self.places[row as usize] = 0);
        self.touched.clear();
        self.values.clear();
    }
}

/// One tensor of a model.
#[derive(Debug)]
pub(super) struct Parameter {
    /// 0 for the transformer, 1 … for the dense layers after it.
    pub(super) part: usize,
    /// As in the file.
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
    pub(super) slope: Slope,
    pub(super) adapter: Option<Adapter>,
}

/// All tensors of a model.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    pub(super) all: Vec<Parameter>,
}

impl Parameters {
    /// Takes the tensor `name` of the part `part`; a free axis of `shape` is `None`.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Shape`], [`Error::Read`].
    pub(super) fn take(
        &mut self,
        part: usize,
        tensors: &dyn Tensors,
        name: String,
        shape: &[Option<usize>],
    ) -> Result<Index> {
        let tensor = tensors.get(&name)?.ok_or_else(|| Error::Missing(name.clone()))?;
        let fits = tensor.shape.len() == shape.len()
            && tensor.shape.iter().zip(shape).all(|(&got, want)| want.is_none_or(|want| want == got));
        if !fits {
            let shown = shape.iter().enumerate();
            let expected = shown.map(|(i, w)| w.or(tensor.shape.get(i).copied()).unwrap_or(0)).collect();
            return Err(Error::Shape { name, expected, got: tensor.shape });
        }
        let slope = Slope::Dense(vec![0.0; tensor.values.len()]);
        let (shape, values) = (tensor.shape, tensor.values);
        self.all.push(Parameter { part, name, shape, values, slope, adapter: None });
        Ok(self.all.len() - 1)
    }

    /// Lets a table have slopes of touched rows only.
    pub(super) fn by_rows(&mut self, table: Index) {
        let parameter = &mut self.all[table];
        if let [rows, columns] = parameter.shape[..] {
            parameter.slope = Slope::Rows(Rows::new(rows, columns));
        }
    }

    pub(super) fn values(&self, index: Index) -> &[f32] {
        &self.all[index].values
    }

    /// The values with what an adapter adds.
    pub(super) fn effective(&self, index: Index) -> Cow<'_, [f32]> {
        let parameter = &self.all[index];
        match &parameter.adapter {
            None => Cow::Borrowed(&parameter.values),
            Some(adapter) => Cow::Owned(adapter.merged(&parameter.values)),
        }
    }

    /// Slopes to be added to; none for what does not train.
    pub(super) fn slope_mut(&mut self, index: Index) -> Option<&mut [f32]> {
        let parameter = &mut self.all[index];
        match (&mut parameter.adapter, &mut parameter.slope) {
            (Some(adapter), _) => Some(adapter.whole_slope()),
            (None, Slope::Dense(slope)) => Some(slope),
            (None, _) => None,
        }
    }

    /// Adds to the slopes of a row of a table.
    pub(super) fn add_row(&mut self, table: Index, row: u32, slope: &[f32]) {
        let add = |to: &mut [f32]| to.iter_mut().zip(slope).for_each(|(to, x)| *to += x);
        match &mut self.all[table].slope {
            Slope::Dense(values) => add(&mut values[row as usize * slope.len()..][..slope.len()]),
            Slope::Rows(rows) => add(rows.row(row)),
            Slope::Fixed => {}
        }
    }

    /// Whether the parameter itself is trained.
    pub(super) fn trains(&self, index: Index) -> bool {
        self.all[index].adapter.is_some() || !matches!(self.all[index].slope, Slope::Fixed)
    }

    /// Sets all slopes to zero.
    pub(super) fn clear_slopes(&mut self) {
        for parameter in &mut self.all {
            match &mut parameter.slope {
                Slope::Dense(slope) => slope.fill(0.0),
                Slope::Rows(rows) => rows.clear(),
                Slope::Fixed => {}
            }
            if let Some(adapter) = &mut parameter.adapter {
                adapter.clear_slopes();
            }
        }
    }
}
