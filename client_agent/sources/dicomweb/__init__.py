"""A DICOMweb server as a source: QIDO-RS to find, WADO-RS to fetch (PS3.18), read-only."""
