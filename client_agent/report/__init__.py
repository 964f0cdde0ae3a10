"""What people look at: the HTML report, contact sheets, DICOM structured reports."""
