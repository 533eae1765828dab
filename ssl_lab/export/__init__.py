"""What a run gives away: its model as files that this package, `transformers` or an ONNX runtime opens."""
