//! The state of a run put down and taken up again: checkpoint.bin as it goes, best.bin for the weights that are kept.
//! Called by the loop through `State`, and by `evaluate`.

use std::time::Instant;

use super::State;
use crate::{
    TrainingError,
    backend::{NamedValues, Network, Parameter},
    checkpoint::Checkpoint,
    optimise::Moments,
};

impl State<'_> {
    /// Puts the state down.
    pub fn save(&mut self, network: &mut dyn Network) -> Result<(), TrainingError> {
        let mut values = Vec::new();
        for (place, p) in network.parameters().iter().chain(&self.classifier).enumerate() {
            let Moments { first, second } = &self.optimiser.moments[place];
            values.extend([named("weights", &p.name, &p.value), named("first", &p.name, first)]);
            values.push(named("second", &p.name, second));
        }
        let names = network.parameters().iter().map(|p| p.name.clone());
        values.extend(names.zip(&self.average).map(|(name, average)| named("average", &name, average)));
        self.saved = Instant::now();
        self.write("checkpoint.bin", values, network)
    }

    /// Writes values, and the network's statistics with them.
    pub(super) fn write(
        &self,
        file: &str,
        mut values: Vec<NamedValues>,
        network: &mut dyn Network,
    ) -> Result<(), TrainingError> {
        values.extend(network.state().iter().map(|s| named("state", &s.name, &s.values)));
        let checkpoint = Checkpoint { run: self.run.record.id.clone(), place: self.place.clone(), values };
        checkpoint.write(&self.run.path(file))
    }

    /// Takes it up again.
    pub(super) fn restore(&mut self, checkpoint: &Checkpoint, network: &mut dyn Network) -> Result<(), TrainingError> {
        let parameters = network.parameters().iter_mut().chain(&mut self.classifier);
        for (p, (name, values)) in parameters.zip(checkpoint.of("weights")) {
            fits(p, name, values)?;
            p.value.copy_from_slice(values);
        }
        for (m, (_, first)) in self.optimiser.moments.iter_mut().zip(checkpoint.of("first")) {
            m.first = first.to_vec();
        }
        for (m, (_, second)) in self.optimiser.moments.iter_mut().zip(checkpoint.of("second")) {
            m.second = second.to_vec();
        }
        for (average, (_, values)) in self.average.iter_mut().zip(checkpoint.of("average")) {
            *average = values.to_vec();
        }
        network.set_state(&state_of(checkpoint))?;
        self.place = checkpoint.place.clone();
        Ok(())
    }
}

/// Puts the weights of a file such as best.bin into a network.
pub(in crate::stages) fn put(checkpoint: &Checkpoint, network: &mut dyn Network) -> Result<(), TrainingError> {
    for (p, (name, values)) in network.parameters().iter_mut().zip(checkpoint.of("weights")) {
        fits(p, name, values)?;
        p.value.copy_from_slice(values);
    }
    network.set_state(&state_of(checkpoint))
}

fn state_of(checkpoint: &Checkpoint) -> Vec<NamedValues> {
    checkpoint
        .of("state")
        .map(|(name, values)| NamedValues { name: name.to_owned(), values: values.to_vec() })
        .collect()
}

fn fits(p: &Parameter, name: &str, values: &[f32]) -> Result<(), TrainingError> {
    let same = p.name == name && p.value.len() == values.len();
    if same {
        Ok(())
    } else {
        Err(TrainingError::Model(format!("the checkpoint has `{name}` where `{}` is wanted", p.name)))
    }
}

/// Values under what they are and a name.
pub(super) fn named(kind: &str, name: &str, values: &[f32]) -> NamedValues {
    NamedValues { name: format!("{kind}/{name}"), values: values.to_vec() }
}
