//! Delay (domain `ai.tinsmith`): gives out what came in one inference before. The operator that keeps state.

use serde::{Deserialize, Serialize};


/// `y = state; state = x`; the state starts as zeros. In the reference executor, which keeps nothing between
/// samples, the input passes through: what the operator does to a steady signal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delay {}
