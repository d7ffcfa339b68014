//! The simulator: a blob, an arena, and the runtime built for this host.

use tinsmith_runtime::{Blob, Model, Observer, arena, kernels};

use super::SimulateError;

/// A blob and its arena on this host. State is kept from run to run, as on the device.
pub struct Simulator<'b> {
    model: Model<'b>,
    arena: Vec<u8>,
}

impl<'b> Simulator<'b> {
    /// Checks a blob and takes memory for it; the state is as after a reset.
    ///
    /// # Errors
    /// Where the blob is truncated, changed, of a newer version or for another core.
    pub fn new(blob: &'b [u8]) -> Result<Self, SimulateError> {
        let blob = Blob::check(blob).map_err(SimulateError::Blob)?;
        let bytes = blob.arena_bytes() as usize + arena::slack_bytes();
        let model = Model::new(blob, kernels::ALL).map_err(SimulateError::Run)?;
        let mut simulator = Self {
            model,
            arena: vec![0; bytes],
        };
        simulator.reset()?;
        Ok(simulator)
    }

    /// The blob.
    pub fn blob(&self) -> &Blob<'b> {
        self.model.blob()
    }

    /// Sets the state to what it is at the start.
    ///
    /// # Errors
    /// Where the arena is too small, which the simulator's own is not.
    pub fn reset(&mut self) -> Result<(), SimulateError> {
        self.model
            .reset(arena::align(&mut self.arena))
            .map_err(SimulateError::Run)
    }

    /// One inference: bytes of every input in, bytes of every output out.
    ///
    /// # Errors
    /// Where the inputs are not the blob's.
    pub fn run(&mut self, inputs: &[&[u8]]) -> Result<Vec<Vec<u8>>, SimulateError> {
        self.run_observed(inputs, &mut ())
    }

    /// One inference that shows each step's index and the bytes of its output.
    ///
    /// # Errors
    /// As [`Simulator::run`].
    pub fn run_traced(
        &mut self,
        inputs: &[&[u8]],
        trace: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<Vec<Vec<u8>>, SimulateError> {
        self.run_observed(inputs, &mut Trace(trace))
    }

    fn run_observed(
        &mut self,
        inputs: &[&[u8]],
        observer: &mut impl Observer,
    ) -> Result<Vec<Vec<u8>>, SimulateError> {
        let wanted: Vec<usize> = self.blob().inputs().map(|port| port.bytes as usize).collect();
        let found: Vec<usize> = inputs.iter().map(|bytes| bytes.len()).collect();
        if wanted != found {
            return Err(SimulateError::Inputs { wanted, found });
        }
        let arena = arena::align(&mut self.arena);
        for (index, bytes) in inputs.iter().enumerate() {
            self.model.input_mut(arena, index).copy_from_slice(bytes);
        }
        self.model.run(arena, observer).map_err(SimulateError::Run)?;
        let outputs = self.model.blob().outputs().count();
        Ok((0..outputs)
            .map(|index| self.model.output(arena, index).to_vec())
            .collect())
    }
}

/// Hands each step's output on.
struct Trace<'t>(&'t mut dyn FnMut(usize, &[u8]));

impl Observer for Trace<'_> {
    fn before(&mut self, _: usize) {}

    fn after(&mut self, step: usize, output: &[u8]) {
        (self.0)(step, output);
    }
}
