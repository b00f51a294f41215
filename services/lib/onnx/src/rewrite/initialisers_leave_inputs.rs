//! Old exporters list every weight among the graph's inputs too. ONNX Runtime then has to treat weights as values a
//! caller may override, and folds nothing; a caller cannot tell the image from the weights.

use crate::{interface::is_initialiser, proto::ModelProto};

/// First version of the format in which an initialiser need not be an input.
const IR_WITH_FREE_INITIALISERS: i64 = 4;

/// Takes the initialisers out of the graph's inputs.
pub fn initialisers_leave_inputs(model: &mut ModelProto) {
    let Some(graph) = &mut model.graph else { return };
    let inputs = std::mem::take(&mut graph.input);
    let before = inputs.len();
    graph.input = inputs.into_iter().filter(|v| !is_initialiser(graph, v.name())).collect();
    if graph.input.len() < before && model.ir_version() < IR_WITH_FREE_INITIALISERS {
        model.ir_version = Some(IR_WITH_FREE_INITIALISERS);
    }
}
