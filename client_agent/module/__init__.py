"""The exchanged artefact: export to ONNX, card, packing, signing, admission checks."""
