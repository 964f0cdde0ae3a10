"""The AWS shared credentials and configuration files, which obstore does not read by itself.

Format: "Configuration and credential file settings" in the AWS CLI user guide. Only what is static
is taken (keys, token, region, endpoint); roles and single sign-on come through the environment.
"""

import configparser
import os
from pathlib import Path

_CREDENTIALS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
_SETTINGS = {"region": "aws_region", "endpoint_url": "aws_endpoint_url"}
_OTHER_SOURCES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


def profile_settings() -> dict[str, str]:
    """Return obstore's settings from the profile AWS_PROFILE, else `default`.

    Environment variables go before the files, as with Amazon's tools: keys are left out if the
    environment names any other source of them, and so is every setting that it has.
    """
    profile = os.environ.get("AWS_PROFILE", "default")
    section = profile if profile == "default" else f"profile {profile}"
    configured = _section("AWS_CONFIG_FILE", "config", section)
    found = {
        name: configured[key]
        for key, name in _SETTINGS.items()
        if key in configured and name.upper() not in os.environ
    }
    if "AWS_DEFAULT_REGION" in os.environ:
        found.pop("aws_region", None)
    if not any(name in os.environ for name in _OTHER_SOURCES):
        secrets = configured | _section("AWS_SHARED_CREDENTIALS_FILE", "credentials", profile)
        found |= {name: secrets[name] for name in _CREDENTIALS if name in secrets}
    return found


def _section(variable: str, name: str, section: str) -> dict[str, str]:
    path = Path(os.environ.get(variable) or Path.home() / ".aws" / name)
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text("utf-8"))
        return dict(parser[section])
    except (OSError, UnicodeDecodeError, configparser.Error, KeyError):
        return {}
