"""Train a small residual network on images and labels, export it to ONNX, predict, evaluate."""
