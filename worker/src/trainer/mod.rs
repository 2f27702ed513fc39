//! The training process: model, optimiser, loop; knows nothing of gRPC.
