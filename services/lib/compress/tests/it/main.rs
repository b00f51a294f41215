//! Small graphs, quantised and run in the real ONNX Runtime beside their float selves. One binary: it links once.

#[cfg(test)]
mod graphs;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod rig;
