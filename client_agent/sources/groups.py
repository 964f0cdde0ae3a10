"""Whose image it is, without saying who: a key that tells patients apart.

A hash of an identifier that can be guessed is no secret, so keys stay on this machine too.
"""

import hashlib

GROUP_DIGITS = 16


def group_key(patient: str, issuer: str = "") -> str:
    """Return a patient's key, or "" if the patient is unknown.

    Args:
        patient: Patient ID (0010,0020), or what a table has instead.
        issuer: Issuer of Patient ID (0010,0021): the same number elsewhere is another patient.

    Returns:
        A truncated SHA-256: 16 hexadecimal digits.
    """
    patient, issuer = patient.strip(), issuer.strip()
    if not patient:
        return ""
    text = f"ff-patient/1\n{issuer}\n{patient}".encode("utf-8", "backslashreplace")
    return hashlib.sha256(text).hexdigest()[:GROUP_DIGITS]
