"""Where images come from: DICOM trees, class folders, MedMNIST-style .npz -> labelled images."""
