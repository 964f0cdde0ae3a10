"""The choices that DICOM leaves to the reader, in words; `dicom_pixels` carries them out."""

RULES = {
    "order": "modality LUT or rescale, VOI LUT or window, MONOCHROME1 inversion (PS3.3 C.7.6.3)",
    "frame": "middle: number of frames // 2, counted from 0",
    "voi": "first VOI LUT, else first window (LINEAR, LINEAR_EXACT or SIGMOID)",
    "no_window_ct": "centre 40, width 400 Hounsfield units",
    "no_window_8_bit": "unsigned 8-bit without rescale: as stored",
    "no_window": "minimum..maximum of the frame without padding",
    "padding": "Pixel Padding Value (and range) left out of statistics, shown black",
    "colour": "RGB; YBR converted (PS3.3 C.7.6.3.1.2); PALETTE COLOR looked up",
    "overlays": "not drawn",
}

CT_CENTRE = 40.0
CT_WIDTH = 400.0
